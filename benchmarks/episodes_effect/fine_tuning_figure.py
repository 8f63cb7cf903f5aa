"""The figure of the look at fine-tuning: test accuracy over the base rate, one panel a task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hypernudge.plotting import layout, style
from hypernudge.results.files import write_text

TITLES = {"resnet18": "ResNet-18, CIFAR-10", "sst2": "MiniLM, SST-2", "agnews": "MiniLM, AG News"}
LABELS = {
    "scheduled": "usual schedule",
    "annealed": "EpisodicScheduler(total_steps)",
    "peak_1": "the same, peak=1",
    "peak_new": 'the same, peak="new"',
    "schedule_free": "Schedule-Free",
}

Accuracies = Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]]


def draw(accuracies: Accuracies, path: Path) -> None:
    """Write means as lines and single seeds as small marks; `accuracies` as `fine_tuning.means` has them."""
    looks = style.looks([LABELS[method] for method in LABELS], LABELS["scheduled"])
    with style.context():
        figure, panels = layout.grid(len(accuracies), columns=len(accuracies), height=2.2)
        for axes, (task, methods) in zip(panels, accuracies.items(), strict=True):
            seeds = max(len(values) for by_ratio in methods.values() for values in by_ratio.values())
            for method, label in LABELS.items():
                if method not in methods:
                    continue
                by_ratio, look = methods[method], looks[label]
                ratios = sorted(by_ratio)
                means = [float(np.mean(by_ratio[ratio])) for ratio in ratios]
                axes.plot(
                    ratios, means, color=look.colour, linestyle=look.dash, linewidth=look.width,
                    marker=look.marker, markersize=4, label=label,
                )  # fmt: skip
                for ratio in ratios:
                    values = by_ratio[ratio]
                    axes.plot(
                        [ratio] * len(values), values, linestyle="none", color=look.colour,
                        marker=look.marker, markersize=2, alpha=0.5,
                    )  # fmt: skip
            axes.set_xscale("log")
            axes.set_xticks([1 / 30, 1 / 3, 3, 30], ["1/30", "1/3", "3", "30"])
            axes.minorticks_off()
            axes.set_title(f"{TITLES[task]}, {seeds} seed{'s' if seeds > 1 else ''}")
            axes.set_xlabel("rate / usual rate")
        panels[0].set_ylabel("test accuracy (%)")
        handles = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
        style.legend_above(figure, [handles[label] for label in looks if label in handles])
        write_text(path, style.as_svg(figure))


def redraw(rows: Path, path: Path) -> None:
    """Draw the figure from a file of rows."""
    from benchmarks.episodes_effect.fine_tuning import means

    draw(means([json.loads(line) for line in rows.read_text("utf-8").splitlines()]), path)

"""Figures of saved runs, by topic; every one of them is drawn from results alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hypernudge.evidence.figures.bars import value_bars
from hypernudge.evidence.figures.evaluated_study import Drawing
from hypernudge.experiments.report.comparisons import Difference, paired_differences
from hypernudge.experiments.report.runs import Run, Runs
from hypernudge.experiments.report.tables import efficiency_table, overhead_table
from hypernudge.plotting.layout import grid
from hypernudge.plotting.style import Look, file_name, label_ends, legend_above, looks

ARM_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D1F", "#5B3A8C")
ROW = 0.19  # inches of one line of marks


def draw_learning_curves(runs: Runs) -> Iterator[Drawing]:
    """Validation accuracy over epochs, one panel per condition."""
    if not runs.runs:
        return
    styles = variant_looks(runs)
    figure, panels = grid(len(runs.conditions), columns=2, height=2.6)
    ends: list[list[tuple[float, str, str]]] = []
    for axes, condition in zip(panels, runs.conditions, strict=True):
        own: list[tuple[float, str, str]] = []
        for name, members in runs.variants(condition).items():
            curves = 100 * np.array([run.result.val_accuracies for run in members])
            epochs, look = np.arange(1, curves.shape[1] + 1), styles[name]
            mean = curves.mean(0)
            axes.fill_between(
                epochs, curves.min(0), curves.max(0), color=look.colour, alpha=0.15, linewidth=0
            )
            marks: dict[str, Any] = {"marker": look.marker, "markersize": 3.5} if len(epochs) < 20 else {}
            axes.plot(epochs, mean, color=look.colour, linestyle=look.dash, linewidth=look.width, **marks)
            own.append((float(mean[-1]), f"{mean[-1]:.2f}", look.colour))
        if curves.shape[1] < 12:
            axes.set_xticks(range(1, curves.shape[1] + 1))
        axes.set_title(condition, fontsize=7)
        axes.set_xlabel("epoch [-]")
        axes.set_ylabel("validation accuracy [%]")
        ends.append(own)
    band = Patch(facecolor="0.5", alpha=0.15, label="lowest to highest seed")
    legend_above(figure, [*_lines(styles), band])
    figure.draw_without_rendering()
    for axes, labels in zip(panels, ends, strict=True):
        label_ends(axes, labels)
    yield Drawing(
        "learning_curves", "mean validation accuracy after each epoch, and its range over seeds", figure
    )


def draw_differences(runs: Runs) -> Iterator[Drawing]:
    """Paired differences with intervals and every seed, one panel per condition and metric."""
    found = paired_differences(runs)
    if not found:
        return
    keys = list(dict.fromkeys((d.condition, d.metric) for d in found))
    rows = max(sum((d.condition, d.metric) == key for d in found) for key in keys)
    figure, panels = grid(len(keys), columns=2, height=2 * ROW * rows + 1.0, sharex=True)
    styles = variant_looks(runs)
    for axes, key in zip(panels, keys, strict=True):
        members = [d for d in found if (d.condition, d.metric) == key]
        for y, difference in enumerate(members):
            _difference(axes, y, difference, styles[difference.variant])
        axes.axvline(0.0, color="0.3", linewidth=0.8)
        axes.set_yticks(
            range(len(members)), [f"{d.variant}\nagainst {d.rival}" for d in members], fontsize=6.5
        )
        axes.set_ylim(len(members) - 0.4, -0.7)
        axes.set_title(f"{key[0]}\n{key[1]} accuracy", fontsize=7)
        axes.set_xlabel("paired difference [points]")
        axes.tick_params(labelbottom=True)
        axes.margins(x=0.12)
    handles = [
        Line2D([], [], color="0.3", marker="o", markersize=4.5, label="mean, 95 % interval; p after Holm"),
        Line2D([], [], color="0.3", marker="|", linestyle="none", markersize=6, label="one seed"),
    ]
    legend_above(figure, handles)
    caption = (
        "validation accuracy, first minus second, per seed and on average; right of zero the first is better"
    )
    yield Drawing("paired_differences", caption, figure)


def draw_arms(runs: Runs) -> Iterator[Drawing]:
    """Which arm every episode of every seed had, one figure per axis with a choice."""
    for axis, words in (("lr", "learning-rate multiplier"), ("noise", "gradient-noise standard deviation")):
        panels_of = [
            (condition, name, members)
            for condition in runs.conditions
            for name, members in runs.variants(condition).items()
            if all(_has_choice(run, axis) for run in members)
        ]
        if panels_of:
            yield _arm_figure(panels_of, axis, words)


def draw_overhead(runs: Runs) -> Iterator[Drawing]:
    """Time of training against the baseline's."""
    frame = overhead_table(runs).frame
    words = (
        "train time / that of the baseline [-]",
        "overhead",
        "time of training over the baseline's, paired by seed",
    )
    usable = frame[np.isfinite(frame["time ratio"])] if len(frame) else frame
    yield from _bar_figure(runs, usable, "time ratio", words, lambda value: f"{value:.3f}")


def draw_efficiency(runs: Runs) -> Iterator[Drawing]:
    """Accuracy per TFLOP."""
    words = (
        "peak accuracy / TFLOP [1/TFLOP]",
        "accuracy_per_tflop",
        "peak validation accuracy per TFLOP, means over seeds",
    )
    yield from _bar_figure(
        runs, efficiency_table(runs).frame, "accuracy per TFLOP", words, lambda value: f"{value:.3g}"
    )


FIGURES: dict[str, Callable[[Runs], Iterator[Drawing]]] = {
    "learning_curves": draw_learning_curves,
    "paired_differences": draw_differences,
    "arm_histories": draw_arms,
    "overhead": draw_overhead,
    "accuracy_per_tflop": draw_efficiency,
}


def variant_looks(runs: Runs) -> dict[str, Look]:
    """Return a look per variant, the same in every figure; a baseline is the wide grey line."""
    names = list(dict.fromkeys(run.variant for run in runs.runs))
    base = next((run.variant for run in runs.runs if run.is_baseline), "Baseline")
    found = looks(names, base)
    return {name: found[name] for name in [base, *names] if name in names}


def _lines(styles: dict[str, Look]) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=s.colour,
            linestyle=s.dash,
            linewidth=s.width,
            marker=s.marker,
            markersize=3.5,
            label=s.label,
        )
        for s in styles.values()
    ]


def _difference(axes: Axes, y: int, difference: Difference, look: Look) -> None:
    mean = difference.mean
    axes.plot(difference.values, np.full(len(difference.values), y + 0.22), "|", color="0.45", markersize=6)
    if math.isfinite(mean.low):
        axes.plot([mean.low, mean.high], [y, y], color=look.colour, linewidth=1.6)
    axes.plot([mean.estimate], [y], marker=look.marker, color=look.colour, markersize=5)
    text = f"{mean.estimate:+.2f}, p = {difference.adjusted:.2g}"
    axes.annotate(
        text,
        (mean.estimate, y),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        fontsize=6.5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
    )


def _has_choice(run: Run, axis: str) -> bool:
    logs = run.result.controller_logs or {}
    return bool(logs.get(f"{axis}_controller_logs", {}).get("controller_created"))


def _arm_figure(panels_of: Sequence[tuple[str, str, Sequence[Run]]], axis: str, words: str) -> Drawing:
    rows = max(len(members) for *_, members in panels_of)
    figure, panels = grid(len(panels_of), columns=2, height=ROW * rows + 0.85)
    shown: dict[float, str] = {}
    for axes, (condition, name, members) in zip(panels, panels_of, strict=True):
        for y, run in enumerate(members):
            logs = run.result.episode_logs or {}
            spans = [
                (start, end + 1 - start)
                for start, end in zip(logs["episode_start_steps"], logs["episode_end_steps"], strict=True)
            ]
            chosen = list(zip(logs[f"selected_{axis}_indices"], logs[f"selected_{axis}_values"], strict=True))
            colours = [shown.setdefault(value, ARM_COLOURS[arm % len(ARM_COLOURS)]) for arm, value in chosen]
            # One collection per seed: a patch per episode would take a hundred times as long to draw.
            axes.broken_barh(spans, (y - 0.41, 0.82), facecolors=colours, edgecolor="white", linewidth=0.3)
        axes.set_yticks(range(len(members)), [str(run.result.seed) for run in members], fontsize=6.5)
        axes.set_ylim(len(members) - 0.5, -0.5)
        axes.set_title(f"{condition}\n{name}", fontsize=7)
        axes.set_xlabel("optimizer step [-]")
        axes.set_ylabel("seed [-]")
        axes.grid(visible=False)
    handles = [Patch(facecolor=colour, label=f"{words} {value:g}") for value, colour in sorted(shown.items())]
    legend_above(figure, handles)
    return Drawing(file_name("arm_histories", axis), f"the {words} of every episode, seed by seed", figure)


def _bar_figure(
    runs: Runs, frame: object, column: str, words: tuple[str, str, str], text: Callable[[float], str]
) -> Iterator[Drawing]:
    """Bars of one column, a panel per condition; `words`: label of the axes, name, what it shows."""
    import pandas as pd

    if not isinstance(frame, pd.DataFrame) or frame.empty:
        return
    label, name, caption = words
    styles = variant_looks(runs)
    conditions = list(dict.fromkeys(frame["condition"]))
    figure, panels = grid(len(conditions), columns=3, height=2.3)
    for axes, condition in zip(panels, conditions, strict=True):
        part = frame[frame["condition"] == condition]
        value_bars(axes, list(part[column]), [styles[method] for method in part["method"]], text)
        axes.set_title(condition, fontsize=7)
        axes.set_ylabel(label)
    handles = [
        Patch(facecolor=s.colour, alpha=0.75, edgecolor="0.1", hatch=s.hatch, label=s.label)
        for s in styles.values()
    ]
    legend_above(figure, handles)
    yield Drawing(name, caption, figure)

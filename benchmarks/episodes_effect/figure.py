"""The figure of the study: accuracy over the rate's error, one panel per cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.episodes_effect.tasks import TASKS
from hypernudge.plotting import layout, style
from hypernudge.results.files import write_text

LINES = ("default", "random_walk", "compat")
POINTS = ("cosine", "schedule_free")


def draw(scores: Mapping[tuple[str, str, float, str, float], NDArray[np.float64]], destination: Path) -> None:
    """Write `effect.pdf` and `effect.svg`; rivals with rates of their own are points at the right rate."""
    present = sorted(
        {key[:3] for key in scores}, key=lambda cell: (cell[2], cell[1], list(TASKS).index(cell[0]))
    )
    columns = len({cell[0] for cell in present})
    looks = style.looks([*LINES, *POINTS], "plain")
    with style.context():
        figure, panels = layout.grid(len(present), columns=columns, height=1.25)
        for axes, cell in zip(panels, present, strict=True):
            task, optimizer, noise = cell
            for method, look in looks.items():
                known = sorted(
                    (key[4], values) for key, values in scores.items() if key[:4] == (*cell, method)
                )
                if not known:
                    continue
                ratios = [ratio for ratio, _ in known]
                means = [float(values.mean()) for _, values in known]
                options: dict[str, Any] = {
                    "color": look.colour,
                    "marker": look.marker,
                    "label": look.label,
                    "markersize": 3,
                }
                if method in POINTS:
                    axes.plot(ratios, means, linestyle="none", **options)
                else:
                    axes.plot(ratios, means, linestyle=look.dash, linewidth=look.width, **options)
            axes.set_xscale("log")
            axes.set_title(
                f"{task}\n{optimizer}, {f'{100 * noise:.0f} % wrong' if noise else 'clean'}", fontsize=6.5
            )
            axes.tick_params(labelsize=6)
        for axes in panels[-columns:]:
            axes.set_xlabel("rate / right rate", fontsize=6.5)
        for axes in panels[::columns]:
            axes.set_ylabel("accuracy (%)", fontsize=6.5)
        handles = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
        style.legend_above(figure, list(handles.values()))
        style.save(figure, destination / "effect.pdf")
        write_text(destination / "effect.svg", style.as_svg(figure))

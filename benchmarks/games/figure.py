"""The learning curves of the results, a panel for each game and a line for each seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hypernudge.plotting import style
from hypernudge.results.files import write_text

GAMES: dict[str, tuple[str, str, float, tuple[float, float] | None]] = {
    "cartpole": ("CartPole", "solved", 475, None),
    "acrobot": ("Acrobot", "solved", -100, None),
    "pong": ("Pong", "random play", -20.7, (-22, 22)),  # Mnih et al. 2015, as below
    "boxing": ("Boxing", "random play", 0.1, (-105, 60)),
    "freeway": ("Freeway", "random play", 0.0, (-2, 45)),
}
"""Title of each panel, what its dotted line is and where, and the ends of its axis if not the data's."""

COLUMNS = 2


def draw(results: Sequence[dict[str, Any]]) -> Figure:
    """Return the figure of `curve` commands' results, in the order they are given."""
    with style.context():
        rows = math.ceil(len(results) / COLUMNS)
        figure = Figure(figsize=(style.WIDTH, 2.2 * rows), layout="constrained")
        panels = figure.subplots(rows, min(len(results), COLUMNS), squeeze=False)
        for axes, result in zip(panels.flat, results, strict=False):
            _draw(axes, result)
        for axes in panels.flat[len(results) :]:
            axes.set_axis_off()
        size = panels[0, 0].xaxis.label.get_size()
        figure.supylabel("mean return, of greedy games unless said", fontsize=size)
    return figure


def _draw(axes: Axes, result: dict[str, Any]) -> None:
    title, what, height, ends = GAMES[result["command"]["game"]]
    seeds = sorted({row["seed"] for row in result["rows"]})
    looks = style.looks([f"seed {seed}" for seed in seeds], "none")
    for seed in seeds:
        look = looks[f"seed {seed}"]
        rows = [row for row in result["rows"] if row["seed"] == seed and row["score"] is not None]
        steps, scores = [row["steps"] / 1000 for row in rows], [row["score"] for row in rows]
        axes.plot(steps, scores, label=look.label, color=look.colour, linestyle=look.dash)
        drawn = [row.get("drawn_score") for row in rows]
        if None not in drawn:  # earlier records have none
            axes.plot(steps, drawn, label=f"{look.label}, actions drawn", color=look.colour, linestyle="--")
    axes.axhline(height, label=f"{what}: {height:g}", color="0.35", linestyle=(0, (1.2, 1)), linewidth=1.0)
    axes.set_title(title)
    axes.set_xlabel("thousand steps")
    if ends is not None:
        axes.set_ylim(*ends)
    axes.legend(loc="lower right" if ends is None else "upper left")


def write(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the figure as SVG; equal results give equal bytes."""
    with style.context():
        write_text(path, style.as_svg(draw(results)))

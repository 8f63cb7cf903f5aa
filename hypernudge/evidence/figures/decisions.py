"""What a warm start did, trial by trial: sampled and started rates against the scale it measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hypernudge.plotting.style import WIDTH, legend_above

_GROUPS = ("left as sampled", "guard", "redrawn", "prior", "data", "flagged")
_OF_KIND = {
    "guard": "guard",
    "model_based_pick": "guard",
    "redrawn": "redrawn",
    "prior": "prior",
    "data": "data",
}
_COLOURS = ("0.6", "0.35", "#0072B2", "#E69F00", "#009E73", "#D55E00")
_MARKERS = ("o", "s", "^", "D", "v", "X")


def group_of(row: Mapping[str, Any]) -> str:
    """Return the group that a decision is drawn in, by its `Nudge.kind`."""
    if row["flagged"]:
        return "flagged"
    return _OF_KIND.get(row["kind"], "redrawn" if row["changed"] else "left as sampled")


def draw(rows: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Return a figure of one cell's trials: an arrow from the sampled to the started learning rate.

    Args:
        rows: As `explanations` of `hypernudge.harness.inspection.explain` returns them, of one cell, with
            `rate` = (sampled, started), `log10` of the effective learning rates.
        title: What was trained, for the title.
    """
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.subplots()
    numbers = np.array([row["trial"] for row in rows], dtype=float)
    before, after = np.array([row["rate"] for row in rows], dtype=float).T
    moved = before != after
    axes.vlines(numbers[moved], before[moved], after[moved], color="0.8", linewidth=0.8)
    axes.plot(numbers[moved], before[moved], "o", color="0.75", markersize=2.5)
    groups = [group_of(row) for row in rows]
    handles = []
    for group, colour, marker in zip(_GROUPS, _COLOURS, _MARKERS, strict=True):
        own = np.array([found == group for found in groups])
        if own.any():
            axes.plot(numbers[own], after[own], marker, color=colour, markersize=4.5)
            handles.append(
                Line2D([], [], color=colour, marker=marker, linestyle="", label=f"{group}: {own.sum()}")
            )
    centres = [row["rate"][0] - row["z"] for row in rows if row["z"] is not None]
    if centres:
        axes.axhline(centres[-1], color="0.3", linewidth=0.8, linestyle=(0, (4, 2)))
        handles.append(Line2D([], [], color="0.3", linestyle=(0, (4, 2)), label=f"scale: {centres[-1]:.2f}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial [-]")
    axes.set_ylabel("log10 effective learning rate [-]")
    axes.set_title(title)
    legend_above(figure, handles)
    return figure

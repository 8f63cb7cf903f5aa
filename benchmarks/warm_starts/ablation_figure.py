"""The figure of the ablation: what each variant takes over the second edition, a panel for each space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hypernudge.plotting import log_axis, style

COLOURS = ("#E69F00", "#0072B2", "#009E73")
MARKS = "osD"
_TICKS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 3.0)


@dataclass(frozen=True)
class Row:
    """A variant in one space.

    Attributes:
        group: What it belongs to; groups have colours.
        variant: Its name.
        ratio: Geometric mean of times to target over the second edition.
        error: Two standard errors of its logarithm, over seeds.
    """

    group: str
    variant: str
    ratio: float
    error: float

    @property
    def limits(self) -> tuple[float, float]:
        """Two standard errors below the ratio, and above it."""
        return self.ratio * math.exp(-self.error), self.ratio * math.exp(self.error)


def draw(panels: Mapping[str, Sequence[Row]]) -> Figure:
    """Return the figure.

    Args:
        panels: By title the variants of a space, in one order. One that a space lacks leaves its place empty.
    """
    longest = max(panels.values(), key=len)
    others = (row for rows in panels.values() for row in rows)
    names = list(dict.fromkeys((row.group, row.variant) for row in (*longest, *others)))
    groups = list(dict.fromkeys(group for group, _ in names))
    names.sort(key=lambda name: groups.index(name[0]))
    limits = [limit for rows in panels.values() for row in rows for limit in row.limits]
    low, high = min([0.9, *limits]) / 1.03, max([1.1, *limits]) * 1.03
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 0.19 * len(names) + 1.2), layout="constrained")
        found = figure.subplots(1, len(panels), sharey=True, squeeze=False).flat
        for axes, (title, rows) in zip(found, panels.items(), strict=True):
            axes.axvline(1.0, color="0.3", linewidth=0.8)
            for row in rows:
                _row(axes, names.index((row.group, row.variant)), row, groups.index(row.group))
            log_axis.ratios(axes, low, high, _TICKS)
            axes.tick_params(axis="y", length=0)
            axes.set_title(title)
        found[0].set_yticks(range(len(names)), [variant for _, variant in names])
        found[0].set_ylim(len(names) - 0.4, -0.6)
        label = "time to target over the second edition [ratio, log scale], with two standard errors"
        figure.supxlabel(label, fontsize=8.0)
        style.legend_above(figure, [_handle(index, group) for index, group in enumerate(groups)])
    return figure


def _row(axes: Axes, y: int, row: Row, group: int) -> None:
    colour = COLOURS[group]
    axes.plot(row.limits, [y, y], color=colour, linewidth=1.2)
    axes.plot([row.ratio], [y], marker=MARKS[group], color=colour, markersize=4)
    at = axes.get_yaxis_transform()
    axes.text(1.02, y, f"{row.ratio:.2f}", transform=at, va="center", fontsize=7.0, color="0.25")


def _handle(index: int, group: str) -> Line2D:
    return Line2D([], [], marker=MARKS[index], color=COLOURS[index], linewidth=1.2, markersize=4, label=group)

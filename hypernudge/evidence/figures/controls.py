"""Controls side by side: every variant against the baseline, and against the budget-matched placebo."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.verdicts.comparisons import Comparison
from hypernudge.evidence.verdicts.controls import budget_matched
from hypernudge.plotting.layout import grid
from hypernudge.plotting.style import legend_above


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One panel per (task, scheduler), a row per variant; two marks per row."""
    settings = [setting for setting in evaluated.settings() if setting.comparisons]
    if not settings or evaluated.study.cells["total_flops"].isna().all():
        return
    rows = max(len(setting.comparisons) for setting in settings)
    figure, panels = grid(len(settings), columns=2, height=0.36 * rows + 0.85)
    for axes, setting in zip(panels, settings, strict=True):
        axes.axvline(1.0, color="0.3", linewidth=0.8)
        for y, comparison in enumerate(setting.comparisons.values()):
            _row(axes, y, comparison)
        labels = list(setting.comparisons)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_title(setting.title)
        axes.set_xlabel("time ratio [-]; below 1 is sooner")
        axes.margins(x=0.12)
    handles = [
        Line2D([], [], color="#0072B2", marker="o", markersize=4.5, label="against the baseline"),
        Line2D(
            [],
            [],
            color="#D55E00",
            marker="s",
            markersize=4.5,
            markerfacecolor="white",
            linestyle=(0, (4, 1)),
            label="against the placebo (baseline with the cost as extra budget)",
        ),
    ]
    legend_above(figure, handles)
    caption = "every variant and control against baseline and placebo; a method must beat its random control"
    yield Drawing("ablation_and_placebo", caption, figure)


def _row(axes: Axes, y: int, comparison: Comparison) -> None:
    _mark(axes, y - 0.14, comparison.effects.ratio, "#0072B2", "o", "#0072B2", "-")
    _mark(axes, y + 0.14, budget_matched(comparison).ratio, "#D55E00", "s", "white", (0, (4, 1)))


def _mark(axes: Axes, y: float, ratio: Interval, colour: str, marker: str, face: str, dash: Any) -> None:
    if math.isfinite(ratio.low) and math.isfinite(ratio.high):
        axes.plot([ratio.low, ratio.high], [y, y], color=colour, linewidth=1.2, linestyle=dash)
    axes.plot([ratio.estimate], [y], marker, color=colour, markerfacecolor=face, markersize=4.5)
    edge = ratio.high if math.isfinite(ratio.high) else ratio.estimate
    axes.annotate(
        f"{ratio.estimate:.2f}",
        (edge, y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=6.3,
    )

"""Forest plot: the ratio of times to target of every comparison, with interval and verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.plotting import log_axis
from hypernudge.plotting.style import WIDTH, legend_above

MARKS: dict[str, dict[str, Any]] = {
    "improved": {"marker": "o", "markerfacecolor": "#0072B2", "markeredgecolor": "#0072B2"},
    "harmed": {"marker": "X", "markerfacecolor": "#D55E00", "markeredgecolor": "#D55E00"},
    "equivalent": {"marker": "s", "markerfacecolor": "0.55", "markeredgecolor": "0.2"},
    "inconclusive": {"marker": "o", "markerfacecolor": "white", "markeredgecolor": "0.2"},
    "unpowered": {"marker": "v", "markerfacecolor": "white", "markeredgecolor": "0.5"},
}
_TICKS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One figure: comparisons grouped by method, the aggregate over tasks below each group."""
    if not any(c.seeds.size for c in evaluated.comparisons):
        return
    rows = _rows(evaluated)
    figure = Figure(figsize=(WIDTH, 0.19 * len(rows) + 1.15), layout="constrained")
    axes = figure.subplots()
    finite = [v for row in rows if row[1] is not None for v in (row[1].low, row[1].high, row[1].estimate)]
    span = max((abs(math.log(v)) for v in finite if math.isfinite(v) and v > 0), default=0.3)
    span = min(max(span * 1.08, math.log(1.3)), math.log(8))
    low, high = math.exp(-span), math.exp(span)
    ticks = _thinned([tick for tick in _TICKS if low < tick < high], span)
    log_axis.ratios(axes, low, high, ticks)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    criteria = evaluated.study.plan.criteria
    axes.axvline(1.0, color="0.3", linewidth=0.8)
    axes.axvspan(math.exp(-span), criteria.ratio, color="0.94", zorder=0)
    for y, (label, interval, verdict, note) in enumerate(rows):
        _row(axes, y, label, interval, verdict, note, span)
    axes.yaxis.set_major_locator(NullLocator())
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("time to target, method over baseline [ratio, log scale]; below 1 is sooner")
    used = [label for label in MARKS if any(row[2] == label for row in rows)]
    handles: list[Any] = [
        Line2D([], [], linestyle="", markersize=5, label=label, **MARKS[label]) for label in used
    ]
    if any(row[2] == "aggregate" for row in rows):
        diamond: dict[str, Any] = {"marker": "D", "color": "0.1", "markersize": 5, "linestyle": ""}
        handles.append(Line2D([], [], label="all tasks", **diamond))
    handles.append(Patch(facecolor="0.94", label=f"ratio of at most {criteria.ratio:g}"))
    legend_above(figure, handles)
    caption = (
        "ratio of times to target with 95 % intervals per (task, scheduler); left of 1 the method was sooner"
    )
    yield Drawing("forest_time_to_target", caption, figure)


_Row = tuple[str, Interval | None, str, str]


def _rows(evaluated: EvaluatedStudy) -> list[_Row]:
    """(label, interval, verdict, note) from top to bottom; a heading has no interval."""
    rows: list[_Row] = []
    for method in dict.fromkeys(c.method.warm_start for c in evaluated.comparisons):
        rows.append((method, None, "", ""))
        for c in evaluated.comparisons:
            if c.method.warm_start == method:
                ratio = c.effects.ratio
                note = f"{_text(ratio)}   {_p(c.p_holm)}   {c.verdict.label}"
                setting = ", ".join(part for part in (c.method.task, c.method.scheduler) if part)
                rows.append(
                    (
                        f"   {setting}  (n={c.test.pairs})",
                        ratio,
                        c.verdict.label,
                        note,
                    )
                )
        for k in evaluated.criteria:
            if k.warm_start == method and k.name == "time_to_target" and k.planned > 1:
                rows.append(
                    (
                        "   all tasks",
                        k.aggregate,
                        "aggregate",
                        f"{_text(k.aggregate)}   criterion {k.judgement}",
                    )
                )
    return rows


def _row(
    axes: Axes, y: int, label: str, interval: Interval | None, verdict: str, note: str, span: float
) -> None:
    mono: dict[str, Any] = {"family": "DejaVu Sans Mono", "fontsize": 6.3}
    weight = "bold" if interval is None else "normal"
    axes.text(
        -0.01,
        y,
        label,
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="center",
        fontsize=7.5,
        weight=weight,
    )
    if interval is None or not math.isfinite(interval.estimate):
        return
    mark = MARKS.get(verdict, {"marker": "D", "markerfacecolor": "0.1", "markeredgecolor": "0.1"})
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        edges = np.clip([interval.low, interval.high], math.exp(-span), math.exp(span))
        axes.plot(edges, [y, y], color=mark["markeredgecolor"], linewidth=1.2, solid_capstyle="butt")
    estimate = min(max(interval.estimate, math.exp(-span)), math.exp(span))
    axes.plot([estimate], [y], linestyle="", markersize=5, clip_on=False, **mark)
    axes.text(1.015, y, note, transform=axes.get_yaxis_transform(), ha="left", va="center", **mono)


def _text(interval: Interval) -> str:
    if not math.isfinite(interval.low):
        return f"{interval.estimate:.2f} [no interval]" if math.isfinite(interval.estimate) else "no pairs"
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _p(value: float) -> str:
    """Always seven characters, so that the columns of the notes align."""
    return "p<.0001" if value < 1e-4 else f"p={value:.4f}".replace("0.", ".")[:7].ljust(7)


def _thinned(ticks: list[float], span: float) -> list[float]:
    """At least an eleventh of the axis between neighbouring ticks, counted from 1 outwards."""
    kept = [1.0]
    for tick in sorted(ticks, key=lambda t: abs(math.log(t))):
        if all(abs(math.log(tick / other)) >= 2 * span / 11 for other in kept):
            kept.append(tick)
    return sorted(kept)

"""Bars: overhead, final score, best-so-far area.

Bars start at zero, so differences too small to see in them are drawn beneath, paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy, Setting
from hypernudge.evidence.statistics.noninferiority import subset_mean_interval
from hypernudge.evidence.verdicts.comparisons import Comparison, wall_fee_of
from hypernudge.plotting.layout import balanced, grid, tiles
from hypernudge.plotting.style import WIDTH, Look, end_at_one, legend_above
from hypernudge.results.plan import Variation

Floats = NDArray[np.float64]
Limit = Callable[[Axes, Setting, Sequence[float]], float]
"""Where the dotted line of a panel is, by its axes, setting and heights; NaN for none."""


def draw_overhead(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """Warm-start share of all compute, one panel per (task, scheduler)."""

    def share(variation: Variation) -> float:
        cells = evaluated.cells(variation)
        total = float(cells["total_flops"].sum())
        return 100 * float(cells["warm_start_flops"].sum()) / total if total > 0 else 0.0

    yield from _against_a_limit(
        evaluated,
        share,
        _line_at(5.0, top=6.0),
        _percent,
        ("overhead", "warm starts, share of FLOPs [%]", "limit of 5 %"),
        "share of all compute that the warm starts cost; the dotted line is the limit",
    )


def draw_wall_fee(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """Warm-start share of the seconds of all cells, one panel per (task, scheduler), where measured."""

    def share(variation: Variation) -> float:
        cells = evaluated.cells(variation)
        return 100 * wall_fee_of(cells["warm_start_seconds"], cells["cell_seconds"])

    if evaluated.study.cells["cell_seconds"].isna().all():
        return
    yield from _against_a_limit(
        evaluated,
        share,
        _line_at(1.0, top=1.2),
        _percent,
        ("wall_fee", "warm starts, share of seconds [%]", "1 %"),
        "share of the wall's seconds of all cells in which warm starts measured and chose",
    )


def draw_memory(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """Median peak memory per variation, one panel per (task, scheduler), where it was recorded."""
    if not (evaluated.study.cells["peak_memory_bytes"] > 0).any():
        return

    def median(variation: Variation) -> float:
        return float(evaluated.cells(variation)["peak_memory_bytes"].median()) / 2**20

    def limit(axes: Axes, setting: Setting, heights: Sequence[float]) -> float:
        del axes
        return 1.1 * heights[0] if evaluated.baseline in setting.variations else math.nan

    yield from _against_a_limit(
        evaluated,
        median,
        limit,
        lambda v: f"{v:.0f}",
        ("peak_memory", "peak memory [MiB]", "10 % above the baseline"),
        "median peak memory of a cell's process; the dotted line is the limit",
    )


def _line_at(percent: float, top: float) -> Limit:
    """Return a limit that is the same everywhere, on axes that reach `top` at least."""

    def limit(axes: Axes, setting: Setting, heights: Sequence[float]) -> float:
        del setting, heights
        axes.set_ylim(0, max(top, axes.get_ylim()[1]))
        return percent

    return limit


def _percent(value: float) -> str:
    return f"{value:.2f}" if value else "0"


def _against_a_limit(
    evaluated: EvaluatedStudy,
    height: Callable[[Variation], float],
    limit: Limit,
    text: Callable[[float], str],
    words: tuple[str, str, str],
    caption: str,
) -> Iterator[Drawing]:
    """Bars of one number per variation, and a dotted line that they should stay below.

    `words`: the figure's name, the label of the axes, and what the dotted line is.
    """
    settings, looks = list(evaluated.settings()), evaluated.looks()
    if not settings:
        return
    name, label, meaning = words
    figure, panels = grid(len(settings), columns=3, height=2.2, sharey=True)
    highest = 0.0
    for axes, setting in zip(panels, settings, strict=True):
        heights = [height(variation) for variation in setting.variations.values()]
        value_bars(axes, heights, [looks[m] for m in setting.variations], text)
        line = limit(axes, setting, heights)
        highest = max(highest, axes.get_ylim()[1])
        if math.isfinite(line):
            axes.axhline(line, color="0.3", linewidth=0.8, linestyle=":")
        axes.set_title(setting.title)
        axes.set_ylabel(label)
        axes.tick_params(labelleft=True)
    panels[0].set_ylim(0, highest)  # of all panels: each has set what they share
    dotted = Line2D([], [], color="0.3", linewidth=0.8, linestyle=":", label=meaning)
    legend_above(figure, [*_handles(evaluated, settings), dotted])
    yield Drawing(name, caption, figure)


def draw_final_score(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """Final score of the incumbent, on validation data, and on test data where there are any."""
    for column, words in (("final", "validation"), ("test", "test")):
        if evaluated.study.cells[column].isna().all():
            continue
        yield from _absolute_and_difference(
            evaluated,
            column,
            f"final_score_{words}",
            f"{words} {{metric}} [-]",
            f"mean final {words} score of the incumbent; beneath, the paired difference to the baseline",
        )


def draw_auc(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """Area under the incumbent."""
    yield from _absolute_and_difference(
        evaluated,
        "auc",
        "best_so_far_auc",
        "mean best-so-far {metric} [-]",
        "mean incumbent over the whole budget; beneath, the paired difference to the baseline",
    )


def _absolute_and_difference(
    evaluated: EvaluatedStudy, column: str, name: str, label: str, caption: str
) -> Iterator[Drawing]:
    settings, looks = list(evaluated.settings()), evaluated.looks()
    if not settings:
        return
    columns = balanced(len(settings), 3)
    blocks = -(-len(settings) // columns)
    width = WIDTH if columns > 1 else 0.75 * WIDTH
    figure = Figure(figsize=(width, 3.7 * blocks + 0.4), layout="constrained")
    panels = tiles(figure, len(settings), columns, (1.25, 1.0))
    for setting, (top, bottom) in zip(settings, panels, strict=True):
        values = [
            _finite(evaluated.cells(v)[column].to_numpy(dtype=np.float64))
            for v in setting.variations.values()
        ]
        means = [float(v.mean()) if v.size else math.nan for v in values]
        used = [looks[m] for m in setting.variations]
        spans = [np.quantile(v, [0.25, 0.75]) if v.size else np.full(2, math.nan) for v in values]
        value_bars(top, means, used, lambda v: f"{v:.4f}", spans)
        end_at_one(top, max((float(v.max()) for v in values if v.size), default=0.0))
        for x, span in enumerate(spans):
            top.plot([x, x], span, color="0.1", linewidth=1.0)
        top.set_title(setting.title)
        top.set_ylabel(label.format(metric=setting.metric))
        _differences(bottom, setting, looks, column, evaluated.baseline)
        bottom.set_ylabel("difference to baseline [-]")
    quartiles = Line2D([], [], color="0.1", linewidth=1.0, label="quartiles over seeds")
    interval = Line2D([], [], color="0.3", marker="o", markersize=4, label="paired mean, 95 % interval")
    legend_above(figure, [*_handles(evaluated, settings), quartiles, interval])
    yield Drawing(name, caption, figure)


def _differences(axes: Axes, setting: Setting, looks: dict[str, Look], column: str, baseline: str) -> None:
    axes.axhline(0.0, color="0.3", linewidth=0.8)
    for x, method in enumerate(setting.variations):
        comparison = setting.comparisons.get(method)
        if method == baseline or comparison is None:
            continue
        interval = subset_mean_interval(_finite(_difference(comparison, column)))
        look = looks[method]
        if math.isfinite(interval.low):
            axes.plot([x, x], [interval.low, interval.high], color=look.colour, linewidth=1.4)
        axes.plot([x], [interval.estimate], marker=look.marker, color=look.colour, markersize=4.5, zorder=5)
        # On the side away from the line at zero, beyond the interval and the marker.
        below = interval.estimate < 0
        end = interval.low if below else interval.high
        axes.annotate(
            _signed(interval.estimate),
            (x, end if math.isfinite(end) else interval.estimate),
            xytext=(0, -5 if below else 5),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            fontsize=6.0,
        )
    axes.set_xlim(-0.6, len(setting.variations) - 0.4)
    axes.margins(y=0.25)
    axes.set_xticks([])
    axes.grid(axis="x", visible=False)


def _signed(value: float) -> str:
    """Four decimals without the leading zero, which keeps neighbouring labels apart."""
    return "0" if abs(value) < 5e-5 else f"{value:+.4f}".replace("0.", ".", 1)


def _difference(comparison: Comparison, column: str) -> Floats:
    return comparison.column(f"method.{column}") - comparison.column(f"baseline.{column}")


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def value_bars(
    axes: Axes,
    heights: Sequence[float],
    looks: Sequence[Look],
    text: Callable[[float], str],
    whiskers: Sequence[Sequence[float] | Floats] | None = None,
) -> None:
    """Hatched bars with the value at the end of each, turned and beyond the whisker where there are some."""
    ends = [(h, h) for h in heights] if whiskers is None else whiskers
    room = 0.15 if whiskers is None else 0.265  # of the axis, for a label
    for x, (height, (lower, upper), look) in enumerate(zip(heights, ends, looks, strict=True)):
        if not math.isfinite(height):
            continue
        down = height < 0
        axes.bar(
            x,
            height,
            width=0.72,
            color=look.colour,
            alpha=0.75,
            edgecolor="0.1",
            hatch=look.hatch,
            linewidth=0.6,
        )
        axes.annotate(
            text(height),
            (x, min(height, lower) if down else max(height, upper)),
            xytext=(0, -3 if down else 3),
            textcoords="offset points",
            ha="center",
            va="top" if down else "bottom",
            fontsize=6.5,
            rotation=0 if whiskers is None else 90,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
        )
    axes.axhline(0.0, color="0.1", linewidth=0.7)
    reached = [float(end) for pair in (heights, *ends) for end in pair if math.isfinite(end)]
    low, high = min([0.0, *reached]), max([0.0, *reached])
    label = room * (high - low) / (1 - room * ((low < 0) + (high > 0)))
    axes.set_ylim(low - label * (low < 0), high + label * (high > 0) or 1.0)
    axes.set_xlim(-0.6, len(heights) - 0.4)
    axes.set_xticks([])
    axes.grid(axis="x", visible=False)


def _handles(evaluated: EvaluatedStudy, settings: Sequence[Setting]) -> list[Patch]:
    looks = evaluated.looks()
    used = dict.fromkeys(method for setting in settings for method in setting.variations)
    return [
        Patch(
            facecolor=looks[m].colour, alpha=0.75, edgecolor="0.1", hatch=looks[m].hatch, label=looks[m].label
        )
        for m in used
    ]

"""Ratios of times to target, a panel for each warm start: all of them, and their means by task and space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.confirmation.report import Setting, judged
from hypernudge.evidence.figures.forest import MARKS
from hypernudge.evidence.loading.plan import Criteria
from hypernudge.plotting import log_axis, style
from hypernudge.results.files import write_text

LOWEST, HIGHEST = 0.2, 2.0  # shown at least, and every estimate; longer intervals end in an arrow
SPACE_MARKS: Mapping[str, dict[str, Any]] = {
    "narrow": {"marker": "v", "color": "#E69F00"},
    "mid": {"marker": "s", "color": "#56B4E9"},
    "wide": {"marker": "o", "color": "#0072B2"},
}


def draw(settings: Sequence[Setting], methods: Sequence[str]) -> Figure:
    """Return the figure with a row for each task, scheduler and space; Holm over all settings of a method."""
    rows = list(dict.fromkeys((t.task, t.scheduler, t.space) for t in settings))
    several = len({scheduler for _, scheduler, _ in rows}) > 1
    names = [f"{task}, {f'{scheduler}, ' if several else ''}{space}" for task, scheduler, space in rows]
    used: set[str] = set()
    with style.context():
        estimates = [t.ratio.estimate for t in settings if t.method in methods]
        figure, panels = _panels(names, methods, 0.15, estimates)
        for axes, method in zip(panels, methods, strict=True):
            mine = [t for t in settings if t.method == method]
            for t, label in zip(mine, judged(mine)[1], strict=True):
                y, shown = rows.index((t.task, t.scheduler, t.space)), MARKS[label]
                used.add(label)
                colour = shown["markeredgecolor"]
                _interval(axes, t.ratio.low, t.ratio.high, y, colour)
                axes.plot([t.ratio.estimate], [y], markersize=3.6, markeredgewidth=0.8, **shown)
        _legend(figure, {label: MARKS[label] for label in MARKS if label in used})
    return figure


def _interval(axes: Axes, low: float, high: float, y: float, colour: str) -> None:
    """Draw a line; an end beyond the axis is an arrow, so that nobody takes it for the interval's own."""
    axes.plot([low, high], [y, y], color=colour, linewidth=0.9)
    left, right = axes.get_xlim()
    for end, beyond, marker in ((left, low < left, "<"), (right, high > right, ">")):
        if beyond:
            axes.plot([end], [y], marker, color=colour, markersize=3.0, clip_on=False)


def draw_spaces(settings: Sequence[Setting], methods: Sequence[str]) -> Figure:
    """Return the figure with a row for each task: geometric means over the schedulers, by space."""
    tasks = list(dict.fromkeys(t.task for t in settings))
    spaces = [space for space in SPACE_MARKS if any(t.space == space for t in settings)]
    means = {(method, space): _means(settings, method, space) for method in methods for space in spaces}
    estimates = [mean for of_tasks in means.values() for mean in of_tasks.values()]
    with style.context():
        figure, panels = _panels(tasks, methods, 0.17, estimates)
        for axes, method in zip(panels, methods, strict=True):
            for space in spaces:
                of_tasks = means[method, space]
                y = [tasks.index(task) for task in of_tasks]
                axes.plot(list(of_tasks.values()), y, linestyle="", markersize=3.6, **SPACE_MARKS[space])
        _legend(figure, {f"{space} space": SPACE_MARKS[space] for space in spaces})
    return figure


def _means(settings: Sequence[Setting], method: str, space: str) -> dict[str, float]:
    """Return the geometric mean ratio of each task over its schedulers."""
    logs: dict[str, list[float]] = {}
    for t in settings:
        if (t.method, t.space) == (method, space):
            logs.setdefault(t.task, []).append(math.log(t.ratio.estimate))
    return {task: math.exp(math.fsum(values) / len(values)) for task, values in logs.items()}


def _panels(
    rows: Sequence[str], methods: Sequence[str], height: float, estimates: Sequence[float]
) -> tuple[Figure, list[Axes]]:
    low, high = min([LOWEST, *(x / 1.2 for x in estimates)]), max([HIGHEST, *(x * 1.2 for x in estimates)])
    figure = Figure(figsize=(style.WIDTH, height * len(rows) + 1.1), layout="constrained")
    panels = list(figure.subplots(1, len(methods), sharey=True, squeeze=False).flat)
    for axes, method in zip(panels, methods, strict=True):
        axes.axvline(1.0, color="0.3", linewidth=0.8)
        axes.axvspan(low, Criteria().ratio, color="0.95", zorder=0)
        log_axis.ratios(axes, low, high, (0.25, 0.5, 1.0, 2.0))
        axes.set_title(method)
        axes.tick_params(axis="y", length=0)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_yticks(range(len(rows)), rows)
    figure.supxlabel("time to target over that without a warm start [ratio, log scale]", fontsize=8.0)
    return figure, panels


def _legend(figure: Figure, marks: Mapping[str, dict[str, Any]]) -> None:
    handles = [Line2D([], [], linestyle="", markersize=4, label=name, **mark) for name, mark in marks.items()]
    patch = Patch(facecolor="0.95", label=f"ratio of at most {Criteria().ratio:g}")
    style.legend_above(figure, [*handles, patch])


def save(settings: Sequence[Setting], methods: Sequence[str], folder: Path) -> None:
    """Write `ratios.svg` and `spaces.svg`, the same bytes for the same numbers."""
    with style.context():
        write_text(folder / "ratios.svg", style.as_svg(draw(settings, methods)))
        if any(t.space in SPACE_MARKS for t in settings):
            write_text(folder / "spaces.svg", style.as_svg(draw_spaces(settings, methods)))

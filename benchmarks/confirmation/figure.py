"""Ratios of times to target, a panel for each warm start, a row for each task, scheduler and space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, NullLocator

from benchmarks.confirmation.report import Tuple, judged
from hypernudge.evidence.figures import style
from hypernudge.evidence.figures.forest import MARKS
from hypernudge.evidence.plan import Criteria

LOWEST, HIGHEST = 0.2, 2.0  # shown; longer intervals are cut here


def draw(tuples: Sequence[Tuple], methods: Sequence[str]) -> Figure:
    """Return the figure; verdicts are those of Holm over all tuples of a method."""
    rows = list(dict.fromkeys((t.task, t.scheduler, t.space) for t in tuples))
    several = len({scheduler for _, scheduler, _ in rows}) > 1
    used: set[str] = set()
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 0.15 * len(rows) + 1.1), layout="constrained")
        panels = list(figure.subplots(1, len(methods), sharey=True, squeeze=False).flat)
        for axes, method in zip(panels, methods, strict=True):
            mine = [t for t in tuples if t.method == method]
            axes.axvline(1.0, color="0.3", linewidth=0.8)
            axes.axvspan(LOWEST, Criteria().ratio, color="0.95", zorder=0)
            for t, label in zip(mine, judged(mine)[1], strict=True):
                y, shown = rows.index((t.task, t.scheduler, t.space)), MARKS[label]
                used.add(label)
                axes.plot([t.ratio.low, t.ratio.high], [y, y], color=shown["markeredgecolor"], linewidth=0.9)
                axes.plot([t.ratio.estimate], [y], markersize=3.6, markeredgewidth=0.8, **shown)
            axes.set_xscale("log")
            axes.set_xlim(LOWEST, HIGHEST)
            axes.xaxis.set_major_locator(FixedLocator([0.25, 0.5, 1.0]))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter("{x:g}")
            axes.set_title(method)
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
        panels[0].set_ylim(len(rows) - 0.4, -0.6)
        names = [f"{task}, {f'{scheduler}, ' if several else ''}{space}" for task, scheduler, space in rows]
        panels[0].set_yticks(range(len(rows)), names)
        figure.supxlabel("time to target over that without a warm start [ratio, log scale]", fontsize=8.0)
        handles = [
            Line2D([], [], linestyle="", markersize=4, label=k, **MARKS[k]) for k in MARKS if k in used
        ]
        patch = Patch(facecolor="0.95", label=f"ratio of at most {Criteria().ratio:g}")
        style.legend_above(figure, [*handles, patch])
    return figure


def save(tuples: Sequence[Tuple], methods: Sequence[str], path: Path) -> None:
    """Write the figure as SVG, the same bytes for the same numbers."""
    with style.context():
        draw(tuples, methods).savefig(path, metadata={"Date": None})

"""Performance profiles, and the critical-difference diagram (secondary: ranks throw the sizes away)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.plotting.layout import grid
from hypernudge.plotting.style import label_ends, legend_above, spread_apart

Floats = NDArray[np.float64]

_FARTHEST = 4.0


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """Share of all (task, scheduler, seed) in which a method needs at most rho times the best method's time.

    Source: Dolan & More (2002), "Benchmarking optimization software with performance profiles", Mathematical
        Programming 91.
    """
    times = _times(evaluated)
    if times is None:
        return
    methods, table = times
    looks = evaluated.looks()
    best = np.min(table, axis=0)
    solved = np.isfinite(best)
    if not solved.any():
        return
    figure, (axes,) = grid(1, columns=1, height=3.0)
    ends, handles = [], []
    for method, row in zip(methods, table, strict=True):
        look = looks[method]
        ratios = np.sort(np.divide(row, best, out=np.full(row.size, np.inf), where=solved))
        share = 100 * np.arange(1, ratios.size + 1) / ratios.size
        shown = ratios <= _FARTHEST
        x = np.concatenate([[1.0], ratios[shown], [_FARTHEST]])
        y = np.concatenate([[0.0], share[shown]])
        y = np.append(y, y[-1])
        axes.step(x, y, where="post", color=look.colour, linestyle=look.dash, linewidth=look.width)
        ends.append((float(y[-1]), f"{y[-1]:.0f} %", look.colour))
        handles.append(
            Line2D([], [], color=look.colour, linestyle=look.dash, linewidth=look.width, label=look.label)
        )
    axes.set_xscale("log")
    ticks = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(1.0, _FARTHEST)
    axes.set_ylim(0, 102)
    axes.set_xlabel("time to target over the best method's [ratio, log scale]")
    axes.set_ylabel("cells within that ratio [%]")
    legend_above(figure, handles)
    figure.draw_without_rendering()
    label_ends(axes, ends)
    caption = "share of all cells solved within a factor of the fastest method; further up and left is better"
    yield Drawing("performance_profile", caption, figure)


def draw_ranks(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """Mean ranks over settings with Nemenyi's critical difference.

    Source: Demsar (2006), "Statistical comparisons of classifiers over multiple data sets", JMLR 7.
    """
    methods = list(evaluated.looks())
    rows = []
    for setting in evaluated.settings():
        if set(setting.variations) == set(methods):
            cells = [evaluated.cells(setting.variations[m]) for m in methods]
            rows.append([float(np.log(c["time"].to_numpy(dtype=np.float64)).mean()) for c in cells])
    if len(rows) < 2 or len(methods) < 2:
        return
    from scipy.stats import rankdata, studentized_range  # here, for it takes a second to import

    ranks = np.array([rankdata(row) for row in rows]).mean(axis=0)
    k, n = len(methods), len(rows)
    critical = (
        float(studentized_range.ppf(0.95, k, math.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    )
    looks = evaluated.looks()
    figure, (axes,) = grid(1, columns=1, height=0.26 * k + 1.0)
    order = np.argsort(ranks, kind="stable")
    heights = spread_apart(np.arange(k, dtype=np.float64), 1.0)
    for height, index in zip(heights, order, strict=True):
        look = looks[methods[index]]
        end = ranks[index] + critical
        axes.plot([ranks[index], end], [height, height], color="0.75", linewidth=3, solid_capstyle="butt")
        axes.plot(
            [ranks[index]], [height], look.marker, color=look.colour, markeredgecolor="0.2", markersize=6
        )
        text = f"{look.label}  {ranks[index]:.2f}"
        axes.annotate(text, (-0.01, height), xycoords=("axes fraction", "data"), ha="right", va="center")
    axes.set_ylim(k - 0.4, -0.6)
    axes.set_xlim(0.9, max(float(k), float(ranks.max() + critical)) + 0.1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"mean rank of the time to target over {n} settings [-]; 1 is soonest")
    bar = Line2D(
        [], [], color="0.75", linewidth=3, label=f"critical difference {critical:.2f} (Nemenyi, 95 %)"
    )
    legend_above(figure, [bar])
    caption = "mean ranks; methods within one grey bar of each other are not told apart (secondary)"
    yield Drawing("critical_difference", caption, figure)


def _times(evaluated: EvaluatedStudy) -> tuple[list[str], Floats] | None:
    """Times of every method at the cells that all methods have, misses infinite; shape (methods, cells)."""
    methods = list(evaluated.looks())
    blocks = []
    for setting in evaluated.settings():
        if set(setting.variations) != set(methods):
            continue
        own = [evaluated.cells(setting.variations[m]).set_index("seed") for m in methods]
        seeds = sorted(set.intersection(*(set(cells.index) for cells in own)))
        if seeds:
            blocks.append(
                np.array(
                    [
                        np.where(
                            cells.loc[seeds, "reached"].to_numpy(dtype=bool),
                            cells.loc[seeds, "time"].to_numpy(dtype=np.float64),
                            np.inf,
                        )
                        for cells in own
                    ]
                )
            )
    return (methods, np.concatenate(blocks, axis=1)) if blocks else None

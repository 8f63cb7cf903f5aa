"""Which planned cells are there: one mark per cell, missing and crashed ones named by their seed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.plotting.style import WIDTH, legend_above

_STATES = (("completed", "0.82"), ("crashed", "#D55E00"), ("missing", "white"))


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One row per variation, one column per seed."""
    cells = evaluated.study.cells
    seeds = sorted(set(cells["seed"]))
    runs = list(dict.fromkeys(cells["run_id"]))
    if len(seeds) > 300 or len(runs) > 150:
        return
    codes = {state: code for code, (state, _) in enumerate(_STATES)}
    table = np.full((len(runs), len(seeds)), -1, dtype=np.int64)
    row = {run: index for index, run in enumerate(runs)}
    column = {seed: index for index, seed in enumerate(seeds)}
    for run, seed, status in cells[["run_id", "seed", "status"]].itertuples(index=False):
        table[row[run], column[seed]] = codes[status]
    figure = Figure(figsize=(WIDTH, 0.17 * len(runs) + 1.1), layout="constrained")
    axes = figure.subplots()
    # Neighbours of one state are one bar, cut by lines: a tenth of the marks of a grid of squares.
    for y, states in enumerate(table):
        begins = np.flatnonzero(np.append(True, states[1:] != states[:-1]))
        for start, stop in pairwise([*begins, len(seeds)]):
            if states[start] >= 0:
                axes.broken_barh([(start - 0.5, stop - start)], (y - 0.5, 1), color=_STATES[states[start]][1])
    cuts: dict[str, Any] = {"color": "white", "linewidth": 0.6}
    axes.hlines(np.arange(1, len(runs)) - 0.5, -0.5, len(seeds) - 0.5, **cuts)
    if len(seeds) < 80:
        axes.vlines(np.arange(1, len(seeds)) - 0.5, -0.5, len(runs) - 0.5, **cuts)
    axes.set_xlim(-0.5, len(seeds) - 0.5)
    axes.set_ylim(-0.5, len(runs) - 0.5)
    for y, x in np.argwhere(table > 0):
        mark = "x" if table[y, x] == codes["crashed"] else "-"
        axes.text(x, y, mark, ha="center", va="center", fontsize=6.5)
    axes.set_yticks(range(len(runs)), runs, fontsize=6.5)
    step = max(1, len(seeds) // 15)
    axes.set_xticks(range(0, len(seeds), step), [str(seed) for seed in seeds[::step]])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xlabel("seed [-]")
    counts = cells["status"].value_counts()
    handles = [
        Patch(facecolor=colour, edgecolor="0.4", label=f"{state}: {int(counts.get(state, 0))}")
        for state, colour in _STATES
    ]
    legend_above(figure, handles)
    yield Drawing(
        "manifest_completeness", "every planned cell: completed, crashed (x) or missing (-)", figure
    )

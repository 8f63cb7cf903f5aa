"""Which planned cells are there: one mark per cell, missing and crashed ones named by their seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hypernudge.evidence.figures.material import Drawing, Material
from hypernudge.evidence.figures.style import WIDTH, legend_above

_STATES = (("completed", "0.82"), ("crashed", "#D55E00"), ("missing", "white"))


def draw(material: Material) -> Iterator[Drawing]:
    """One row per variation, one column per seed."""
    cells = material.study.cells
    seeds = sorted(set(cells["seed"]))
    runs = list(dict.fromkeys(cells["run_id"]))
    if len(seeds) > 300 or len(runs) > 150:
        return
    codes = {state: code for code, (state, _) in enumerate(_STATES)}
    table = np.full((len(runs), len(seeds)), np.nan)
    row = {run: index for index, run in enumerate(runs)}
    column = {seed: index for index, seed in enumerate(seeds)}
    for run, seed, status in cells[["run_id", "seed", "status"]].itertuples(index=False):
        table[row[run], column[seed]] = codes[status]
    figure = Figure(figsize=(WIDTH, 0.17 * len(runs) + 1.1), layout="constrained")
    axes = figure.subplots()
    colours = ListedColormap([colour for _, colour in _STATES])
    axes.pcolormesh(
        np.arange(len(seeds) + 1) - 0.5,
        np.arange(len(runs) + 1) - 0.5,
        np.ma.masked_invalid(table),
        cmap=colours,
        vmin=-0.5,
        vmax=len(_STATES) - 0.5,
        edgecolors="white" if len(seeds) < 80 else "none",
        linewidth=0.6,
    )
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

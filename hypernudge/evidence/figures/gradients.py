"""Hyper-gradient magnitude against benefit: a heat map with the number of trials in every cell."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.verdicts.benefit import gradient_and_benefit
from hypernudge.plotting.layout import grid
from hypernudge.plotting.style import file_name, legend_above

Floats = NDArray[np.float64]

_COLUMNS = 6


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One figure per (task, scheduler) with a panel per method that has gradients."""
    for setting in evaluated.featured():
        found: dict[str, pd.DataFrame] = {}
        for method, comparison in setting.comparisons.items():
            frame = gradient_and_benefit(
                evaluated.trials(comparison.method), evaluated.trials(comparison.baseline)
            )
            if len(frame) >= 2 * _COLUMNS:
                found[method] = frame
        if not found:
            continue
        benefits = [frame["benefit"].to_numpy(dtype=np.float64) for frame in found.values()]
        levels = _levels(np.concatenate(benefits))
        figure, panels = grid(len(found), columns=2, height=2.6)
        for axes, (method, frame) in zip(panels, found.items(), strict=True):
            _heat_map(axes, frame, levels)
            axes.set_title(f"{method} ({len(frame)} paired trials)", pad=14)
            axes.set_ylabel(f"change of first {setting.metric} [-]")
        handles = [
            Patch(facecolor="0.25", label="many trials of the column"),
            Patch(facecolor="0.85", label="few; the number is their count"),
        ]
        legend_above(figure, handles)
        yield Drawing(
            file_name("hypergradient_benefit", setting.task, setting.scheduler),
            f"gain of the first score over the baseline's by hyper-gradient norm, {setting.title}",
            figure,
        )


def _levels(benefit: Floats) -> list[float]:
    """Three round bounds on the scale of the changes that occurred: .01, .05 and .2 for an accuracy."""
    changed = np.abs(benefit[benefit != 0])
    large = float(np.quantile(changed, 0.95)) if changed.size else 0.1
    unit = 10.0 ** np.floor(np.log10(large))
    return [float(unit * factor) for factor in (0.1, 0.5, 2.0)]


def _heat_map(axes: Axes, frame: pd.DataFrame, levels: list[float]) -> None:
    norm = np.log10(np.maximum(frame["gradient_norm"].to_numpy(dtype=np.float64), 1e-12))
    benefit = frame["benefit"].to_numpy(dtype=np.float64)
    edges = _edges(norm)
    columns = np.clip(np.searchsorted(edges, norm, side="right") - 1, 0, edges.size - 2)
    bounds = np.array([-np.inf, *(-level for level in reversed(levels)), *levels, np.inf])
    rows = np.searchsorted(bounds, benefit, side="left") - 1
    counts = np.zeros((bounds.size - 1, edges.size - 1), dtype=np.int64)
    np.add.at(counts, (np.clip(rows, 0, len(counts) - 1), columns), 1)
    share = counts / np.maximum(counts.sum(axis=0), 1)
    axes.pcolormesh(
        np.arange(edges.size), np.arange(bounds.size), share, cmap="Greys", vmin=0, vmax=1, rasterized=False
    )
    for row, column in np.ndindex(*counts.shape):
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{counts[row, column]}",
            ha="center",
            va="center",
            fontsize=6.3,
            color="white" if share[row, column] > 0.55 else "0.1",
        )
    axes.set_xticks(np.arange(edges.size), [f"{10**edge:.2g}" for edge in edges])
    axes.set_yticks(np.arange(1, bounds.size - 1), [f"{bound:+g}" for bound in bounds[1:-1]])
    axes.set_xlabel("norm of the hyper-gradient [-], log-spaced bins")
    axes.grid(visible=False)
    medians = [
        float(np.median(benefit[columns == column]))
        for column in range(edges.size - 1)
        if (columns == column).any()
    ]
    present = [column for column in range(edges.size - 1) if (columns == column).any()]
    for column, median in zip(present, medians, strict=True):
        text = f"{median:+.3f}"
        axes.annotate(
            text,
            (column + 0.5, bounds.size - 1),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=6,
        )
    axes.annotate(
        "median", (0, bounds.size - 1), xytext=(-3, 3), textcoords="offset points", ha="right", fontsize=6
    )


def _edges(norm: Floats) -> Floats:
    """Equal log-spaced bins over the central 98 % of the norms."""
    low, high = np.quantile(norm, [0.01, 0.99])
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _COLUMNS + 1)

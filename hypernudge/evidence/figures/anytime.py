"""Anytime performance: the incumbent over time, each method beside its baseline, with a paired band."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.loading.outcomes import incumbent_on_grid
from hypernudge.evidence.verdicts.comparisons import Comparison
from hypernudge.plotting.layout import grid
from hypernudge.plotting.style import Look, end_at_one, file_name, label_ends, legend_above

Floats = NDArray[np.float64]

_DRAWS = 400
_POINTS = 160


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One figure per (task, scheduler), one panel per method.

    The band is the baseline's mean curve plus the 95 % bootstrap interval of the paired mean difference:
    where the baseline leaves the band, the difference at that moment is significant on its own (not corrected
    over time).
    """
    looks = evaluated.looks()
    for setting in evaluated.featured():
        if not setting.comparisons:
            continue
        figure, panels = grid(len(setting.comparisons), columns=2, height=2.35, sharex=True, sharey=True)
        ends: list[list[tuple[float, str, str]]] = []
        budget = float(next(iter(setting.comparisons.values())).columns["method.budget"][0])
        moments = np.linspace(0.0, budget, _POINTS + 1)[1:]
        low, high = np.inf, -np.inf
        for axes, (method, comparison) in zip(panels, setting.comparisons.items(), strict=True):
            baseline, own = (_curves(evaluated, comparison, side, moments) for side in ("baseline", "method"))
            band = _paired_band(own - baseline, zlib.crc32(comparison.method.run_id.encode()))
            ends.append(_panel(axes, looks[method], looks[evaluated.baseline], moments, baseline, own, band))
            # The first tenth is a steep rise from the floor that would squeeze everything of interest.
            late = moments >= 0.1 * budget
            low = min(low, float(baseline.mean(0)[late].min()), float(own.mean(0)[late].min()))
            high = max(
                high, float(baseline.mean(0).max()), float((baseline.mean(0) + band).max()), setting.target
            )
            axes.set_title(f"{method} ({len(own)} pairs)")
        best = float(evaluated.study.cells["final"].max())
        margin = 0.06 * max(high - low, 1e-9)
        for axes in panels:
            axes.set_xlim(0, budget)
            axes.set_ylim(low - margin, high + margin)
            end_at_one(axes, best)
            axes.axhline(setting.target, color="0.45", linewidth=0.8, linestyle=":")
            axes.set_xlabel(evaluated.study.plan.clock)
            axes.set_ylabel(f"best validation {setting.metric} [-]")
            axes.tick_params(labelbottom=True, labelleft=True)
        legend_above(figure, _handles(looks[evaluated.baseline], setting.target))
        figure.draw_without_rendering()
        for axes, labels in zip(panels, ends, strict=True):
            label_ends(axes, labels)
        yield Drawing(
            file_name("anytime_incumbent", setting.task, setting.scheduler),
            f"mean incumbent on {setting.title}; where the baseline leaves the band, the two differ",
            figure,
        )


def _curves(evaluated: EvaluatedStudy, comparison: Comparison, side: str, moments: Floats) -> Floats:
    """Incumbents of the paired cells, shape (pairs, moments), in the order of the pairs."""
    variation = comparison.method if side == "method" else comparison.baseline
    cells = evaluated.cells(variation)
    index = cells.reset_index().set_index("seed")["index"].loc[comparison.seeds.tolist()]
    floor = float(cells["floor"].iloc[0])
    return incumbent_on_grid(evaluated.study.incumbents, index.to_numpy(dtype=np.int64), moments, floor)


def _paired_band(difference: Floats, seed: int) -> Floats:
    """Percentile bootstrap of the mean difference; shape (2, moments)."""
    pairs = len(difference)
    counts = np.random.default_rng(seed).multinomial(pairs, np.full(pairs, 1.0 / pairs), size=_DRAWS)
    return np.asarray(np.quantile(counts @ difference / pairs, [0.025, 0.975], axis=0))


def _panel(
    axes: Axes, look: Look, plain: Look, moments: Floats, baseline: Floats, own: Floats, band: Floats
) -> list[tuple[float, str, str]]:
    middle = baseline.mean(0)
    axes.fill_between(moments, middle + band[0], middle + band[1], color=look.colour, alpha=0.25, linewidth=0)
    axes.plot(moments, middle, color=plain.colour, linestyle=plain.dash, linewidth=plain.width)
    axes.plot(moments, own.mean(0), color=look.colour, linestyle="-", linewidth=look.width)
    return [
        (float(middle[-1]), f"{middle[-1]:.4f}", plain.colour),
        (float(own.mean(0)[-1]), f"{own.mean(0)[-1]:.4f}", look.colour),
    ]


def _handles(plain: Look, target: float) -> list[Line2D | Patch]:
    return [
        Line2D([], [], color=plain.colour, linestyle=plain.dash, linewidth=plain.width, label=plain.label),
        Line2D([], [], color="0.4", label="method named above the panel"),
        Patch(facecolor="0.4", alpha=0.25, label="95 % paired band (mean difference)"),
        Line2D([], [], color="0.45", linewidth=0.8, linestyle=":", label=f"target {target:g}"),
    ]

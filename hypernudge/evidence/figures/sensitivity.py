"""How the ratio depends on the target, and how the power depends on the number of pairs."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.statistics.power import simulated_power
from hypernudge.evidence.verdicts.sensitivity import target_sensitivity
from hypernudge.plotting.layout import begins_row, grid
from hypernudge.plotting.style import file_name, label_ends, legend_above

_PAIRS = (6, 8, 10, 15, 20, 30, 40, 60)
_RATIOS: tuple[tuple[float, str, Any], ...] = ((0.85, "#0072B2", "-"), (0.7, "#D55E00", (0, (5, 1.2))))
_SIMULATIONS = 400


def draw_targets(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One figure per (task, scheduler), a panel per method: ratio and interval over a grid of targets."""
    looks = evaluated.looks()
    for setting in evaluated.featured():
        if not setting.comparisons:
            continue
        figure, panels = grid(len(setting.comparisons), columns=2, height=2.2, sharey=True)
        for axes, (method, comparison) in zip(panels, setting.comparisons.items(), strict=True):
            look = looks[method]
            frame = target_sensitivity(evaluated.study, comparison)
            x, low, high = (frame[name].to_numpy(dtype=np.float64) for name in ("target", "low", "high"))
            axes.axhline(1.0, color="0.3", linewidth=0.8)
            axes.axvline(comparison.method.target, color="0.45", linewidth=0.8, linestyle=":")
            axes.fill_between(x, low, high, color=look.colour, alpha=0.25, linewidth=0)
            axes.plot(x, frame["ratio"], color=look.colour, marker=look.marker, markersize=3.5)
            chosen = frame[frame["declared"]].iloc[0]
            axes.set_title(f"{method}: {chosen['ratio']:.2f} at the declared target")
            axes.set_xlabel(f"target {setting.metric} [-]")
            axes.tick_params(labelleft=True)
            if begins_row(axes):
                axes.set_ylabel("time ratio [-]")
        handles = [
            Line2D([], [], color="0.3", marker="o", markersize=3.5, label="ratio, 95 % interval shaded"),
            Line2D([], [], color="0.45", linewidth=0.8, linestyle=":", label="declared target"),
            Line2D([], [], color="0.3", linewidth=0.8, label="equal times"),
        ]
        legend_above(figure, handles)
        yield Drawing(
            file_name("tau_sensitivity", setting.task, setting.scheduler),
            f"ratio of times over a grid of targets on {setting.title}; no claim should hang on one",
            figure,
        )


def draw_power(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """Power over the number of pairs, at the spread that was observed; one panel per family size."""
    usable = [c for c in evaluated.comparisons if c.seeds.size >= 6 and float(np.std(c.log_ratio)) > 0]
    if not usable:
        return
    # The largest: controls that hardly change anything have hardly any spread, and would flatter the plan.
    spread = float(max(np.std(c.log_ratio, ddof=1) for c in usable))
    family = max(c.family_size for c in usable)
    alpha = evaluated.study.plan.criteria.alpha
    planned = max(c.planned for c in usable)
    figure, (axes,) = grid(1, columns=1, height=2.8)
    ends, handles = [], []
    for ratio, colour, dash in _RATIOS:
        rng = np.random.default_rng(zlib.crc32(f"power {ratio}".encode()))
        shares = [
            100
            * simulated_power(
                n, ratio, spread, rng, alpha=alpha, comparisons=family, simulations=_SIMULATIONS
            )
            for n in _PAIRS
        ]
        axes.plot(_PAIRS, shares, color=colour, linestyle=dash, marker="o", markersize=3.5)
        ends.append((shares[-1], f"{shares[-1]:.0f} %", colour))
        label = f"true ratio {ratio:g}"
        handles.append(Line2D([], [], color=colour, linestyle=dash, marker="o", markersize=3.5, label=label))
    axes.axvline(planned, color="0.45", linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(_PAIRS, [str(n) for n in _PAIRS])
    axes.minorticks_off()
    axes.set_xlim(_PAIRS[0], _PAIRS[-1])
    axes.set_ylim(0, 102)
    axes.set_xlabel("pairs [-]")
    axes.set_ylabel("power [%]")
    axes.set_title(f"family of {family}, log ratios with standard deviation {spread:.2f}")
    handles.append(Line2D([], [], color="0.45", linewidth=0.8, linestyle=":", label=f"planned: {planned}"))
    legend_above(figure, handles)
    figure.draw_without_rendering()
    label_ends(axes, ends)
    # Rounded to the percent: four hundred studies have a standard error of at most 2.5.
    error = math.ceil(50 / math.sqrt(_SIMULATIONS))
    yield Drawing("power_curve", f"chance of a significant result by number of pairs (+-{error} %)", figure)

"""Rung survival: what share of the started configurations reached each rung."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from matplotlib.lines import Line2D

from hypernudge.evidence.figures.evaluated_study import Drawing, EvaluatedStudy
from hypernudge.evidence.loading.outcomes import rung_survival
from hypernudge.plotting import log_axis
from hypernudge.plotting.layout import grid
from hypernudge.plotting.style import Look, label_ends, legend_above


def draw(evaluated: EvaluatedStudy) -> Iterator[Drawing]:
    """One panel per (task, scheduler), one line per method, the share at the last rung annotated."""
    looks = evaluated.looks()
    survival = [
        (
            setting,
            {
                m: rung_survival(evaluated.trials(v)["milestones"].tolist())
                for m, v in setting.variations.items()
            },
        )
        for setting in evaluated.settings()
    ]
    survival = [(setting, lines) for setting, lines in survival if any(lines.values())]
    if not survival:
        return
    figure, panels = grid(len(survival), columns=3, height=2.5, sharey=True)
    ends = []
    for axes, (setting, lines) in zip(panels, survival, strict=True):
        labels, rungs = [], sorted({rung for shares in lines.values() for rung in shares})
        for method, shares in lines.items():
            look = looks[method]
            # On the logarithmic axis a rung that nobody reached is a gap, not minus infinity.
            y = [100 * shares[rung] if shares.get(rung) else math.nan for rung in rungs]
            axes.plot(rungs, y, **_style(look))
            if math.isfinite(y[-1]):
                labels.append((y[-1], f"{y[-1]:.1f} %", look.colour))
        ends.append(labels)
        axes.set_xscale("log")
        log_axis.label(axes.xaxis, rungs)
        axes.set_yscale("log")
        log_axis.label(axes.yaxis, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
        axes.set_title(setting.title)
        axes.set_xlabel("rung [units of training]")
        axes.set_ylabel("configurations at the rung [%]")
        axes.tick_params(labelleft=True)
    used = dict.fromkeys(method for _, lines in survival for method in lines)
    legend_above(figure, [Line2D([], [], label=looks[m].label, **_style(looks[m])) for m in used])
    figure.draw_without_rendering()
    for axes, labels in zip(panels, ends, strict=True):
        label_ends(axes, labels)
    yield Drawing(
        "rung_survival",
        "share of started configurations that reached each rung; the last rung is annotated",
        figure,
    )


def _style(look: Look) -> dict[str, Any]:
    return {
        "color": look.colour,
        "linestyle": look.dash,
        "linewidth": look.width,
        "marker": look.marker,
        "markersize": 3.5,
    }

"""From where to where the warm start moved each hyper-parameter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D

from hypernudge.errors import require
from hypernudge.parameters import Categorical
from hypernudge.plotting.layout import balanced, tiles
from hypernudge.plotting.picture import MANY, Picture, picture
from hypernudge.plotting.style import WIDTH, legend_above
from hypernudge.results.printable import counted
from hypernudge.study.plots.dimensions import Dimension, dimensions
from hypernudge.study.plots.scores import ScoreScale, require_trials
from hypernudge.study.plots.titles import set_title, title
from hypernudge.study.results import TrialResult
from hypernudge.study.study import Study

_UNSCORED = "0.7"


@picture
def draw(study: Study) -> Picture:
    """Draw it; see `Plots.shifts`."""
    trials = require_trials(study, "shifts")
    moved = [trial for trial in trials if trial.config != trial.sampled]
    rule = "the warm start must have moved a trial"
    what = f"{study.about.warm_start or 'none'}, which moved none of {counted(len(trials), 'trial')}"
    require(len(moved) > 0, "shifts", rule, what, "tune with warm_start='informed', say")
    shown = [dimension for dimension in dimensions(study) if _moved(dimension, moved)]
    scores = [trial.value for trial in trials if trial.best is not None]
    scale = ScoreScale.of(study, scores) if scores else None
    columns = balanced(len(shown), 3)
    rows = -(-len(shown) // columns)
    width = WIDTH if columns > 1 else 0.6 * WIDTH
    figure = Picture(figsize=(width, 0.85 * rows * width / columns + 0.5), layout="constrained")
    parts = figure.add_gridspec(1, 2, width_ratios=(1.0, 0.02))
    panels = [axes for (axes,) in tiles(figure, len(shown), columns, within=parts[0, 0])]
    for axes, dimension in zip(panels, shown, strict=True):
        _panel(axes, dimension, list(trials), scale)
    set_title(figure, panels[0], title(study, f"{len(moved)} moved"))
    if scale is not None:
        scale.bar(figure, ScalarMappable(scale.norm, scale.colours), parts[0, 1])
    handles = [Line2D([], [], color="0.5", linewidth=0.8, label="on this line: not moved")]
    if len(scores) < len(trials):
        style: dict[str, Any] = {
            "linestyle": "",
            "marker": "o",
            "markersize": 4,
        }
        handles.append(Line2D([], [], color=_UNSCORED, label="no score", **style))
    legend_above(figure, handles)
    return figure


def _moved(dimension: Dimension, trials: list[TrialResult]) -> bool:
    if isinstance(dimension.parameter, Categorical):
        return False  # a warm start moves none
    before, after = (dimension.values(c) for c in ([t.sampled for t in trials], [t.config for t in trials]))
    return bool(np.any(np.isfinite(before) & np.isfinite(after) & (before != after)))


def _panel(axes: Axes, dimension: Dimension, trials: list[TrialResult], scale: ScoreScale | None) -> None:
    before, after = (dimension.values(c) for c in ([t.sampled for t in trials], [t.config for t in trials]))
    worst_first = sorted(range(len(trials)), key=lambda index: _place(trials[index], scale))
    colours: list[Any] = [
        _UNSCORED if scale is None or trials[index].best is None else scale.colour(trials[index].value)
        for index in worst_first
    ]
    dimension.scale(axes, "x")
    dimension.scale(axes, "y")
    axes.axline(*_ends(dimension), color="0.5", linewidth=0.8, zorder=1)
    style: dict[str, Any] = {
        "s": 11 if len(trials) < MANY else 4,
        "linewidth": 0,
        "rasterized": len(trials) > MANY,
    }
    axes.scatter(before[worst_first], after[worst_first], c=colours, zorder=2, **style)
    axes.set_xlabel(f"{dimension.name}, as sampled")
    axes.set_ylabel(f"{dimension.name}, as trained")


def _place(trial: TrialResult, scale: ScoreScale | None) -> float:
    return -math.inf if scale is None or trial.best is None else scale.sign * trial.value


def _ends(dimension: Dimension) -> list[tuple[float, float]]:
    parameter = dimension.parameter
    assert not isinstance(parameter, Categorical)
    return [(parameter.low, parameter.low), (parameter.high, parameter.high)]

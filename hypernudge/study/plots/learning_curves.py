"""Every trial's scores over units of training, by the last rung that it reached."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from hypernudge.plotting import log_axis
from hypernudge.plotting.picture import MANY, Picture, picture
from hypernudge.plotting.style import WIDTH, label_ends, legend_above
from hypernudge.study.plots.rungs import Rungs
from hypernudge.study.plots.scores import (
    LOST_MARK,
    ScoreScale,
    lost_handle,
    note,
    require_scores,
    without_score,
)
from hypernudge.study.plots.titles import set_title, title
from hypernudge.study.results import TrialResult
from hypernudge.study.study import Study

_BEST = "#000000"
_LONG = 8  # times the first rung, from which units are on a logarithmic axis


@picture
def draw(study: Study) -> Picture:
    """Draw it; see `Plots.learning_curves`."""
    scored = require_scores(study, "learning_curves")
    rungs = Rungs.of(study)
    figure = Picture(figsize=(WIDTH, 3.4), layout="constrained")
    axes = figure.subplots()
    finals = [trial.units[-1].validation for trial in scored]
    everything = [unit.validation for trial in scored for unit in trial.units]
    usual = [score for score in (*finals, scored[0].value) if np.isfinite(score)]
    scale = ScoreScale.of(study, usual or [scored[0].value])
    pixels = len(everything) > MANY
    groups = [rungs.group(trial.units[-1].unit) for trial in scored]
    for group in sorted(set(groups)):
        curves = [_curve(trial, scale) for trial, own in zip(scored, groups, strict=True) if own == group]
        alpha = float(np.clip(12 / np.sqrt(len(curves)), 0.25, 0.9))
        look: dict[str, Any] = {
            "color": rungs.colour(group),
            "alpha": alpha,
            "rasterized": pixels,
            "zorder": 2 + 0.01 * group,
        }
        axes.add_collection(LineCollection(curves, linewidths=0.9, **look))
        dots = np.concatenate([curve for curve in curves if len(curve) == 1] or [np.zeros((0, 2))])
        axes.plot(dots[:, 0], dots[:, 1], "o", markersize=2.2, markeredgewidth=0, **look)
    best = _curve(scored[0], scale)
    axes.plot(best[:, 0], best[:, 1], color=_BEST, linewidth=1.6, zorder=4, marker="o", markersize=2)
    lost = [trial for trial in scored if trial.status in ("failed", "diverged")]
    if lost:
        last = np.array([_curve(trial, scale)[-1] for trial in lost])
        axes.plot(last[:, 0], last[:, 1], zorder=5, rasterized=pixels, **LOST_MARK)
    scale.apply(axes)
    _units(axes, rungs, max(trial.units[-1].unit for trial in scored))
    for milestone in rungs.milestones if len(rungs.milestones) <= len(rungs.ends) else ():
        axes.axvline(milestone, color="0.75", linewidth=0.7, linestyle=":", zorder=1)
    set_title(figure, axes, title(study))
    note(axes, _without(study) or scale.beyond, sign=study.about.sign)
    handles = [*rungs.handles(groups), Line2D([], [], color=_BEST, label=f"best: trial {scored[0].number}")]
    if lost:
        handles.append(lost_handle("lost here"))
    legend_above(figure, handles)
    figure.draw_without_rendering()
    label_ends(axes, [(scored[0].value, f"{scored[0].value:.4g}", _BEST)])
    return figure


def _curve(trial: TrialResult, scale: ScoreScale) -> NDArray[np.float64]:
    """Return a trial's finite scores, shape (n, 2): unit, score."""
    points = np.array([(unit.unit, unit.validation) for unit in trial.units], dtype=np.float64)
    points = points[np.isfinite(points[:, 1])]
    points[:, 1] = scale.visible(points[:, 1])
    return points


def _units(axes: Axes, rungs: Rungs, last: int) -> None:
    if last >= _LONG * rungs.milestones[0]:
        axes.set_xscale("log")
        log_axis.label(axes.xaxis, rungs.ends)
        axes.set_xlim(0.9, last * 1.08)
    else:
        axes.set_xlim(0.7, last + 0.3)
        axes.xaxis.set_major_locator(MultipleLocator(max(1, last // 10)))
    axes.set_xlabel("training [units]")


def _without(study: Study) -> str:
    count = len(without_score(study))
    return f"{count} of {len(study.trials)} trials were lost before they had a score" if count else ""

"""The best score of each trial over each hyper-parameter."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from hypernudge.parameters import Categorical
from hypernudge.plotting.layout import balanced, begins_row, tiles
from hypernudge.plotting.picture import MANY, Picture, picture
from hypernudge.plotting.style import WIDTH, legend_above
from hypernudge.study.plots.dimensions import dimensions
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
from hypernudge.study.study import Study

_SPREAD = 0.3  # of the room of a choice, over which its trials are spread

_BEST: dict[str, Any] = {
    "color": "#E69F00",
    "linestyle": "",
    "marker": "*",
    "markersize": 9,
    "markeredgecolor": "0",
    "markeredgewidth": 0.6,
}


@picture
def draw(study: Study) -> Picture:
    """Draw it; see `Plots.slices`."""
    scored = list(reversed(require_scores(study, "slices")))  # the best are drawn last, on top
    lost = without_score(study)
    rungs, axes_of = Rungs.of(study), dimensions(study)
    groups = np.array([rungs.group(trial.units[-1].unit) for trial in scored])
    scores = np.array([trial.value for trial in scored])
    scale = ScoreScale.of(study, scores.tolist())
    columns = balanced(len(axes_of), 3)
    rows = -(-len(axes_of) // columns)
    figure = Picture(figsize=(WIDTH, 2.1 * rows + 0.6), layout="constrained")
    panels = [axes for (axes,) in tiles(figure, len(axes_of), columns, sharey=True)]
    place_of = np.random.default_rng(0).uniform(-_SPREAD, _SPREAD, len(study.trials))  # no value: a place
    for axes, dimension in zip(panels, axes_of, strict=True):
        x, x_lost = (dimension.values([trial.config for trial in some]) for some in (scored, lost))
        if isinstance(dimension.parameter, Categorical):
            x = x + place_of[[trial.number for trial in scored]]
            x_lost = x_lost + place_of[[trial.number for trial in lost]] if lost else x_lost
        size = 12 if len(scored) < MANY else 4
        style: dict[str, Any] = {"s": size, "linewidth": 0, "rasterized": len(scored) > MANY}
        axes.scatter(x, scale.visible(scores), c=[rungs.colour(group) for group in groups], **style)
        axes.plot(
            x[-1], scores[-1], "*", color="#E69F00", markersize=9, markeredgecolor="0", markeredgewidth=0.6
        )
        height = np.full(len(lost), 0.02 if study.about.sign > 0 else 0.98)
        axes.plot(x_lost, height, transform=axes.get_xaxis_transform(), **LOST_MARK)
        dimension.scale(axes, "x")
        axes.set_xlabel(dimension.name)
        scale.apply(axes)
        if not begins_row(axes):
            axes.set_ylabel("")
        absent = int(np.isnan(x).sum())
        note(axes, f"not active in {absent} trials" if absent else "", sign=study.about.sign)
    note(panels[0], scale.beyond, sign=study.about.sign)
    set_title(figure, panels[0], title(study))
    handles = rungs.handles(groups.tolist(), "o")
    handles.append(Line2D([], [], label="the best", **_BEST))
    if lost:
        handles.append(lost_handle(f"{len(lost)} lost, no score"))
    legend_above(figure, handles)
    return figure

"""Each trial as a line through its values, up to its best score."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hypernudge.dash.charts.chart import LOST, OTHER, Chart, broken, plain, rank_colour, spread, text
from hypernudge.study.plots.dimensions import Dimension, dimensions
from hypernudge.study.plots.scores import ScoreScale, require_scores, without_score
from hypernudge.study.results import TrialResult
from hypernudge.study.study import Study

TOP = 10
_OTHERS = 400
_LOST = 100
_OFF = -0.1  # where a hyper-parameter that is not active stands
_MOST = 24  # axes


def chart(study: Study) -> Chart:
    """Return the chart.

    Raises:
        InvalidArgumentError: If there is no score yet.
    """
    scored, lost = require_scores(study, "parallel_coordinates"), without_score(study)
    known = dimensions(study)
    axes = known[:_MOST]
    scale = ScoreScale.of(study, [trial.value for trial in scored])
    rest = scored[TOP:]
    others = [rest[index] for index in spread(len(rest), _OTHERS)]
    few = [lost[index] for index in spread(len(lost), _LOST)]
    traces: list[dict[str, Any]] = []
    for trials, name, colour, strength in (
        (few, f"{len(lost)} lost", LOST, 0.45),
        (others, f"the other {len(rest)}", OTHER, float(np.clip(6 / (1 + len(others)) ** 0.5, 0.25, 0.7))),
    ):
        if trials:
            x, y = broken(_lines(trials, axes, scale))
            line = {"color": colour, "width": 1}
            trace = {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line}
            traces.append({**trace, "opacity": strength, "hoverinfo": "skip"})
    for rank, trial in reversed(list(enumerate(scored[:TOP]))):
        x, y = broken(_lines([trial], axes, scale))
        shown = [*(_said(d, trial) for d in axes), f"{trial.value:.5g}"]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{rank + 1}. trial {trial.number}",
                "x": x,
                "y": y,
                "text": [f"trial {trial.number}: {value}" for value in shown],
                "hoverinfo": "text",
                "line": {"color": rank_colour(rank, TOP), "width": 2},
                "marker": {"size": 5},
                "showlegend": rank < 3,
            }
        )
    names = [*(text(dimension.parameter.name, 18) for dimension in axes), text(study.about.metric, 18)]
    marks = [*([(p, t) for p, t in d.ticks()] for d in axes)]
    marks.append([(float(scale.places(np.array(v))), t) for v, t in scale.marks()])
    shapes, annotations = [], []
    off = any(np.isnan(d.places([trial.config for trial in (*scored, *lost)])).any() for d in axes)
    for place, ticks in enumerate(marks):
        line = {"color": OTHER, "width": 1}
        shapes.append({"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "line": line})
        for height, shown_tick in ticks:
            annotations.append(
                {
                    "x": place,
                    "y": height,
                    "text": plain(shown_tick),
                    "showarrow": False,
                    "xanchor": "right",
                    "xshift": -3,
                    "font": {"size": 10},
                }
            )
    layout = {
        "xaxis": {
            "tickvals": list(range(len(names))),
            "ticktext": names,
            "range": [-0.4, len(names) - 0.8],
            "showgrid": False,
            "zeroline": False,
        },
        "yaxis": {"visible": False, "range": [_OFF - 0.05 if off else -0.05, 1.05]},
        "shapes": shapes,
        "annotations": annotations,
    }
    notes = [
        f"{len(others)} of {len(rest)} others drawn" if len(others) < len(rest) else "",
        "lowest: not active" if off else "",
        f"{len(axes)} of {len(known)} hyper-parameters drawn" if len(axes) < len(known) else "",
    ]
    note = "; ".join(filter(None, notes))
    return Chart("parallel_coordinates", f"Values of the best {TOP}", traces, layout, note, 360, wide=True)


def _said(dimension: Dimension, trial: TrialResult) -> str:
    name = dimension.parameter.name
    value = trial.config.get(name, "not active")
    return plain(f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}")


def _lines(trials: list[TrialResult], axes: list[Dimension], scale: ScoreScale) -> list[NDArray[np.float64]]:
    columns = [dimension.places([trial.config for trial in trials]) for dimension in axes]
    scores = scale.places(np.array([trial.value for trial in trials]))
    heights = np.stack([*(np.where(np.isnan(column), _OFF, column) for column in columns), scores], axis=1)
    places = np.broadcast_to(np.arange(heights.shape[1]), heights.shape)
    lines = np.stack([places, heights], axis=2)
    return [line[np.isfinite(line[:, 1])] for line in lines]

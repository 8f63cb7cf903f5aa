"""Scores over units of training, by the last rung that a trial reached."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypernudge.dash.charts.chart import Chart, broken, rung_colour, score_axis, spread
from hypernudge.study.plots.rungs import Rungs
from hypernudge.study.plots.scores import ScoreScale, require_scores, without_score
from hypernudge.study.results import TrialResult
from hypernudge.study.study import Study

_CURVES = 400
_BEST = 40  # of them the best trials
_LONG = 8  # times the first rung, from which units are on a logarithmic axis


def chart(study: Study) -> Chart:
    """Return the chart.

    Raises:
        InvalidArgumentError: If there is no score yet.
    """
    scored = require_scores(study, "learning_curves")
    rungs = Rungs.of(study)
    usual = [trial.units[-1].validation for trial in scored]
    usual = [score for score in (*usual, scored[0].value) if np.isfinite(score)]
    scale = ScoreScale.of(study, usual)
    drawn = scored
    if len(scored) > _CURVES:
        rest = scored[_BEST:]
        drawn = scored[:_BEST] + [rest[index] for index in spread(len(rest), _CURVES - _BEST)]
    groups: dict[int, list[TrialResult]] = {}
    for trial in drawn:
        groups.setdefault(rungs.group(trial.units[-1].unit), []).append(trial)
    traces: list[dict[str, Any]] = []
    for group, trials in sorted(groups.items()):
        x, y = broken([_curve(trial, scale) for trial in trials])
        single = max(len(trial.units) for trial in trials) == 1  # a line of one point is none
        traces.append(
            {
                "type": "scatter",
                "mode": "markers" if single else "lines+markers" if len(drawn) < 100 else "lines",
                "name": rungs.label(group),
                "x": x,
                "y": y,
                "text": [f"trial {t.number}" for t in trials for _ in range(len(_curve(t, scale)) + 1)],
                "hoverinfo": "text+x+y",
                "line": {"color": rung_colour(rungs, group), "width": 1},
                "marker": {"color": rung_colour(rungs, group), "size": 3},
                "opacity": float(np.clip(8 / np.sqrt(len(trials)), 0.35, 0.9)),
            }
        )
    best = scored[0]
    x, y = broken([_curve(best, scale)])
    traces.append(
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"best: trial {best.number}",
            "x": x,
            "y": y,
            "line": {"color": "#E69F00", "width": 2.5},
            "marker": {"size": 4},
        }
    )
    axis: dict[str, Any] = {"title": {"text": "training [units]"}}
    if max(trial.units[-1].unit for trial in scored) >= _LONG * rungs.milestones[0]:
        axis |= {"type": "log", "tickvals": list(rungs.ends), "ticktext": [str(end) for end in rungs.ends]}
    lost = len(without_score(study))
    notes = [
        f"{len(drawn)} of {len(scored)} curves drawn" if len(drawn) < len(scored) else "",
        f"{lost} trials were lost before they had a score" if lost else "",
        scale.beyond,
    ]
    layout = {"xaxis": axis, "yaxis": score_axis(scale)}
    return Chart("learning_curves", "Learning curves", traces, layout, "; ".join(filter(None, notes)))


def _curve(trial: TrialResult, scale: ScoreScale) -> np.ndarray[Any, np.dtype[np.float64]]:
    points = np.array([(unit.unit, unit.validation) for unit in trial.units], dtype=np.float64)
    points = points[np.isfinite(points[:, 1])]
    points[:, 1] = scale.visible(points[:, 1])
    return points

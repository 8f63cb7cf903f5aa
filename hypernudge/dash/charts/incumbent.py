"""The best score so far over the study's clock, and scores at rungs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hypernudge.dash.charts.chart import BEST, LOST, Chart, numbers, plain, rung_colour, score_axis, spread
from hypernudge.study.plots.rungs import Rungs
from hypernudge.study.plots.scores import ScoreScale, require_scores
from hypernudge.study.study import Study

_POINTS = 1500  # of a rung; the best of them are always shown
_BEST = 100


def chart(study: Study) -> Chart:
    """Return the chart.

    Raises:
        InvalidArgumentError: If there is no score yet.
    """
    require_scores(study, "incumbent")
    rungs, sign, reports = Rungs.of(study), study.about.sign, study.reports
    units = sorted((u.time, u.validation) for report in reports for u in report.units)
    times, scores = np.array([(t, s) for t, s in units if math.isfinite(s)]).T
    best = sign * np.maximum.accumulate(sign * scores)
    better = np.concatenate(([True], best[1:] != best[:-1]))
    scale = ScoreScale.of(study, scores.tolist())
    traces: list[dict[str, Any]] = []
    arrived: dict[int, list[tuple[float, float, int]]] = {}
    for report in reports:
        if report.outcome == "ok" and math.isfinite(report.score):
            own = arrived.setdefault(rungs.group(report.job.until), [])
            own.append((report.finished, report.score, report.job.trial))
    hidden = 0
    for group, points in sorted(arrived.items()):
        kept = points
        if len(points) > _POINTS:
            points.sort(key=lambda point: -sign * point[1])
            kept = points[:_BEST] + [points[_BEST + i] for i in spread(len(points) - _BEST, _POINTS - _BEST)]
            hidden += len(points) - len(kept)
        shown = scale.visible(np.array([score for _, score, _ in kept]))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(rungs.label(group)),
                "x": numbers(t for t, _, _ in kept),
                "y": numbers(shown),
                "text": [f"trial {trial}: {score:.5g}" for _, score, trial in kept],
                "hoverinfo": "text+name",
                "marker": {"size": 5, "color": rung_colour(rungs, group), "opacity": 0.75},
            }
        )
    lost = [report for report in reports if report.outcome in ("failed", "diverged")]
    if lost:
        kept_lost = [lost[index] for index in spread(len(lost), 300)]
        worst = scale.low if sign > 0 else scale.high
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{len(lost)} lost",
                "x": numbers(report.finished for report in kept_lost),
                "y": [worst] * len(kept_lost),
                "text": [f"trial {report.job.trial}: {report.outcome}" for report in kept_lost],
                "hoverinfo": "text",
                "cliponaxis": False,
                "marker": {"size": 7, "symbol": "x-thin", "line": {"width": 1.5, "color": LOST}},
            }
        )
    ends = max(report.finished for report in reports)
    if study.ended == "budget" and math.isfinite(study.budget):
        ends = study.budget
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": numbers([*times[better], ends]),
            "y": numbers([*best[better], best[-1]]),
            "line": {"shape": "hv", "color": BEST, "width": 2},
            "hovertemplate": "best %{y:.5g} at %{x:.4g} s<extra></extra>",
        }
    )
    notes = [f"best {best[-1]:.5g}", scale.beyond, f"{hidden} scores not drawn" if hidden else ""]
    layout = {"xaxis": {"title": {"text": "time on the study's clock [s]"}}, "yaxis": score_axis(scale)}
    return Chart("incumbent", "Best score so far", traces, layout, "; ".join(filter(None, notes)), wide=True)

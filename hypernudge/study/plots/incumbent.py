"""The best score so far over the study's clock, and every score at a rung."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.lines import Line2D

from hypernudge.plotting.picture import MANY, Picture, picture
from hypernudge.plotting.style import WIDTH, label_ends, legend_above
from hypernudge.study.plots.rungs import Rungs
from hypernudge.study.plots.scores import LOST_MARK, ScoreScale, lost_handle, note, require_scores
from hypernudge.study.plots.titles import set_title, title
from hypernudge.study.study import Study

_LINE = "#0072B2"


@picture
def draw(study: Study) -> Picture:
    """Draw it; see `Plots.incumbent`."""
    require_scores(study, "incumbent")
    rungs, sign = Rungs.of(study), study.about.sign
    units = sorted((u.time, u.validation) for report in study.reports for u in report.units)
    times, scores = np.array([(t, s) for t, s in units if math.isfinite(s)]).T
    best = sign * np.maximum.accumulate(sign * scores)
    last = np.append(times[1:] > times[:-1], True)  # of several scores at one moment
    times, best = times[last], best[last]
    better = np.concatenate(([True], best[1:] != best[:-1]))
    arrived = [
        (report.finished, report.score, rungs.group(report.job.until))
        for report in study.reports
        if report.outcome == "ok"
    ]
    lost = [report.finished for report in study.reports if report.outcome in ("failed", "diverged")]
    ends = max(report.finished for report in study.reports)
    if study.ended == "budget" and math.isfinite(study.budget):
        ends = study.budget

    figure = Picture(figsize=(WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    scale = ScoreScale.of(study, [*scores.tolist()])
    groups = sorted({group for *_, group in arrived})
    for group in groups:
        points = np.array([(t, s) for t, s, own in arrived if own == group])
        axes.scatter(
            points[:, 0],
            scale.visible(points[:, 1]),
            s=9 if len(arrived) < MANY else 4,
            color=[rungs.colour(group)],
            linewidth=0,
            rasterized=len(arrived) > MANY,
            zorder=2 + 0.01 * group,
        )
    axes.step([*times[better], ends], [*best[better], best[-1]], where="post", color=_LINE, zorder=3)
    axes.plot(times[better], best[better], "o", color=_LINE, markersize=2.5, zorder=3)
    if lost:
        bottom = np.full(len(lost), 0.0 if sign > 0 else 1.0)
        axes.plot(lost, bottom, transform=axes.get_xaxis_transform(), clip_on=False, zorder=4, **LOST_MARK)
    scale.apply(axes)
    begins = min(0.0, float(times[0]))
    axes.set_xlim(begins, ends + 0.02 * (ends - begins) if ends > begins else begins + 1.0)
    axes.set_xlabel("time on the study's clock [s]")
    set_title(figure, axes, title(study))
    note(axes, scale.beyond, sign=study.about.sign)
    handles = [Line2D([], [], color=_LINE, label="best so far"), *rungs.handles(groups, "o")]
    if lost:
        handles.append(lost_handle(f"{len(lost)} lost"))
    legend_above(figure, handles)
    figure.draw_without_rendering()
    label_ends(axes, [(float(best[-1]), f"{best[-1]:.4g}", _LINE)])
    return figure

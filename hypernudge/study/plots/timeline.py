"""What each worker trained when."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch
from matplotlib.ticker import MultipleLocator
from numpy.typing import NDArray

from hypernudge.errors import require
from hypernudge.plotting.picture import MANY, Picture, picture
from hypernudge.plotting.style import WIDTH, legend_above
from hypernudge.study.plots.rungs import Rungs
from hypernudge.study.plots.scores import LOST_MARK, lost_handle, require_trials
from hypernudge.study.plots.titles import set_title, title
from hypernudge.study.study import Study
from hypernudge.trial import Report

_NUDGE = "#000000"
_NUMBERED = 16  # workers; of more, some have no number


@dataclass(frozen=True)
class Span:
    """A job on a worker.

    Attributes:
        worker: From 0: the lowest that was free.
        begin: Seconds on the clock.
        end: Seconds on the clock.
        nudged: When its warm start was done; `begin` where it had none.
        report: What came back.
    """

    worker: int
    begin: float
    end: float
    nudged: float
    report: Report


"""A job on a worker."""


def spans(study: Study) -> list[Span]:
    """Return the jobs of a study that came back, in the order of their beginnings, each with a worker.

    Workers are not in a study's events: a job goes to the lowest one that was free.
    """
    jobs = sorted(study.reports, key=lambda report: (report.started, report.finished))
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    found, workers = [], 0
    for report in jobs:
        while busy and busy[0][0] <= report.started + 1e-9 * abs(report.started):
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            worker = heapq.heappop(free)
        else:
            worker, workers = workers, workers + 1
        heapq.heappush(busy, (report.finished, worker))
        found.append(Span(worker, report.started, report.finished, _nudged(report), report))
    return found


def _nudged(report: Report) -> float:
    share = report.job.warm_start_flops / report.flops if report.flops else 0.0
    share = share if math.isfinite(share) else 0.0
    return report.started + min(max(share, 0.0), 1.0) * (report.finished - report.started)


@picture
def draw(study: Study) -> Picture:
    """Draw it; see `Plots.timeline`."""
    require_trials(study, "timeline")
    jobs = spans(study)
    require(len(jobs) > 0, "timeline", "the study must have a job that came back", "none", "wait for one")
    rungs = Rungs.of(study)
    workers = 1 + max(job.worker for job in jobs)
    end = max(job.end for job in jobs)
    busy = sum(job.end - job.begin for job in jobs)
    figure = Picture(figsize=(WIDTH, min(1.3 + 0.24 * workers, 7.0)), layout="constrained")
    axes = figure.subplots()
    groups: dict[int, list[Span]] = {}
    for job in jobs:
        groups.setdefault(rungs.group(job.report.job.until), []).append(job)
    edge: dict[str, Any] = {
        "edgecolors": "1",
        "linewidths": 0.3 if len(jobs) < 500 else 0.0,
        "rasterized": len(jobs) > MANY,
    }
    for group, own in groups.items():
        boxes = _boxes([(job.worker, job.begin, job.end) for job in own])
        axes.add_collection(PolyCollection(boxes, facecolors=[rungs.colour(group)], **edge))
    nudged = [(job.worker, job.begin, job.nudged) for job in jobs if job.nudged > job.begin]
    thin = 0.002 * end  # what is shorter could not be seen on paper
    dark = _boxes([(worker, begin, max(done, begin + thin)) for worker, begin, done in nudged])
    axes.add_collection(PolyCollection(dark, facecolors=_NUDGE, linewidths=0))
    lost = [job for job in jobs if job.report.outcome in ("failed", "diverged")]
    axes.plot([job.end for job in lost], [job.worker for job in lost], **LOST_MARK)
    axes.set_ylim(workers - 0.4, -0.6)
    axes.set_xlim(0, end * 1.01 or 1.0)
    axes.yaxis.set_major_locator(MultipleLocator(-(-workers // _NUMBERED)))
    axes.set_ylabel("worker")
    axes.set_xlabel("time on the study's clock [s]")
    axes.grid(visible=False)
    share = busy / (workers * end) if end else 1.0
    set_title(figure, axes, title(study, f"workers busy {100 * share:.0f} % of the time"))
    handles = rungs.handles(list(groups))
    if nudged:
        handles.append(Patch(facecolor=_NUDGE, label="warm start"))
    if lost:
        handles.append(lost_handle(f"{len(lost)} lost"))
    legend_above(figure, handles)
    return figure


def _boxes(bars: list[tuple[int, float, float]]) -> list[NDArray[np.float64]]:
    """Return rectangles, each of shape (4, 2), for (worker, begin, end)."""
    if not bars:
        return []
    worker, begin, end = np.array(bars, dtype=np.float64).T
    low, high = worker - 0.4, worker + 0.4
    corners = [(begin, low), (end, low), (end, high), (begin, high)]
    return list(np.stack([np.stack(corner, axis=1) for corner in corners], axis=1))

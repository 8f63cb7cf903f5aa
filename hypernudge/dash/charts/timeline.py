"""What each worker trained when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypernudge.dash.charts.chart import LOST, Chart, numbers, plain, rung_colour, spread
from hypernudge.errors import require
from hypernudge.study.plots.rungs import Rungs
from hypernudge.study.plots.scores import require_trials
from hypernudge.study.plots.timeline import Span, spans
from hypernudge.study.study import Study

_BARS = 1500
_NUDGE = "#E69F00"
_MOST = 64  # workers


def chart(study: Study) -> Chart:
    """Return the chart.

    Raises:
        InvalidArgumentError: If no job came back yet.
    """
    require_trials(study, "timeline")
    jobs = spans(study)
    require(len(jobs) > 0, "timeline", "the study must have a job that came back", "none", "wait for one")
    rungs = Rungs.of(study)
    workers = 1 + max(job.worker for job in jobs)
    end = max(job.end for job in jobs)
    busy = sum(job.end - job.begin for job in jobs)
    shown = [job for job in jobs if job.worker < _MOST]
    groups: dict[int, list[tuple[int, float, float, str]]] = {}
    bars = _bars(shown, rungs, end / (_BARS / min(workers, _MOST)) if len(shown) > _BARS else 0.0)
    for group, *bar in bars:
        groups.setdefault(group, []).append(tuple(bar))  # type: ignore[arg-type]
    traces = [_trace(plain(rungs.label(g)), rung_colour(rungs, g), own) for g, own in sorted(groups.items())]
    nudged = [
        (job.worker, job.begin, job.nudged, f"warm start of trial {job.report.job.trial}")
        for job in shown
        if job.nudged > job.begin
    ]
    if nudged:
        kept = [nudged[index] for index in spread(len(nudged), _BARS)]
        traces.append(_trace("warm start", _NUDGE, kept))
    lost = [job for job in shown if job.report.outcome in ("failed", "diverged")]
    if lost:
        few = [lost[index] for index in spread(len(lost), 300)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": f"{len(lost)} lost",
                "x": numbers(job.end for job in few),
                "y": [job.worker for job in few],
                "text": [f"trial {job.report.job.trial}: {job.report.outcome}" for job in few],
                "hoverinfo": "text",
                "marker": {"size": 6, "symbol": "x-thin", "line": {"width": 1.5, "color": LOST}},
            }
        )
    drawn = min(workers, _MOST)
    step = -(-drawn // 16)
    layout = {
        "barmode": "overlay",
        "bargap": 0.15,
        "xaxis": {"title": {"text": "time on the study's clock [s]"}, "range": [0, end * 1.01 or 1]},
        "yaxis": {
            "title": {"text": "worker"},
            "range": [drawn - 0.4, -0.6],
            "tickvals": list(range(0, drawn, step)),
            "showgrid": False,
        },
    }
    share = busy / (workers * end) if end else 1.0
    notes = [
        f"workers busy {100 * share:.0f} % of the time",
        f"{len(bars)} bars for {len(shown)} jobs" if len(bars) < len(shown) else "",
        f"{drawn} of {workers} workers drawn" if drawn < workers else "",
    ]
    height = min(150 + 22 * drawn, 520)
    return Chart("timeline", "Workers", traces, layout, "; ".join(filter(None, notes)), height, wide=True)


def _bars(jobs: Sequence[Span], rungs: Rungs, shortest: float) -> list[tuple[int, int, float, float, str]]:
    """Return bars: group, worker, begin, end, what is said. Those shorter than `shortest` are joined."""
    found: list[tuple[int, int, float, float, str]] = []
    open_bars: dict[int, list[Span]] = {}

    def close(worker: int) -> None:
        own = open_bars.pop(worker, [])
        if not own:
            return
        spent: dict[int, float] = {}
        for job in own:
            group = rungs.group(job.report.job.until)
            spent[group] = spent.get(group, 0.0) + job.end - job.begin
        most = max(spent, key=lambda group: spent[group])
        first = own[0].report.job
        said = f"trial {first.trial} to unit {first.until}" if len(own) == 1 else f"{len(own)} jobs"
        found.append((most, worker, own[0].begin, own[-1].end, said))

    for job in jobs:
        own = open_bars.setdefault(job.worker, [])
        if own and (own[-1].end - own[0].begin >= shortest or job.begin - own[-1].end > shortest):
            close(job.worker)
            own = open_bars.setdefault(job.worker, [])
        own.append(job)
    for worker in list(open_bars):
        close(worker)
    return found


def _trace(name: str, colour: str, bars: Sequence[tuple[int, float, float, str]]) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [worker for worker, *_ in bars],
        "base": numbers(begin for _, begin, _, _ in bars),
        "x": numbers(end - begin for _, begin, end, _ in bars),
        "text": [said for *_, said in bars],
        "textposition": "none",
        "hoverinfo": "text",
        "marker": {"color": colour, "line": {"width": 0}},
    }

"""Simulation of a scheduler on known learning curves: what it decides, and how the incumbent fares."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from hypernudge.engine.serial import SerialEngine
from hypernudge.random import Streams
from hypernudge.schedulers.base import Scheduler
from hypernudge.study.study import Study
from hypernudge.tasks.curves.lcbench import LCBench
from hypernudge.tasks.curves.tabulated import Tabulated
from hypernudge.trial import Event, Job
from hypernudge.tuner import tune


def simulate(
    task: Tabulated | LCBench,
    scheduler: Scheduler,
    workers: int,
    seed: int,
    units: float,
    show: Callable[[dict[str, Any]], None],
) -> Study:
    """Run `scheduler` on `task` for `units` units of training in all, and show decisions and incumbents.

    Events are dictionaries: `decision` (start or resume of a trial, as it is taken), then the incumbent curve
    (`incumbent`: whenever the best validation score improves on the clock), and a last `result`.
    """
    middle = task.unit_flops(task.space.middle())
    deadline = units * middle / workers
    engine = SerialEngine(task, Streams(seed).trial_seed, workers, 1.0, deadline)

    def observe(event: Event) -> None:
        if isinstance(event, Job):
            show(_decision(event, engine.now))

    options: dict[str, Any] = {"test": "every", "keep_weights": False, "progress": False}
    study = tune(task, scheduler, seed=seed, budget=deadline, engine=engine, callback=observe, **options)
    best = -math.inf
    scored = sorted(
        (unit.time, report.job.trial, unit.unit, unit.validation)
        for report in study.reports
        for unit in report.units
    )
    for time, trial, unit, score in scored:
        if score > best:
            best = score
            show({"event": "incumbent", "time": time, "trial": trial, "unit": unit, "score": score})
    jobs = sum(isinstance(event, Job) for event in study.history.events)
    result = {"task": task.name, "metric": task.metric, "score": best if math.isfinite(best) else None}
    counts = {"trials": len(study.history.trials), "decisions": jobs, "units": len(scored)}
    show({"event": "result", "time": engine.now, **result, **counts, "workers": workers, "seed": seed})
    return study


def _decision(job: Job, now: float) -> dict[str, Any]:
    row = {"event": "decision", "time": now, "action": "resume" if job.since else "start", "trial": job.trial}
    span = {"since": job.since, "until": job.until}
    return {**row, **span} if job.since else {**row, **span, "config": dict(job.config)}

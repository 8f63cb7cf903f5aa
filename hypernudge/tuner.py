"""The tuner: decide, nudge, submit, report.

It is the only place that knows the scheduler, the warm start and the engine.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from hypernudge.engine.base import Engine, SpeculativeEngine
from hypernudge.errors import is_whole, require
from hypernudge.optimizers import check_rule
from hypernudge.random import Streams
from hypernudge.registry import instance
from hypernudge.renamed import accepts
from hypernudge.schedulers.base import Done, Resume, Scheduler, Start, SupportsSpeculation
from hypernudge.task import GradientTask, Studied, Task
from hypernudge.trial import Event, History, Job, Report, Started, Trial, UnitResult
from hypernudge.warmstart.base import NoWarmStart, WarmStart
from hypernudge.warmstart.failures import total_failure
from hypernudge.warmstart.requirements import check_warm_start, warm_start_of
from hypernudge.warmstart.runner import WarmStartRunner

logger = logging.getLogger("hypernudge")
Callback = Callable[[Event], None]
TASK = ("name", "space", "start", "advance", "evaluate", "unit_flops")


@dataclass(frozen=True)
class Study:
    """The outcome of a tuning run: its history, and the seed and budget (seconds) it ran under."""

    history: History
    seed: int
    budget: float

    @property
    def reports(self) -> list[Report]:
        """All reports in clock order."""
        return [event for event in self.history.events if isinstance(event, Report)]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before the study is believed, such as a warm start that failed at every trial."""
        failure = total_failure(self.history)
        return (failure,) if failure else ()

    def best(self) -> tuple[Trial, UnitResult]:
        """Return the trial and unit with the highest validation score, the earliest on ties.

        Raises:
            ValueError: If no unit was completed within the budget.
        """
        results = [
            (-unit.validation, unit.time, report.job.trial, unit)
            for report in self.reports
            for unit in report.units
            if math.isfinite(unit.validation)
        ]
        if not results:
            raise ValueError("best: no trial completed a unit within the budget; raise the budget")
        _, _, number, unit = min(results, key=lambda item: item[:3])
        return self.history.trials[number], unit


@accepts(callback="observe", resume_from="past")
def tune(
    task: Task | str | Mapping[str, Any],
    scheduler: Scheduler | str | Mapping[str, Any],
    *,
    seed: int,
    budget: float = math.inf,
    warm_start: WarmStart | str | Mapping[str, Any] | None = None,
    workers: int = 1,
    flops_per_second: float = 1e9,
    engine: Engine | str | Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    resume_from: Iterable[Event] = (),
) -> Study:
    """Tune `task` with `scheduler`, nudging each new configuration with `warm_start`.

    Equal seeds give equal sampled configurations, initialisations and data orders whatever the scheduler or
    the warm start, so that two methods can be compared in pairs. What YAML names can be named here, too:
    `warm_start="informed"`, `scheduler={"name": "asha", "max_units": 27}`.

    Args:
        task: What is trained.
        scheduler: Decides what a free worker does next.
        seed: Seed of everything random.
        budget: Seconds on the virtual clock after which nothing is decided and no unit counts.
        warm_start: Applied when a trial starts, never when it is resumed; its cost goes on the same clock.
        workers: Simulated workers (ignored if `engine` is an instance, which has its own).
        flops_per_second: Declared speed of a worker (ignored likewise).
        engine: What trains: a name such as `"population"`, which trains many trials as one computation, or an
            engine; the serial engine by default.
        callback: Called with every new event as it enters the history.
        resume_from: The events of an earlier run of this study that was interrupted, in their order: it goes
            on from there, and decides, trains and charges as it would have. The other arguments must be as
            they were.

    Raises:
        ValueError: If the events contradict each other.
        InvalidArgumentError: For a budget that is not positive, an argument that is a class or nothing of its
            kind, or a warm start that could work with no configuration of the space. An endless study (no
            budget, no limit of trials) cannot be seen here: schedulers stop with `Done`, budgets with time.
    """
    trained: Task = instance("task", task, has=TASK)
    if isinstance(trained, GradientTask):
        check_rule(trained.optimizer, "task.optimizer")
    decides: Scheduler = instance("scheduler", scheduler, has=("max_units",), calls=2, space=trained.space)
    trains: Engine = instance(
        "engine",
        "serial" if engine is None else engine,
        has=("submit", "next", "now", "free", "restore"),
        task=trained,
        seed_of=trial_seed(Streams(seed)),
        workers=workers,
        flops_per_second=flops_per_second,
        deadline=budget,
    )
    steps = iter_study(
        trained,
        decides,
        trains,
        seed=seed,
        budget=budget,
        warm_start=warm_start,
        callback=callback,
        resume_from=resume_from,
    )
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            study: Study = stop.value
            return study


def iter_study(
    task: Task,
    scheduler: Scheduler,
    engine: Engine,
    *,
    seed: int,
    budget: float = math.inf,
    warm_start: WarmStart | str | Mapping[str, Any] | None = None,
    callback: Callback | None = None,
    resume_from: Iterable[Event] = (),
) -> Generator[None, None, Study]:
    """Tune step by step: yields whenever it needs a completion, and asks the engine for it when resumed.

    Several studies that share a population are driven together by `hypernudge.engine.multi_study`. Arguments,
    result and errors are those of `tune`.
    """
    require(budget > 0, "budget", "must be positive seconds", budget, "raise it")
    require(is_whole(seed), "seed", "must be a whole number", seed, "0, say")
    seed = int(seed)  # a seed of NumPy is the same seed
    streams = Streams(seed)
    policy = NoWarmStart() if warm_start is None else warm_start_of(warm_start)
    check_warm_start(policy, task.space, task)
    ahead = engine if isinstance(engine, SpeculativeEngine) else None
    batch_size = ahead.measurement_batch_size if ahead else 1
    nudge = WarmStartRunner(policy, task, streams, scheduler, batch_size)
    speculate = _speculation(ahead, scheduler, nudge, streams)
    begun = task.study(scheduler.max_units) if isinstance(task, Studied) else nullcontext()
    with begun:
        history = _restored(resume_from, engine, scheduler.max_units)
        yield from _decided(scheduler, engine, nudge, history, streams, budget, callback, speculate)
    study = Study(history, seed, budget)
    for warning in study.warnings:
        logger.warning(warning)
    return study


def _decided(
    scheduler: Scheduler,
    engine: Engine,
    nudge: WarmStartRunner,
    history: History,
    streams: Streams,
    budget: float,
    callback: Callback | None,
    speculate: Callable[[History], None],
) -> Generator[None, None, None]:
    """Decide, nudge, submit and report until nothing runs any more."""

    def note(event: Event) -> None:
        history.append(event)
        if callback is not None:
            callback(event)

    done = False
    while True:
        while not done and engine.free and engine.now < budget:
            decision = scheduler(history, streams)
            if isinstance(decision, Start):
                nudged = nudge(decision.config, history, model_based_pick=decision.model_based_pick)
                note(Started(len(history.trials), decision.config, nudged, engine.now))
                trial = history.trials[-1]
                job = Job(trial.number, trial.config, 0, decision.until, trial.nudge.flops)
            elif isinstance(decision, Resume):
                trial = history.trials[decision.trial]
                job = Job(trial.number, trial.config, trial.until, decision.until)
            else:
                done = isinstance(decision, Done)
                break
            note(job)
            engine.submit(job)
        if not history.n_running:
            return
        if not done:
            speculate(history)
        yield
        note(engine.next())


def _restored(resume_from: Iterable[Event], engine: Engine, max_units: int) -> History:
    """Return the history of an interrupted study, after bringing a fresh engine to where it was."""
    events = list(resume_from)
    if events and isinstance(events[-1], Started):  # had not been submitted yet: is decided on again
        events.pop()
    now, running = 0.0, {}
    for event in events:
        if isinstance(event, Job):
            running[event.trial] = event, now
        elif isinstance(event, Report):
            now = max(now, event.finished)
            running.pop(event.job.trial, None)
    history = History.replay(events, max_units)  # raises where the events contradict each other
    if events:
        engine.restore(list(running.values()), now)
    return history


def _speculation(
    engine: SpeculativeEngine | None, scheduler: Scheduler, nudge: WarmStartRunner, streams: Streams
) -> Callable[[History], None]:
    """Return what tells the engine which jobs will probably come; nothing where it or the scheduler cannot.

    New trials are among them as far as it is known what they will be nudged to.
    """
    if engine is None or not isinstance(scheduler, SupportsSpeculation):
        return lambda history: None

    def speculate(history: History) -> None:
        jobs: list[Job] = []
        number, capacity = len(history.trials), engine.speculation_capacity
        if not capacity:
            return
        for decision in scheduler.propose_speculative(history, streams, capacity, engine.speculative_scores):
            if isinstance(decision, Resume):
                trial = history.trials[decision.trial]
                jobs.append(Job(trial.number, trial.config, trial.until, decision.until))
                continue
            config = nudge.expected(decision.config, number, history)
            if config is not None:
                jobs.append(Job(number, config, 0, decision.until))
            number += 1
        engine.speculate(jobs)

    return speculate


def trial_seed(streams: Streams) -> Callable[[int], int]:
    """Return the map from a trial's number to the seed of its initialisation and data order."""
    return lambda trial: streams.integer("trial", trial)

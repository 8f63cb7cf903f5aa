"""The tuner: decide, nudge, submit, report.

It is the only place that knows the scheduler, the warm start and the engine.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from hypernudge.engine.base import Engine, Measurement, MeasuringEngine, SpeculativeEngine
from hypernudge.engine.binding import Bindable, clock_of, engine_of, started
from hypernudge.engine.requirements import TASK, check_cost, check_task
from hypernudge.errors import is_whole, last_line, one_line, require, require_positive
from hypernudge.random import Streams
from hypernudge.registry import check_instance, instance, takes
from hypernudge.renamed import accepts
from hypernudge.schedulers.base import Done, Resume, Scheduler, Start
from hypernudge.schedulers.requirements import check_decision, check_end, check_scheduler, is_unlimited
from hypernudge.study.about import About, Direction, TestPolicy
from hypernudge.study.events import signed
from hypernudge.study.kept import KeptStudy, about_of, check_options, limited
from hypernudge.study.session import Session, StoppedError, StudyCallback
from hypernudge.study.study import Study
from hypernudge.task import Studied, Task
from hypernudge.trial import Event, History, Job, Report, Started
from hypernudge.warmstart.base import NoWarmStart, WarmStart
from hypernudge.warmstart.measurement.minimised import seen_by_warm_starts
from hypernudge.warmstart.remote import RemoteMeasurements
from hypernudge.warmstart.remote import supports as can_be_remote
from hypernudge.warmstart.requirements import check_warm_start, warm_start_of
from hypernudge.warmstart.runner import WarmStartRunner
from hypernudge.warmstart.speculation import speculation

STALLED = 1000  # trials that failed at no cost, one after the other: the clock stands still
logger = logging.getLogger("hypernudge")
Callback = Callable[[Event], None]


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
    study: str | Path | None = None,
    direction: Direction = "maximize",
    test: TestPolicy = "best",
    keep_weights: bool = True,
    max_trials: int | None = None,
    timeout: float | None = None,
    callbacks: Sequence[StudyCallback] = (),
    progress: bool | None = None,
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
        budget: Seconds on the study's clock after which nothing is decided and no unit counts.
        warm_start: Applied when a trial starts, never when it is resumed; its cost goes on the same clock.
        workers: Workers, simulated or real (ignored if `engine` is an instance that has its task).
        flops_per_second: Declared speed of a simulated worker (ignored likewise).
        engine: What trains: a name such as `"population"`, which trains many trials as one computation, or an
            engine, which needs no task: `PopulationEngine(device="cuda")`. The serial engine by default.
            `ProcessEngine(workers=4)` and `RayEngine(workers=8, gpus_per_trial=1)` have real workers: then
            every second is one of the wall.
        study: Folder in which the study is kept. If there is one already, it goes on; the other arguments
            must be as they were, but for `budget` and `max_trials`, which may grow, and those of one process
            (`timeout`, `callbacks`, `progress`, `callback`). One that is done returns at once.
        direction: Whether the task's score is to be made large or small.
        test: What is scored on the test part: the `"best"` unit, `"every"` one, or none (`"never"`).
        keep_weights: Whether the weights of the best unit are kept.
        max_trials: How many trials there may be: that of the scheduler.
        timeout: Seconds of the wall after which nothing more is asked for; what runs is lost, as in a kill,
            and the study can go on. Looked at between reports.
        callbacks: Each is called with the study and every new report; `study.stop()` ends it as a timeout.
        progress: Whether standard error shows how far it is; where absent, if that is a terminal.
        callback: Called with every new event as it enters the history, where larger scores are better.
        resume_from: The events of an earlier run of this study that was interrupted, in their order: it goes
            on from there, and decides, trains and charges as it would have. The other arguments must be as
            they were.

    Raises:
        ValueError: If the events contradict each other.
        InvalidArgumentError: For a budget that is not positive, an argument that is a class or nothing of its
            kind, parts that do not fit each other (a scheduler of another space, an engine of another task),
            or a warm start that could work with no configuration of the space; for a study that could never
            end (no budget, or units without a cost, where the scheduler has `max_trials=None`, and neither
            timeout nor callbacks), was begun with other arguments, is damaged, or has a writer.
        OSError: If the study cannot be written.
    """
    check_options(direction, test, keep_weights, timeout, callbacks, progress, study, resume_from)
    trained: Task = instance("task", task, has=TASK)
    check_task(trained)
    decides: Scheduler = instance("scheduler", scheduler, has=("max_units",), calls=2, space=trained.space)
    decides = limited(decides, max_trials)
    _check_run(seed, budget)
    policy = _policy(warm_start, trained)
    supplied: dict[str, Any] = {
        "task": trained,
        "seed_of": Streams(int(seed)).trial_seed,
        "workers": workers,
        "flops_per_second": flops_per_second,
        "deadline": budget,
    }
    if isinstance(task, str | Mapping):  # workers build it, each where it is
        supplied["build"] = partial(instance, "task", task)
    trains = engine_of("serial" if engine is None else engine, supplied)
    kept = KeptStudy(
        folder=None if study is None else Path(study),
        options={
            "seed": int(seed),
            "budget": float(budget),
            "direction": direction,
            "test": test,
            "workers": getattr(trains, "workers", workers),
            **clock_of(trains, flops_per_second),
        },
        keep_weights=keep_weights,
        timeout=timeout,
        callbacks=callbacks,
        progress=progress,
    )
    _check_parts(trained, decides, trains, budget, callback, stops=timeout is not None or bool(callbacks))
    about = about_of(trained, decides, policy, direction)
    with kept.opened(trained, decides, policy, trains, about) as opened, ExitStack() as stack:
        if opened.done is not None:
            return opened.done
        stack.enter_context(started(trains, decides.max_units))
        steps = _steps(
            trained,
            decides,
            trains,
            policy,
            int(seed),
            budget,
            callback,
            resume_from if study is None else opened.events,
            about,
            opened.session,
        )
        return _result_of(steps)


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
    _check_run(seed, budget)
    policy = _policy(warm_start, task)
    _check_parts(task, scheduler, engine, budget, callback)
    about = about_of(task, scheduler, policy, "maximize")
    return (
        yield from _steps(
            task, scheduler, engine, policy, int(seed), budget, callback, resume_from, about, Session
        )
    )


def _check_run(seed: int, budget: float) -> None:
    require_positive("budget", budget, "must be positive seconds", "60.0, say, or leave it out")
    require(is_whole(seed), "seed", "must be a whole number", seed, "0, say")


def _policy(warm_start: WarmStart | str | Mapping[str, Any] | None, task: Task) -> WarmStart:
    policy = NoWarmStart() if warm_start is None else warm_start_of(warm_start)
    check_warm_start(policy, task.space, task)
    return policy


def _check_parts(
    task: Task,
    scheduler: Scheduler,
    engine: Engine,
    budget: float,
    callback: Callback | None,
    stops: bool = False,
) -> None:
    """Refuse parts that do not fit each other, and a study that nothing ever `stops`."""
    check_scheduler(scheduler, task.space)
    if isinstance(engine, Bindable):
        engine.check_study(task, budget)
    if callback is not None:
        check_instance("callback", callback)
        heard = callable(callback) and takes(callback, 1)
        require(heard, "callback", "must be callable with an event", callback, "print, say")
    if not stops:
        check_end(scheduler, budget)
    check_cost(task, needed=is_unlimited(scheduler) and not stops)


def _result_of(steps: Generator[None, None, Study]) -> Study:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            study: Study = stop.value
            return study


def _steps(
    task: Task,
    scheduler: Scheduler,
    engine: Engine,
    policy: WarmStart,
    seed: int,
    budget: float,
    callback: Callback | None,
    events: Iterable[Event],
    about: About,
    open_session: Callable[[Study], Session],
) -> Generator[None, None, Study]:
    """Run a study whose arguments are checked; see `iter_study`."""
    streams = Streams(seed)  # a seed of NumPy is the same seed
    sign = about.sign
    ahead = engine if isinstance(engine, SpeculativeEngine) else None
    batch_size = ahead.measurement_batch_size if ahead else 1
    seen, remote = seen_by_warm_starts(task, sign), None
    if isinstance(engine, MeasuringEngine) and can_be_remote(policy):
        remote = RemoteMeasurements(engine, policy, seen, streams, scheduler, sign)
    nudge = WarmStartRunner(policy, seen, streams, scheduler, batch_size, remote)
    speculate = speculation(ahead, scheduler, nudge, streams, sign)
    begun = task.study(scheduler.max_units) if isinstance(task, Studied) else nullcontext()
    session: Session | None = None
    reason = None
    try:
        with begun:
            history = _restored(events, engine, scheduler.max_units)
            study = Study(history, seed, budget, about)
            session = open_session(study)
            done = yield from _decided(
                task, scheduler, engine, nudge, history, streams, budget, callback, speculate, session, sign
            )
            reason = "scheduler" if done else "budget"
    except StoppedError:
        pass
    finally:
        if session is not None:
            session.close()
    assert session is not None  # or it has raised
    session.end(reason)
    for warning in study.warnings:
        logger.warning(warning)
    return study


def _decided(
    task: Task,
    scheduler: Scheduler,
    engine: Engine,
    nudge: WarmStartRunner,
    history: History,
    streams: Streams,
    budget: float,
    callback: Callback | None,
    speculate: Callable[[History], None],
    session: Session,
    sign: int,
) -> Generator[None, None, bool]:
    """Decide, nudge, submit and report until nothing runs any more; return whether the scheduler was done."""

    def note(event: Event) -> None:
        history.append(event)
        session.note(event)
        if callback is not None:
            callback(event)

    done, stalled = False, 0
    while True:
        session.check()
        while not done and engine.free and engine.now < budget:
            decision = scheduler(history, streams)
            check_decision(decision, history, task.space)
            if isinstance(decision, Start):
                picked = decision.model_based_pick
                if not nudge.ready(decision.config, history, model_based_pick=picked):
                    break  # it is decided on again when a worker has measured
                nudged = nudge(decision.config, history, model_based_pick=picked, refuse_misuse=True)
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
        if not history.n_running and (done or not nudge.waits):
            return done
        if not done:
            speculate(history)
        yield
        session.check()
        arrived = engine.next()
        if isinstance(arrived, Measurement):
            assert nudge.remote is not None  # nobody else has asked for it
            nudge.remote.came(arrived)
            continue
        report = signed(arrived, sign)
        note(report)
        stalled = stalled + 1 if report.outcome == "failed" and report.finished <= report.started else 0
        if stalled >= STALLED:
            cause = one_line(last_line(report.error or ""))
            raise RuntimeError(f"tune: the last {stalled} trials failed before they were trained: {cause}")


def _restored(resume_from: Iterable[Event], engine: Engine, max_units: int) -> History:
    """Return the history of an interrupted study, after bringing a fresh engine to where it was."""
    rule, remedy = "must be events of a study", "study.history.events, say"
    require(isinstance(resume_from, Iterable), "resume_from", rule, resume_from, remedy)
    events = list(resume_from)
    other = [event for event in events if not isinstance(event, Event)]
    require(not other, "resume_from", rule, other[:1], remedy)
    if events and isinstance(events[-1], Started):  # had not been submitted yet: is decided on again
        events.pop()
    now, running = 0.0, {}
    for event in events:
        if isinstance(event, Job):
            running[event.trial] = event, now
        elif isinstance(event, Report):
            now = max(now, event.finished)
            running.pop(event.job.trial, None)
        else:
            now = max(now, event.time)  # on the wall's clock nothing stands still between reports
    history = History.replay(events, max_units)  # raises where the events contradict each other
    if events:
        engine.restore(list(running.values()), now)
    return history

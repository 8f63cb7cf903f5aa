"""The laws of schedulers, for whoever writes one: held on simulated learning curves, without any training."""

from __future__ import annotations

import functools
import heapq
import math
import random
from collections.abc import Callable, Sequence
from typing import Protocol, SupportsIndex

import numpy as np

from hypernudge.random import Streams, stream
from hypernudge.schedulers.base import Decision, Done, Resume, Scheduler, Start, Wait
from hypernudge.space import Config, Real, SearchSpace
from hypernudge.trial import History, Job, Nudge, Outcome, Report, Started, UnitResult

CURVES = ("smooth", "noisy", "falling", "constant", "ties", "diverging", "failing", "all diverge")
"""Kinds of learning curves."""
Decisions = list[tuple[Decision, int]]


class SearchingScheduler(Scheduler, Protocol):
    """A scheduler that says which space it searches."""

    @property
    def space(self) -> SearchSpace:
        """Where its configurations lie."""
        ...


def check_scheduler(
    make: Callable[[], SearchingScheduler],
    *,
    seeds: Sequence[int] = (0, 1),
    workers: Sequence[int] = (1, 3, 16),
    steps: int = 10_000,
) -> None:
    """Hold a scheduler to the laws: see the page on writing one.

    It starts trials, trains within `max_units`, never resumes what is not paused, comes to its end whatever
    becomes of its trials, decides the same after a replay of the history and whatever the global
    generators, and draws what `space.sample(streams("config", number))` draws for its first trials or says
    that a model chose.

    Args:
        make: Returns the scheduler, anew at each call, with an end of its own (`max_trials`).
        seeds: Of the curves and the draws.
        workers: Numbers of simulated workers.
        steps: Decisions after which one that has not ended is taken to go on for ever.

    Raises:
        AssertionError: A law is broken; the message says which, on what curves, seed and workers.
    """
    for kind in CURVES:
        for seed in seeds:
            for count in workers:
                where = f"curves {kind!r}, seed {seed}, {count} workers"
                _check(make, kind, seed, count, steps, where)


def _check(
    make: Callable[[], SearchingScheduler], kind: str, seed: int, workers: int, steps: int, where: str
) -> None:
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 -- that of whoever draws from it
    history, decisions = simulate(make(), kind, seed, workers, steps)
    same = random.getstate() == before[0] and repr(np.random.get_state()) == repr(before[1])  # noqa: NPY002
    _hold(same, "draw from `streams` only, never from a global generator", where)
    _hold(bool(history.trials), "start a trial", where)
    _hold(len(decisions) < steps, f"come to an end, but made {steps} decisions", where)
    _hold(isinstance(decisions[-1][0], Done), f"end with Done, not with {decisions[-1][0]!r}", where)
    _hold(history.n_running == 0, "wait for what is running before it is done", where)
    for number in sorted({*range(min(6, len(decisions))), len(decisions) // 2, len(decisions) - 1}):
        decision, known = decisions[number]
        again = make()(History.replay(history.events[:known]), Streams(seed))
        _hold(again == decision, f"decide the same after a replay: {decision!r}, but then {again!r}", where)
    first = decisions[0][0]
    if isinstance(first, Start) and not first.model_based_pick:
        drawn = make().space.sample(Streams(seed)("config", 0))
        _hold(first.config == drawn, 'draw trial 0 by `space.sample(streams("config", 0))`', where)


def _hold(law: bool, text: str, where: str) -> None:
    if not law:
        raise AssertionError(f"a scheduler must {text}; {where}")


def _kind(value: object) -> str:
    return type(value).__name__


@functools.cache
def character(seed: int, trial: int) -> list[float]:
    """Return what a trial's curve is made of: height, speed, badness and phase, each in [0, 1)."""
    return [float(value) for value in stream(seed, "curve", trial).random(4)]


def score(kind: str, seed: int, trial: int, unit: int) -> float:
    """Return the score of a trial after a unit, NaN where it diverged."""
    height, speed, bad, phase = character(seed, trial)
    if kind == "constant":
        return 0.5
    if kind == "ties":
        return round(3 * height) / 3
    if kind in ("diverging", "failing") and bad < 0.4 and unit > 10 * bad:
        return math.nan
    if kind == "all diverge":
        return math.nan
    if kind == "falling":  # learned, and lost again at once, as policies are
        return height * unit if unit <= 9 * phase else -height
    noise = 0.1 * math.sin(1e4 * phase * unit) if kind == "noisy" else 0.0
    return height * (1 - math.exp(-speed * unit)) + noise


def simulate(
    scheduler: SearchingScheduler,
    kind: str,
    seed: int,
    workers: int,
    steps: int = 100,
    scale: Callable[[float], float] = lambda value: value,
) -> tuple[History, Decisions]:
    """Run a scheduler against simulated trials, whose rates a warm start moves.

    Args:
        scheduler: Decides.
        kind: One of `CURVES`.
        seed: Of the curves and the scheduler's draws.
        workers: Trials at a time.
        steps: Decisions at most.
        scale: Applied to every score.

    Returns:
        The history and the decisions, each with the number of events it was based on.

    Raises:
        AssertionError: It resumes what is not paused or was lost, or trains beyond `max_units`.
    """
    history, streams = History(), Streams(seed)
    heap: list[tuple[float, int, Job]] = []
    now, order = 0.0, 0
    decisions: Decisions = []
    where = f"curves {kind!r}, seed {seed}, {workers} workers"
    while len(decisions) < steps:
        while history.n_running < workers and len(decisions) < steps:
            decision = scheduler(history, streams)
            answers = isinstance(decision, Start | Resume | Wait | Done)
            _hold(answers, f"answer Start, Resume, Wait or Done, not {decision!r}", where)
            decisions.append((decision, len(history.events)))
            if isinstance(decision, Start):
                number = len(history.trials)
                own = isinstance(decision.config, Config)
                _hold(own, f"start a configuration of its space, not a {_kind(decision.config)}", where)
                scheduler.space.check(decision.config)
                trained = decision.config
                rate = scheduler.space["lr"] if "lr" in trained else None
                if isinstance(rate, Real):  # what is trained differs from what was sampled
                    trained = trained.replace(lr=rate.clip(1.1 * float(trained["lr"])))
                history.append(Started(number, decision.config, Nudge(trained, "moved", changed=True), now))
                job = Job(number, trained, 0, decision.until)
            elif isinstance(decision, Resume):
                numbered = isinstance(decision.trial, SupportsIndex)
                _hold(numbered, f"resume a trial by its number, not by a {_kind(decision.trial)}", where)
                trial = history.trials[decision.trial]
                _hold(trial.status == "paused", f"resume what is paused only, not {trial.status}", where)
                lost = not all(math.isfinite(value) for value in trial.milestones.values())
                _hold(not lost, "leave a trial alone that was lost", where)
                job = Job(trial.number, trial.config, trial.until, decision.until)
            else:
                break
            within = 0 <= job.since < job.until <= scheduler.max_units
            _hold(within, f"train within max_units, not from {job.since} to {job.until}", where)
            history.append(job)
            order += 1
            length = (job.until - job.since) * (0.5 + character(seed, job.trial)[3])
            heapq.heappush(heap, (now + length, order, job))
        if not heap:
            return history, decisions
        started, (now, _, job) = now, heapq.heappop(heap)
        values = [scale(score(kind, seed, job.trial, unit)) for unit in range(job.since + 1, job.until + 1)]
        finite = [math.isfinite(value) for value in values]
        outcome: Outcome = "ok" if all(finite) else ("failed" if kind == "failing" else "diverged")
        values = values if outcome == "ok" else values[: finite.index(False) + (outcome == "diverged")]
        units = tuple(UnitResult(unit, now, value, value) for unit, value in enumerate(values, job.since + 1))
        history.append(Report(job, outcome, started, now, units, 1.0))
    return history, decisions

"""The serial engine: one trial at a time in an ordinary training loop, on the virtual clock.

It is the reference implementation: every faster engine must give the same reports, member by member.
"""

from __future__ import annotations

import contextlib
import math
import time
import traceback
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernudge.engine.base import advanced, declared_cost
from hypernudge.engine.clock import SimulatedEngine
from hypernudge.engine.scored import scored_alone
from hypernudge.errors import LostStateError, NotSavedError
from hypernudge.trial import Job, Outcome, Report, UnitResult

if TYPE_CHECKING:  # plans look at engines' classes; PyTorch would take three seconds
    from hypernudge.engine.waiting import Waiting, WaitingStates


@dataclass(eq=False)
class SerialEngine(SimulatedEngine):
    """Trains queued jobs one after the other; arguments are those of `SimulatedEngine`.

    A trial that diverges stops at the end of that unit and is charged for it. A trial that raises is reported
    as failed with its traceback, charged for the unit in which it raised; the study goes on.
    """

    _queue: list[tuple[Job, float, int]] = field(default_factory=list, init=False)
    _states: dict[int, Waiting] = field(default_factory=dict, init=False)

    @cached_property
    def _waiting(self) -> WaitingStates:
        from hypernudge.engine.waiting import WaitingStates

        return WaitingStates(self.task)

    def wait_in(self, folder: Path) -> None:
        """Have states of trials that wait lie in a folder; see `WaitingStates.keep_in`."""
        self._waiting.keep_in(folder)

    def submit(self, job: Job) -> None:
        """Queue `job`; it starts now on the clock."""
        self.check_bound()
        self._queue.append((job, self.now, self._clock.occupy()))

    def next(self) -> Report:
        """Train what is queued and return the earliest completion."""
        for job, started, order in self._queue:
            report = self._train(job, started)
            self._clock.complete_at(report.finished, order, report)
        self._queue.clear()
        return self._clock.pop()

    def _train(self, job: Job, started: float) -> Report:
        begun = time.perf_counter()
        flops = job.warm_start_flops
        units: list[UnitResult] = []
        unit_flops, error = declared_cost(self.task, job.config)
        outcome: Outcome = "ok" if error is None else "failed"
        state: Any = None
        try:
            for unit in range(job.since + 1, job.until + 1) if error is None else ():
                if started + self._clock.seconds(flops + unit_flops) > self.deadline:
                    outcome = "truncated"
                    break
                flops += unit_flops
                if not units:
                    state = self._state(job)
                units.append(self._unit(job, state, unit, started + self._clock.seconds(flops)))
                if not math.isfinite(units[-1].validation):
                    outcome = "diverged"
                    break
        except NotSavedError:  # the disk's failure, not the trial's
            raise
        except Exception:  # whatever a user's training raises belongs into the record, not into our stack
            outcome, error = "failed", traceback.format_exc()
        finished = started + self._clock.seconds(flops)
        if outcome == "truncated":
            finished = self.deadline
        self._states.pop(job.trial, None)
        if outcome == "ok":
            self._states[job.trial] = self._waiting.put(state)
        wall = time.perf_counter() - begun
        return Report(job, outcome, started, finished, tuple(units), flops, wall, error)

    def _state(self, job: Job) -> Any:
        """Return the state of a job's trial, trained as far as the job begins."""
        waiting = self._states.pop(job.trial, None)
        if waiting is not None:
            with contextlib.suppress(LostStateError):
                return self._waiting.take(waiting)
        state = self.task.start(self.seed_of(job.trial))
        for _ in range(job.since):  # of an interrupted study, or its file is lost: it had come this far
            self.task.advance(state, job.config)
        return state

    def _unit(self, job: Job, state: Any, unit: int, now: float) -> UnitResult:
        if not advanced(self.task, state, job.config):
            return UnitResult(unit, now, math.nan, math.nan)
        validation = self.task.evaluate(state, "validation")
        test = self.task.evaluate(state, "test") if self._score_test else math.nan
        if self._scored is not None:
            self._scored(scored_alone(self.task, state, job.trial, unit, validation))
        return UnitResult(unit, now, validation, test)

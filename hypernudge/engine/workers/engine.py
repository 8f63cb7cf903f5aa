"""The engine of real workers: trials are trained by processes of their own, in real time.

It knows nothing of how workers are started and reached: a `Pool` does. The clock is the wall's: seconds since
the study began, without the time in which nobody drove it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hypernudge.engine.base import Measurement
from hypernudge.engine.binding import bound, check_bound
from hypernudge.engine.workers import attempts
from hypernudge.engine.workers.assignments import Assignment, cut_off, finished, given_up
from hypernudge.engine.workers.messages import Finished, Measure, Measured, Order, Setup, Train
from hypernudge.engine.workers.pool import Pool
from hypernudge.engine.workers.saved import scored_of
from hypernudge.engine.workers.sending import same
from hypernudge.engine.workers.supervisor import Supervisor
from hypernudge.errors import (
    InvalidArgumentError,
    UnavailableError,
    is_whole,
    require,
    require_between,
    require_path,
    require_positive,
    require_whole,
)
from hypernudge.results.resources import Resources
from hypernudge.trial import Job, Report

if TYPE_CHECKING:
    from hypernudge.engine.scored import Scored
    from hypernudge.task import Task

logger = logging.getLogger("hypernudge")


@dataclass(eq=False)
class WorkerEngine(ABC):
    """Base of the engines of real workers.

    Args:
        task: What is trained; that of the study where it is absent.
        seed_of: Maps a trial's number to the seed of its initialisation and data order; given with the task.
        deadline: Seconds on the study's clock after which no unit counts; that of the study.
        workers: Trials that are trained at a time, each by a worker of its own.
        retries: How often a trial is begun again whose worker has died or fallen silent.
        heartbeat_timeout: Seconds without a sign of life after which a worker is given up.
        start_timeout: Seconds that workers have to build the task.
        checkpoint_dir: Where trials are kept while the study runs; the study's own folder, else a temporary
            one, where absent. All workers must see it.
        build: Returns the task; workers call it where it is given, instead of being sent the driver's.

    Raises:
        InvalidArgumentError: For an argument that breaks a rule.
    """

    task: Any = None
    seed_of: Any = None
    deadline: float = math.inf
    workers: int = 1
    retries: int = 2
    heartbeat_timeout: float = 60.0
    start_timeout: float = 300.0
    checkpoint_dir: str | Path | None = None
    build: Callable[[], Any] | None = None

    clock = "wall"

    def __post_init__(self) -> None:
        check_bound(self.task, self.seed_of)
        require_positive("deadline", self.deadline, "must be positive seconds", "leave it out for none")
        require_whole("workers", self.workers)
        require_whole("retries", self.retries, 0)
        for name in ("heartbeat_timeout", "start_timeout"):
            require_between(name, getattr(self, name), 0, remedy="60 is usual")
        if self.checkpoint_dir is not None:
            require_path("checkpoint_dir", self.checkpoint_dir, "must be the path of a folder")
        self._folder: Path | None = None if self.checkpoint_dir is None else Path(self.checkpoint_dir)
        self._look: dict[str, Any] = {"sign": 1}  # options of `Setup`
        self._scored: Callable[[Scored], None] | None = None
        self._workers: Supervisor | None = None
        self._done: deque[Report | Measurement] = deque()
        self._offset, self._began = 0.0, None  # type: float, float | None
        self._best = -math.inf
        self._ended: list[int] = []  # trials whose files nobody needs
        self._used, self._max_units = False, 0
        self.startup_seconds = 0.0

    @abstractmethod
    def _open(self, setup: Setup) -> Pool:
        """Return a pool whose workers are built from `setup`.

        Raises:
            InvalidArgumentError: If the machine has not what is asked for, or the task cannot be sent.
        """

    def bound(self, **given: Any) -> Self:
        """Return this engine for a study; what was given here already stays.

        Raises:
            InvalidArgumentError: For an argument that differs here and there.
        """
        given.pop("flops_per_second", None)  # of a clock that this engine does not have
        return bound(self, given)

    def check_study(self, task: Task, budget: float) -> None:
        """Refuse a study that this engine was not built for.

        Raises:
            InvalidArgumentError: If it trains another task, has another deadline, or has had a study.
        """
        remedy = "build the engine with the task that is tuned, or without one"
        require(self.task is task, "engine.task", "must be the study's own task", self.task, remedy)
        rule, remedy = f"must be the study's budget, {budget}", "build the engine with deadline=budget"
        require(self.deadline == budget, "engine.deadline", rule, self.deadline, remedy)
        require(not self._used, "engine", "must not have had a study", "one that has", "build one for each")

    def look(
        self,
        *,
        score_test: bool,
        scored: Callable[[Scored], None] | None,
        sign: int = 1,
        keep: Sequence[str] = ("weights", "test"),
    ) -> None:
        """Say what is scored, and who is told of units that may be the best."""
        kept = {f"keep_{name}": scored is not None and name in keep for name in ("weights", "test")}
        self._look = {"score_test": score_test, "sign": sign, **kept}
        self._scored = scored

    @contextlib.contextmanager
    def kept_in(self, folder: Path) -> Iterator[bool]:
        """Keep trials in a folder while entered, unless `checkpoint_dir` names another; yield False.

        What may be the best need not be written as it is scored: workers have done so.
        """
        if self.checkpoint_dir is None:
            self._folder = folder
        yield False

    def remove_trials(self) -> None:
        """Remove what trials of a study that is done have left in `checkpoint_dir`."""
        if self.checkpoint_dir is None or not Path(self.checkpoint_dir).is_dir():
            return
        with (
            contextlib.suppress(InvalidArgumentError, OSError),  # another study has it by now
            attempts.claimed(Path(self.checkpoint_dir), removed=True) as (folder, _),
        ):
            attempts.remove_trials(folder)

    @contextlib.contextmanager
    def running(self, max_units: int) -> Iterator[None]:
        """Have workers while entered; the clock starts when they are there.

        Args:
            max_units: Units of the study's longest training.

        Raises:
            UnavailableError: If workers cannot be had, or the task cannot be built there.
        """
        require(is_whole(max_units), "max_units", "must be a whole number", max_units, "27, say")
        known = self.task is not None
        require(known, "engine", "must know its task", None, "pass it to `tune`, or give task=")
        self._used, self._max_units = True, max_units
        with attempts.claimed(self._folder, removed=self.checkpoint_dir is not None) as (folder, token):
            self._folder = folder
            build = self.build or functools.partial(same, self.task)
            begun = time.monotonic()
            setup = Setup(build, max_units, str(self._folder), token, gpus=self._gpus, **self._look)
            self._workers = Supervisor(
                self._pool(setup),
                self.workers,
                self.retries,
                self.heartbeat_timeout,
                self.start_timeout,
                self._order_of,
                lambda: self.now,
            )
            try:
                self._workers.start()
                self.startup_seconds = time.monotonic() - begun
                logger.debug("%d workers have started in %.1f s", self.workers, self.startup_seconds)
                self._began = time.monotonic()
                yield
            finally:
                self._workers.close()
                self._workers = None
            self._remove_ended()  # not after an error: the last report may have found no place on the disk

    def _pool(self, setup: Setup) -> Pool:
        try:
            return self._open(setup)
        except InvalidArgumentError as error:
            raise UnavailableError(str(error)) from error.__cause__

    @property
    def _gpus(self) -> float:
        return 0.0

    @property
    def now(self) -> float:
        """Seconds on the study's clock."""
        return self._offset + (0.0 if self._began is None else time.monotonic() - self._began)

    @property
    def free(self) -> int:
        """Number of workers that nothing was planned for."""
        # What is done and not yet asked for counts as running: the study knows of no idle worker before.
        return 0 if self._workers is None else max(0, self._workers.free - len(self._done))

    def submit(self, job: Job) -> None:
        """Hand `job` to an idle worker."""
        self._plan(Assignment(self.now, job))

    def measure(self, measurement: Measurement) -> None:
        """Have a worker call `measurement.function(task, *measurement.arguments)`; `next` returns it."""
        self._plan(Assignment(self.now, measurement=measurement))

    def _plan(self, assignment: Assignment) -> None:
        if self.free < 1:
            raise RuntimeError("submit: no worker is free; call next() first")
        self._supervisor.plan([assignment])

    def restore(self, running: Sequence[tuple[Job, float]], now: float) -> None:
        """Take up an interrupted study; see `Engine.restore`. Workers go on from what is on disk."""
        self._offset, self._began = now, time.monotonic()
        self._supervisor.plan([Assignment(started, job) for job, started in running])

    def next(self) -> Report | Measurement:
        """Wait for whatever is done first.

        Raises:
            RuntimeError: If nothing is running.
            UnavailableError: If no worker can be kept alive, or the task cannot be used on workers.
            OSError: If trials cannot be written.
        """
        self._remove_ended()
        workers = self._supervisor
        while not self._done:
            if not workers.busy:
                raise RuntimeError("next: nothing is running; submit a job first")
            left = self.deadline - self.now
            self._done.extend(starmap(self._came_of, workers.hear(left)))
            if left <= 0:
                self._done.extend(cut_off(each, self.now, self.deadline) for each in workers.drop_all())
        done = self._done.popleft()
        if isinstance(done, Report) and self._has_ended(done):
            self._ended.append(done.job.trial)
        return done

    @property
    def _supervisor(self) -> Supervisor:
        if self._workers is None:
            raise RuntimeError("engine: it has no workers; enter `running` first")
        return self._workers

    def _has_ended(self, report: Report) -> bool:
        """Whether a trial can never go on; one that the deadline has cut short may, with a larger budget."""
        lost = report.outcome in ("failed", "diverged")
        return lost or (report.outcome == "ok" and report.job.until >= self._max_units)

    def _order_of(self, assignment: Assignment, ticket: int) -> Order:
        """Return the order for an assignment that is handed out: to train it is a new attempt."""
        if assignment.measurement is not None:
            return Measure(ticket, assignment.measurement.function, assignment.measurement.arguments)
        assert assignment.job is not None and self._folder is not None
        assignment.attempt, folder = attempts.begin_attempt(self._folder, assignment.job.trial)
        assignment.sent_at[assignment.attempt] = assignment.sent
        seed = self.seed_of(assignment.job.trial)
        return Train(ticket, assignment.job, seed, str(folder), assignment.attempt, self._best)

    def _came_of(self, done: Assignment, message: Finished | Measured | None) -> Report | Measurement:
        """Return what came of an assignment; nothing did where its workers were lost too often."""
        if isinstance(message, Finished):
            assert done.job is not None
            report = finished(done, message, self.now, self.deadline)
            self._tell_best(done.job, message)
            return report
        error = f"{done.reason}; {done.lost} attempts were lost, and retries={self.retries} allows no more"
        if done.measurement is None:
            return given_up(done, error, self.now, self.deadline)
        if message is None:
            done.measurement.came(None, RuntimeError(error), Resources())
        else:
            done.measurement.came(message.value, message.error, message.resources)
        return done.measurement

    def _tell_best(self, job: Job, message: Finished) -> None:
        sign = self._look["sign"]
        scores = [sign * row.validation for row in message.rows if math.isfinite(row.validation)]
        self._best = max([self._best, *scores])
        if message.best is not None and self._scored is not None:
            self._scored(scored_of(job, message.best))

    def _remove_ended(self) -> None:
        """Remove the files of trials that have ended: their reports were taken in, with what was best."""
        if self._folder is not None:
            for trial in self._ended:
                attempts.remove_trial(self._folder, trial)
        self._ended.clear()

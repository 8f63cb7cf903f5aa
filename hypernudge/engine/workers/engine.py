"""The engine of real workers: orders out, attempts counted, lost ones trained again, late ones refused.

It knows nothing of how workers are started and reached: a `Pool` does. The clock is the wall's: seconds since
the study began, without the time in which nobody drove it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import math
import secrets
import tempfile
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hypernudge.engine.base import Measurement
from hypernudge.engine.binding import bound, check_bound
from hypernudge.engine.workers import attempts
from hypernudge.engine.workers.messages import (
    TOKEN,
    Beat,
    Died,
    Finished,
    Measure,
    Measured,
    Message,
    Ready,
    Row,
    Setup,
    Train,
    Unusable,
)
from hypernudge.engine.workers.pool import Pool
from hypernudge.engine.workers.saved import read_weights
from hypernudge.errors import (
    is_whole,
    require,
    require_between,
    require_positive,
    require_whole,
)
from hypernudge.results.files import lock
from hypernudge.results.resources import Resources
from hypernudge.trial import Job, Report, UnitResult

if TYPE_CHECKING:
    from hypernudge.engine.scored import Scored
    from hypernudge.task import Task

logger = logging.getLogger("hypernudge")


@dataclass(eq=False)
class Errand:
    """What a worker is at, or will be: a job, or a measurement."""

    begun: float  # on the study's clock
    job: Job | None = None
    measurement: Measurement | None = None
    lost: int = 0  # attempts that were
    reason: str = ""  # of the last
    lost_seconds: float = 0.0
    ticket: int = 0
    attempt: int = 0
    sent: float = 0.0
    rows: tuple[Row, ...] = ()
    unit_flops: float = 0.0
    sent_at: dict[int, float] = field(default_factory=dict)  # attempt -> on the study's clock


@dataclass(eq=False)
class Hand:
    """A worker as the driver sees it."""

    name: str
    heard: float  # seconds of the wall
    ready: bool = False
    first: bool = False  # started with the study: work may be planned for it before it is ready
    errand: Errand | None = None
    waiting: str = ""


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
            text = isinstance(self.checkpoint_dir, str | Path) and str(self.checkpoint_dir) != ""
            require(
                text, "checkpoint_dir", "must be the path of a folder", self.checkpoint_dir, "leave it out"
            )
        self._folder: Path | None = None if self.checkpoint_dir is None else Path(self.checkpoint_dir)
        self._look: dict[str, Any] = {
            "score_test": True,
            "keep_weights": False,
            "keep_test": False,
            "sign": 1,
        }
        self._scored: Callable[[Scored], None] | None = None
        self._pool: Pool | None = None
        self._hands: dict[str, Hand] = {}
        self._waiting: deque[Errand] = deque()
        self._done: deque[Report | Measurement] = deque()
        self._tickets = itertools.count(1)
        self._offset, self._began = 0.0, None  # type: float, float | None
        self._best = -math.inf
        self._ended: list[int] = []  # trials whose files nobody needs
        self._failed_starts = 0
        self._used, self._max_units = False, 0
        self.startup_seconds = 0.0

    @abstractmethod
    def _open(self, setup: Setup) -> Pool:
        """Return a pool whose workers are built from `setup`.

        Raises:
            InvalidArgumentError: If the machine has not what is asked for, or the task cannot be sent.
        """

    # What a study calls before it begins.

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
        wanted = keep if scored is not None else ()
        self._look = {
            "score_test": score_test,
            "keep_weights": "weights" in wanted,
            "keep_test": "test" in wanted,
            "sign": sign,
        }
        self._scored = scored

    @contextlib.contextmanager
    def kept_in(self, folder: Path) -> Iterator[bool]:
        """Keep trials in a folder while entered, unless `checkpoint_dir` names another; yield False.

        What may be the best need not be written as it is scored: workers have done so.
        """
        if self.checkpoint_dir is None:
            self._folder = folder
        yield False

    @contextlib.contextmanager
    def running(self, max_units: int) -> Iterator[None]:
        """Have workers while entered; the clock starts when they are there.

        Args:
            max_units: Units of the study's longest training.

        Raises:
            InvalidArgumentError: If workers cannot be had, or the task cannot be built there.
        """
        require(is_whole(max_units), "max_units", "must be a whole number", max_units, "27, say")
        require(
            self.task is not None, "engine", "must know its task", None, "pass it to `tune`, or give task="
        )
        self._used, self._max_units = True, max_units
        with contextlib.ExitStack() as stack:
            folder = self._folder
            if folder is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hypernudge-trials-")))
            self._folder = folder.absolute()
            self._folder.mkdir(parents=True, exist_ok=True)
            token = self._claim(stack, self._folder)
            build = self.build or functools.partial(_same, self.task)
            begun = time.monotonic()
            self._pool = self._open(
                Setup(build, max_units, str(self._folder), token, gpus=self._gpus, **self._look)
            )
            try:
                for _ in range(self.workers):
                    self._begin(first=True)
                self._await_first()
                self.startup_seconds = time.monotonic() - begun
                self._began = time.monotonic()
                yield
            finally:
                self._pool.close()
                self._hands.clear()
                self._remove_ended()

    def _claim(self, stack: contextlib.ExitStack, folder: Path) -> str:
        """Have the folder for ourselves; return what shows workers that it is this one.

        Raises:
            InvalidArgumentError: If another study uses it.
        """
        if self.checkpoint_dir is not None:
            stack.callback(_remove_if_empty, folder)
        rule = "must be used by one study at a time"
        ours = stack.enter_context(lock(folder / TOKEN, wait=False))
        require(ours, "checkpoint_dir", rule, str(folder), "wait until that has ended, or name another")
        token = secrets.token_hex(8)
        (folder / TOKEN).write_text(token, "utf-8")
        return token

    @property
    def _gpus(self) -> float:
        return 0.0

    # The protocol of engines.

    @property
    def now(self) -> float:
        """Seconds on the study's clock."""
        return self._offset + (0.0 if self._began is None else time.monotonic() - self._began)

    @property
    def free(self) -> int:
        """Number of workers that nothing was planned for."""
        idle = sum(hand.errand is None and (hand.ready or hand.first) for hand in self._hands.values())
        # What is done and not yet asked for counts as running: the study knows of no idle worker before.
        return max(0, idle - len(self._waiting) - len(self._done))

    def submit(self, job: Job) -> None:
        """Hand `job` to an idle worker."""
        self._plan(Errand(self.now, job))

    def measure(self, measurement: Measurement) -> None:
        """Have a worker call `measurement.function(task, *measurement.arguments)`; `next` returns it."""
        self._plan(Errand(self.now, measurement=measurement))

    def _plan(self, errand: Errand) -> None:
        if self.free < 1:
            raise RuntimeError("submit: no worker is free; call next() first")
        self._waiting.append(errand)
        self._send_out()

    def restore(self, running: Sequence[tuple[Job, float]], now: float) -> None:
        """Take up an interrupted study; see `Engine.restore`. Workers go on from what is on disk."""
        self._offset, self._began = now, time.monotonic()
        self._waiting.extend(Errand(started, job) for job, started in running)
        self._send_out()

    def next(self) -> Report | Measurement:
        """Wait for whatever is done first.

        Raises:
            RuntimeError: If nothing is running, or no worker can be kept alive.
            InvalidArgumentError: If the task cannot be used on workers.
            OSError: If trials cannot be written.
        """
        self._remove_ended()
        while not self._done:
            if not self._waiting and not any(hand.errand for hand in self._hands.values()):
                raise RuntimeError("next: nothing is running; submit a job first")
            if self.now >= self.deadline:
                self._cut_off()
                break
            self._hear(self._patience())
            self._send_out()
        done = self._done.popleft()
        if isinstance(done, Report) and self._has_ended(done):
            self._ended.append(done.job.trial)
        return done

    def _has_ended(self, report: Report) -> bool:
        """Whether a trial can never go on; one that the deadline has cut short may, with a larger budget."""
        lost = report.outcome in ("failed", "diverged")
        return lost or (report.outcome == "ok" and report.job.until >= self._max_units)

    # Workers.

    def _begin(self, first: bool = False) -> None:
        assert self._pool is not None
        name = self._pool.start()
        self._hands[name] = Hand(name, time.monotonic(), first=first)

    def _await_first(self) -> None:
        """Wait until all workers of the start are there, or have had the time."""
        until = time.monotonic() + self.start_timeout
        while not all(hand.ready for hand in self._hands.values()):
            left = until - time.monotonic()
            if left <= 0:
                ready = sum(hand.ready for hand in self._hands.values())
                rule = (
                    f"must be built by {self.workers} workers within start_timeout={self.start_timeout:g} s"
                )
                require(ready > 0, "task", rule, f"{ready} of them", "allow more, or ask for fewer workers")
                logger.warning("%d of %d workers have started; the study begins", ready, self.workers)
                return
            self._hear(min(left, 1.0))

    def _send_out(self) -> None:
        for hand in self._hands.values():
            if not self._waiting:
                return
            if hand.ready and hand.errand is None:
                self._send(hand, self._waiting.popleft())

    def _send(self, hand: Hand, errand: Errand) -> None:
        assert self._pool is not None and self._folder is not None
        errand.ticket, errand.sent = next(self._tickets), self.now
        order: Train | Measure
        if errand.job is not None:
            errand.attempt, folder = attempts.begin_attempt(self._folder, errand.job.trial)
            errand.sent_at[errand.attempt] = self.now
            seed = self.seed_of(errand.job.trial)
            order = Train(errand.ticket, errand.job, seed, str(folder), errand.attempt, self._best)
        else:
            assert errand.measurement is not None
            order = Measure(errand.ticket, errand.measurement.function, errand.measurement.arguments)
        hand.errand, hand.heard = errand, time.monotonic()
        self._pool.send(hand.name, order)

    def _patience(self) -> float:
        """Seconds until something must be looked at again if nobody says anything."""
        now = time.monotonic()
        silent = [hand.heard + self._allowed(hand) - now for hand in self._hands.values()]
        left = min([*silent, self.deadline - self.now])
        return min(max(left, 0.0), 3600.0)

    def _allowed(self, hand: Hand) -> float:
        return self.heartbeat_timeout if hand.ready else self.start_timeout

    def _hear(self, timeout: float) -> None:
        assert self._pool is not None
        for name, message in self._pool.receive(timeout):
            hand = self._hands.get(name)
            if hand is not None:  # else it was given up
                self._take(hand, message)
        now = time.monotonic()
        for hand in list(self._hands.values()):
            if now - hand.heard > self._allowed(hand):
                limit = f"{self._allowed(hand):g} s"
                self._lose(hand, f"gave no sign of life for {limit}" if hand.ready else f"took over {limit}")

    def _take(self, hand: Hand, message: Message) -> None:
        hand.heard = time.monotonic()
        if isinstance(message, Ready):
            hand.ready, self._failed_starts = True, 0
        elif isinstance(message, Died):
            self._lose(hand, message.reason)
        elif isinstance(message, Unusable):
            raise message.error from (RemoteError(message.traceback) if message.traceback else None)
        elif hand.errand is not None and message.ticket == hand.errand.ticket:
            self._take_of(hand, hand.errand, message)

    def _take_of(self, hand: Hand, errand: Errand, message: Beat | Finished | Measured) -> None:
        if isinstance(message, Beat):
            errand.rows, errand.unit_flops = message.rows, message.unit_flops
            if message.waiting and message.waiting != hand.waiting:
                logger.warning("worker %s waits: %s", hand.name, message.waiting)
            hand.waiting = message.waiting
            return
        hand.errand = None
        if isinstance(message, Finished):
            errand.rows, errand.unit_flops = message.rows, message.unit_flops
            self._done.append(self._report(errand, message))
            return
        assert errand.measurement is not None
        errand.measurement.came(message.value, message.error, message.resources)
        self._done.append(errand.measurement)

    def _lose(self, hand: Hand, reason: str) -> None:
        """Give a worker up, and start another one; what it was at is done again, or has failed."""
        assert self._pool is not None
        del self._hands[hand.name]
        self._pool.end(hand.name)
        if not hand.ready:
            self._failed_starts += 1
            alive = any(other.ready for other in self._hands.values())
            if not alive and self._failed_starts > self.retries + 1:
                raise RuntimeError(f"workers: none can be started, the last {reason}")
        logger.warning("worker %s %s", hand.name, reason)
        errand = hand.errand
        if errand is not None:
            errand.lost, errand.reason = errand.lost + 1, f"worker {hand.name} {reason}"
            kept = (
                errand.rows[-1].seconds if errand.rows and errand.rows[-1].attempt == errand.attempt else 0.0
            )
            errand.lost_seconds += max(0.0, self.now - errand.sent - kept)
            if errand.lost > self.retries:
                self._done.append(self._gave_up(errand))
            else:
                self._waiting.appendleft(errand)
        if hand.ready or self._failed_starts <= self.retries + 1:
            self._begin(first=hand.first and not hand.ready)

    # Reports.

    def _report(self, errand: Errand, message: Finished) -> Report:
        job = errand.job
        assert job is not None
        units, finished = self._units(errand), self.now
        charged = len(units) + (message.outcome == "failed")
        used = replace(message.resources, attempt=errand.lost + 1, lost_seconds=errand.lost_seconds)
        report = Report(
            job,
            message.outcome,
            errand.begun,
            finished,
            units,
            job.warm_start_flops + charged * message.unit_flops,
            message.resources.wall_seconds,
            message.error,
            used,
        )
        self._tell_best(job, message)
        return report

    def _tell_best(self, job: Job, message: Finished) -> None:
        from hypernudge.engine.scored import Scored

        sign = self._look["sign"]
        scores = [sign * row.validation for row in message.rows if math.isfinite(row.validation)]
        self._best = max([self._best, *scores])
        best = message.best
        if best is None or self._scored is None:
            return
        path, test = best.path, best.test

        def weights() -> Any:
            return None if path is None else read_weights(path)

        self._scored(Scored(job.trial, best.unit, best.score, weights, lambda: test, lasting=True))

    def _units(self, errand: Errand) -> tuple[UnitResult, ...]:
        """Return an errand's units on the study's clock, as far as the deadline allows."""
        found: list[UnitResult] = []
        before = errand.begun
        for row in errand.rows:
            # Of an attempt of an earlier driver nobody knows when it began.
            began = errand.sent_at.get(row.attempt, errand.begun)
            before = max(before, min(began + row.seconds, self.now))
            if before > self.deadline:
                break
            found.append(UnitResult(row.unit, before, row.validation, row.test))
        return tuple(found)

    def _gave_up(self, errand: Errand) -> Report | Measurement:
        error = (
            f"{errand.reason}; {errand.lost} attempts were lost, and retries={self.retries} allows no more"
        )
        if errand.measurement is not None:
            errand.measurement.came(None, RuntimeError(error), Resources())
            return errand.measurement
        assert errand.job is not None
        units = self._units(errand)
        flops = errand.job.warm_start_flops + len(units) * errand.unit_flops
        used = Resources(attempt=errand.lost, lost_seconds=errand.lost_seconds)
        return Report(errand.job, "failed", errand.begun, self.now, units, flops, 0.0, error, used)

    def _cut_off(self) -> None:
        """End everything at the deadline: units that were done by then count."""
        self._hear(0.0)
        running = [hand.errand for hand in self._hands.values() if hand.errand is not None]
        for hand in self._hands.values():
            hand.errand = None
        for errand in sorted([*running, *self._waiting], key=lambda errand: errand.begun):
            if errand.job is None:
                assert errand.measurement is not None
                self._done.append(errand.measurement)
                continue
            units = self._units(errand)
            flops = errand.job.warm_start_flops + len(units) * errand.unit_flops
            self._done.append(Report(errand.job, "truncated", errand.begun, self.deadline, units, flops))
        self._waiting.clear()

    def _remove_ended(self) -> None:
        """Remove the files of trials that have ended: their reports were taken in, with what was best."""
        if self._folder is not None:
            for trial in self._ended:
                attempts.remove_trial(self._folder, trial)
        self._ended.clear()


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # it holds trials that wait, or something of somebody else's
        folder.rmdir()


class RemoteError(Exception):
    """The traceback of an error, from where it was raised."""

    def __init__(self, traceback: str) -> None:
        super().__init__(f"\n{traceback}")


def _same(task: Any) -> Any:
    """Return the task: what a worker calls that is sent the driver's own."""
    return task

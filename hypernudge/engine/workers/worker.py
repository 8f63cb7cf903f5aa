"""What a worker does: it builds the task once, then trains trials from checkpoint to milestone, and measures.

After every unit the state is on disk, then its score, then the driver is told. So a worker that is killed
loses the unit it was at, and one that comes back finds what it was at done by another.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import pickle
import platform
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypernudge.engine.base import advanced, declared_cost
from hypernudge.engine.workers.messages import (
    TOKEN,
    Beat,
    Candidate,
    Finished,
    Measure,
    Measured,
    Order,
    Row,
    Setup,
    Train,
    Unusable,
)
from hypernudge.engine.workers.saved import Attempt, GivenUpError, Progress, kept_by
from hypernudge.engine.workers.states import UnsaidStateError, content_of
from hypernudge.errors import InvalidArgumentError, NotSavedError, one_line
from hypernudge.results.pace import SyncPace
from hypernudge.results.resources import Meter
from hypernudge.trial import Outcome

logger = logging.getLogger("hypernudge")
PAUSE = 0.2  # seconds before a file is tried again


class Worker:
    """A worker, apart from how its orders reach it.

    Args:
        setup: What it is built from.
        name: What it is called.

    Raises:
        Exception: Whatever building the task raises.
        InvalidArgumentError: If it does not see the folder of trials.
    """

    def __init__(self, setup: Setup, name: str) -> None:
        self.setup, self.name = setup, name
        self.beat = Beat()
        self._pace = SyncPace()  # as that of the study's file: neither is of use without the other
        if not _sees(setup):
            raise InvalidArgumentError(
                f"checkpoint_dir: must be a folder that every worker sees, but {platform.node()} has no "
                f"{setup.folder}; name one on a file system that all nodes share"
            )
        self.task = setup.build()
        if setup.threads is not None:
            import torch

            torch.set_num_threads(setup.threads)
        self._study = contextlib.ExitStack()
        if hasattr(self.task, "study"):  # not isinstance of a protocol whose module imports PyTorch
            self._study.enter_context(self.task.study(setup.max_units))
        if not hasattr(self.task, "kept_in"):
            self._import_early()

    def _import_early(self) -> None:
        """Import what saying a state needs, which takes seconds, before any trial waits for it."""
        with contextlib.suppress(Exception):  # what is wrong with a task its trials will say
            content_of(self.task, self.task.start(0), self.task.start(0))

    def carry_out(
        self, order: Order, tell: Callable[[Beat], None] = lambda beat: None
    ) -> Finished | Measured | Unusable | None:
        """Carry out an order; return what came of it, None if the driver has given it up.

        Args:
            order: It.
            tell: Is told after every unit.
        """
        if isinstance(order, Measure):
            return self._measure(order)
        self.beat = Beat(order.ticket)
        try:
            return self._patiently(order, tell)
        except GivenUpError:
            return None
        except (NotSavedError, InvalidArgumentError) as error:
            return Unusable(error, traceback.format_exc())
        finally:
            self.beat = Beat()

    def _measure(self, order: Measure) -> Measured:
        meter = Meter(self.setup.gpus, self.name)
        value, failed = None, None
        try:
            value = order.function(self.task, *order.arguments)
        except Exception as error:  # of a user's loss: the trial then starts as it was sampled
            failed = _portable(error)
        return Measured(order.ticket, value, failed, meter.read())

    def _patiently(self, order: Train, tell: Callable[[Beat], None]) -> Finished:
        """Train; where the disk refuses what the task itself writes, go on from what it has."""
        until = time.monotonic() + self.setup.patience
        while True:
            attempt = Attempt(Path(order.folder), self._what_is_trained(order))
            progress = attempt.read_progress(order.job.since)
            try:
                return self._finished(order, attempt, progress, tell)
            except NotSavedError as error:
                attempt.check()  # its folder may be gone because it was given up
                self._wait(error, until)

    def _what_is_trained(self, order: Train) -> str:
        name, job = getattr(self.task, "name", ""), order.job
        text = repr((name, order.seed, self.setup.max_units, sorted(job.config.items(), key=lambda e: e[0])))
        return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()

    def _wait(self, error: NotSavedError, until: float) -> None:
        if time.monotonic() > until:
            raise error
        self._note(waiting=one_line(error))
        time.sleep(PAUSE)

    def _finished(
        self, order: Train, attempt: Attempt, progress: Progress, tell: Callable[[Beat], None]
    ) -> Finished:
        meter, before = Meter(self.setup.gpus, self.name, order.attempt), progress.used
        unit_flops, error = declared_cost(self.task, order.job.config)
        outcome: Outcome = "ok" if error is None else "failed"
        self._note(rows=tuple(progress.rows), unit_flops=unit_flops)
        if error is None:
            try:
                self._train(order, attempt, progress, meter, tell)
            except (NotSavedError, GivenUpError, UnsaidStateError):
                raise
            except Exception:  # whatever a user's training raises belongs into the record
                outcome, error = "failed", traceback.format_exc()
        if outcome == "ok" and not math.isfinite(progress.rows[-1].validation):
            outcome = "diverged"
        used = before + meter.read()
        rows = tuple(progress.rows)
        return Finished(order.ticket, outcome, rows, unit_flops, used, error, progress.best)

    def _train(
        self,
        order: Train,
        attempt: Attempt,
        progress: Progress,
        meter: Meter,
        tell: Callable[[Beat], None],
    ) -> None:
        """Train what is missing of the job's units, unit by unit."""
        job, task, before = order.job, self.task, progress.used
        begun = time.perf_counter()
        with kept_by(task, attempt.folder) as own:
            known = job.since + len(progress.rows)
            if known == job.until or (progress.rows and not math.isfinite(progress.rows[-1].validation)):
                return
            if own:
                state, at, fresh = task.start(order.seed), 0, None
            else:
                (state, at), fresh = attempt.read_state(task, order.seed), task.start(order.seed)
                if at > known + 1:  # scores were lost that this state has left behind
                    state, at = task.start(order.seed), 0
            if at == 0 and not own:  # a state that cannot be written costs nothing yet
                content_of(task, state, fresh)
            while at < known:  # what a file has costs nothing; what was lost is trained again
                attempt.check()  # the files may be missing because it was given up
                advanced(task, state, job.config)
                at += 1
            for unit in range(known + 1, job.until + 1):
                finite = True
                if at < unit:
                    attempt.check()
                    finite = advanced(task, state, job.config)
                    at = unit
                durable = unit == job.until and self._pace.due
                if finite and not own:
                    self._until_written(
                        lambda at=at, durable=durable: self._write_state(  # type: ignore[misc]
                            attempt, state, fresh, at, durable
                        )
                    )
                row = self._scored(state, unit, finite, order.attempt, begun)
                if finite:
                    self._keep_if_best(order, attempt, progress, state, row)
                progress.rows.append(row)
                progress.used = before + meter.read()
                self._until_written(lambda: attempt.write_progress(progress))
                self._note(rows=tuple(progress.rows))
                tell(self.beat)
                if not math.isfinite(row.validation):
                    return

    def _write_state(self, attempt: Attempt, state: Any, fresh: Any, at: int, durable: bool) -> None:
        with self._pace.taken() if durable else contextlib.nullcontext():
            attempt.write_state(self.task, state, fresh, at, durable)

    def _until_written(self, write: Callable[[], None]) -> None:
        """Write, again and again while the disk refuses: what was trained is in memory, and stays there."""
        until = time.monotonic() + self.setup.patience
        while True:
            try:
                write()
                return
            except NotSavedError as error:
                self._wait(error, until)

    def _scored(self, state: Any, unit: int, finite: bool, attempt: int, begun: float) -> Row:
        validation = test = math.nan
        if finite:
            validation = float(self.task.evaluate(state, "validation"))
            if self.setup.score_test:
                test = float(self.task.evaluate(state, "test"))
        return Row(unit, time.perf_counter() - begun, attempt, validation, test)

    def _keep_if_best(self, order: Train, attempt: Attempt, progress: Progress, state: Any, row: Row) -> None:
        """Write the weights of a unit that may be the study's best, before its trial goes on."""
        setup, score = self.setup, self.setup.sign * row.validation
        if not (setup.keep_weights or setup.keep_test) or not math.isfinite(score) or score < order.best:
            return
        if progress.best is not None and score <= setup.sign * progress.best.score:
            return
        path, test = None, row.test
        try:
            weights = (
                self.task.weights(state) if setup.keep_weights and hasattr(self.task, "weights") else None
            )
            if setup.keep_test and not setup.score_test:
                test = float(self.task.evaluate(state, "test"))
        except NotSavedError:
            raise
        except Exception as error:  # a user's code; what the trial was trained for is its validation score
            where = f"trial {order.job.trial}, unit {row.unit}"
            logger.warning("%s: weights or test score: %s: %s", where, type(error).__name__, one_line(error))
            return
        if weights is not None:
            written: list[str] = []
            self._until_written(lambda: written.append(attempt.write_weights(row.unit, weights)))
            path = written[0]
        progress.best = Candidate(row.unit, row.validation, test, path)

    def _note(self, **changed: Any) -> None:
        """Have the next beat say something new."""
        now = {"rows": self.beat.rows, "unit_flops": self.beat.unit_flops, "waiting": "", **changed}
        self.beat = Beat(self.beat.ticket, **now)


def _sees(setup: Setup) -> bool:
    """Whether the folder of trials is the driver's own."""
    try:
        return Path(setup.folder, TOKEN).read_text("utf-8") == setup.token
    except OSError:
        return False


def await_abandonment(setup: Setup, pause: float = 2.0) -> None:
    """Return once the folder of trials is gone, or another driver's: nobody wants this worker's work.

    A disk that cannot be read says nothing.
    """
    token = Path(setup.folder, TOKEN)
    while True:
        try:
            if token.read_text("utf-8") != setup.token:
                return
        except FileNotFoundError:
            return
        except OSError:
            pass
        time.sleep(pause)


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent: itself, or its text where it cannot."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:  # an error's arguments may be anything
        return RuntimeError(f"{type(error).__name__}: {error}")

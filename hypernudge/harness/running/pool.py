"""The pool: cells of one or many variations, as many at a time as a launcher runs.

A cell reports by sealing its record: a job that ends without one was killed (out of memory, say) or could not
write, and its cell is tried again, then left missing.
"""

from __future__ import annotations

import sys
import traceback
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.records import StorageError
from hypernudge.harness.planning.launchers import ATTEMPTS
from hypernudge.harness.running.tee import Streams
from hypernudge.registry import resolve
from hypernudge.results.attempts import note_failure
from hypernudge.results.plan import Variation
from hypernudge.results.records import DamagedRecordError, cell_path, read_record

REFUSED = 2  # exit code of a worker whose variation cannot be built
FAILED = 3  # and of one that could not run or write a cell
CANCELLED = 4  # and of a job that somebody has ended on purpose
LONGEST = 12_000  # characters that are said of an end: workers send them through a pipe that holds few more


class Cells:
    """Cells of one variation that are to run, and what becomes of them.

    Args:
        variation: What to run.
        run_dir: Where records go.
        missing: Seeds of the cells.
        streams: Where what is said of them goes; if absent, where this process's own goes.

    Attributes:
        records: By seed.
    """

    def __init__(
        self, variation: Variation, run_dir: Path, missing: Sequence[int] = (), streams: Streams | None = None
    ) -> None:
        self.variation, self.run_dir, self.missing = variation, run_dir, list(missing)
        self.streams = streams or Streams(sys.stdout, sys.stderr)
        self.records: dict[int, dict[str, Any]] = {}

    def done(self, seed: int, record: dict[str, Any] | None) -> None:
        """Take what became of a cell: its record, or None if it stays missing."""
        if record is not None:
            self.records[seed] = record

    def refused(self) -> None:
        """The variation cannot be built; a worker has said why, and no job of it is left."""
        raise InvalidArgumentError(f"{self.variation.run_id}: cannot be built, see above")


def countdown(what: str, done: int, total: int, seconds: float, left: float) -> str:
    """Return the line that says how far something is, and how many seconds it will still take."""
    return f"{what}: {done}/{total} cells, {seconds:.1f} s, about {left:.0f} s left"


@dataclass(eq=False)
class Job:
    """What one worker runs: some cells of a variation.

    Attributes:
        cells: The variation's.
        seeds: Which of them.
        place: (place of the variation, attempt): jobs run in this order.
    """

    cells: Cells
    seeds: list[int]
    place: tuple[int, int]


class Exit(NamedTuple):
    """How a job ended: one of the codes above or any other, and what to say of cells without a record.

    That of a variation that is refused is said once, whole lines as they are.
    """

    code: int
    reason: str


class Launcher(Protocol):
    """Where jobs run. What became of a cell, its record says; a launcher, only that its job has ended."""

    @property
    def capacity(self) -> int:
        """How many jobs may be submitted at a time."""
        ...

    @property
    def parallel(self) -> int:
        """How many of them run at a time."""
        ...

    def begun(self, cells: Cells) -> list[list[int]]:
        """Return what jobs of an earlier run still compute of some cells, one list of seeds for each."""
        ...

    def submit(self, job: Job) -> None:
        """Have a job run, at the latest once `poll` is called; its worker calls `execute`."""
        ...

    def poll(self) -> Sequence[tuple[Job, Exit]]:
        """Wait until jobs have ended; return them, each only once."""
        ...

    def cancel(self, jobs: Sequence[Job]) -> None:
        """End jobs at once, those that wait as well; `poll` returns none of them."""
        ...

    def close(self) -> None:
        """Nobody waits any more: end what cannot go on by itself, and say what does."""
        ...


def run_cells(variations: Iterable[Cells], launcher: Launcher, attempts: int = ATTEMPTS) -> None:
    """Run cells, those of a variation before those of the next.

    The next of `variations` is asked for when the launcher has room and nothing else waits. A cell whose job
    ends without a record (killed, or a full disk) is tried `attempts` times; then it stays missing, for that
    says nothing about the method. Each failure is noted in `attempts.jsonl`.

    Raises:
        InvalidArgumentError: If a variation cannot be built, unless its `refused` takes it.
    """
    pool = _Pool(launcher, attempts)
    jobs = pool.jobs(variations)
    try:
        while True:
            while len(pool.running) < launcher.capacity and (job := next(jobs)) is not None:
                pool.running.append(job)
                launcher.submit(job)
            if not pool.running:
                return
            for job, end in launcher.poll():
                if job in pool.running:  # its variation may have been refused just now
                    pool.ended(job, end)
    finally:
        launcher.close()


class _Pool:
    """Jobs that wait, in order, and those that run."""

    def __init__(self, launcher: Launcher, attempts: int) -> None:
        self.launcher, self.attempts = launcher, attempts
        self.waiting: list[Job] = []
        self.running: list[Job] = []

    def jobs(self, variations: Iterable[Cells]) -> Iterator[Job | None]:
        """Yield the next job, None while there is none."""
        for number, cells in enumerate(variations):
            shared = self.launcher.begun(cells)
            rest = [seed for seed in cells.missing if not any(seed in seeds for seeds in shared)]
            shared += groups(cells.variation, rest, self.launcher.parallel)
            self.waiting += [Job(cells, seeds, (number, 1)) for seeds in shared]
            while self.waiting:
                yield self.waiting.pop(0)
        while True:
            yield self.waiting.pop(0) if self.waiting else None

    def ended(self, job: Job, end: Exit) -> None:
        """Look what a job has left behind: records, cells to be tried again, or missing ones."""
        self.running.remove(job)
        cells, (number, attempt) = job.cells, job.place
        if end.code == REFUSED:
            self.waiting = [other for other in self.waiting if other.cells is not cells]
            self.launcher.cancel([other for other in self.running if other.cells is cells])
            self.running = [other for other in self.running if other.cells is not cells]
            cells.streams.err.write(end.reason)
            cells.streams.err.flush()
            cells.refused()
            return
        for seed in job.seeds:
            record, why = _sealed(cells, seed)
            if record is None and end.code == CANCELLED:  # no failure, and not to be tried again now
                cells.done(seed, None)
                continue
            if record is None:
                _note(cells, seed, why or end.reason)
            if record is None and attempt < self.attempts:
                # Alone: it may have been the one too many.
                insort(self.waiting, Job(cells, [seed], (number, attempt + 1)), key=lambda other: other.place)
            else:
                cells.done(seed, record)


def _sealed(cells: Cells, seed: int) -> tuple[dict[str, Any] | None, str]:
    """Return the record of a cell, or None and what is wrong with the file in its place."""
    try:
        return read_record(cell_path(cells.run_dir, seed), cells.variation.planned(seed)), ""
    except DamagedRecordError as error:
        return None, error.rule


def _note(cells: Cells, seed: int, reason: str) -> None:
    """Count a failed attempt on disk, or at least say it."""
    try:
        note_failure(cells.run_dir, seed, reason)
    except OSError as error:
        reason += f" (not counted: {error.strerror})"
    cells.streams.err.write(f"{cells.variation.run_id}: no record of seed {seed}: {reason}\n")
    cells.streams.err.flush()


def groups(variation: Variation, seeds: Sequence[int], workers: int) -> list[list[int]]:
    """Return which cells share a worker: one each, or, where the engine can use it, an even share of all."""
    if not shares(variation.spec):
        return [[seed] for seed in seeds]
    count = min(workers, len(seeds))
    return [list(seeds[first::count]) for first in range(count)]


def shares(spec: dict[str, Any]) -> bool:
    """Whether the engine trains cells of several seeds together."""
    return bool(getattr(resolve("engine", spec["engine"]["name"]), "shares", False))


def execute(
    variation: Variation, seeds: Sequence[int], run_dir: Path, attempt: int = 1, checkpoint: bool = False
) -> Exit:
    """Run cells in this process, a worker's; the traceback of what fails goes to standard error.

    Workers that build the same variation fail alike: what they say of that is returned, to be said once.

    Args:
        variation: What they are of.
        seeds: Which.
        run_dir: Folder of the variation.
        attempt: At them, from 1.
        checkpoint: Whether they go on where they were interrupted; those that train together begin anew.
    """
    from hypernudge.harness.cells.build import NotBuiltError  # PyTorch, which the pool can do without

    try:
        if shares(variation.spec):
            from hypernudge.harness.cells.group import run_group

            run_group(variation, seeds, run_dir, attempt)
        else:
            from hypernudge.harness.cells.cell import run_cell

            for seed in seeds:
                run_cell(variation, seed, run_dir, attempt, checkpoint)
    except InvalidArgumentError as error:
        return Exit(REFUSED, _bounded(f"error: {error}\n"))
    except NotBuiltError as error:
        return Exit(REFUSED, _bounded("".join(traceback.format_exception(error.__cause__))))
    except Exception as error:  # not the study's: those are in its record
        if not isinstance(error, StorageError):
            traceback.print_exc()
        return Exit(FAILED, _bounded(" ".join(f"{type(error).__name__}: {error}".split())))
    return Exit(0, "")


def _bounded(text: str) -> str:
    """Return a text that a worker can send before anybody reads it, without its middle if it is too long."""
    part = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:part]} [...] {text[-part:]}"

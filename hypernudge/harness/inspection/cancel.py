"""End what works on a results directory: the run on this machine, and its jobs in the queue of a cluster."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.cells.leftovers import RUN_LOCK
from hypernudge.harness.cells.records import Holder, holders_in
from hypernudge.harness.slurm import commands, journal
from hypernudge.harness.slurm.commands import SlurmError
from hypernudge.results.files import is_held
from hypernudge.results.plan import FILE

PATIENCE = 30.0  # seconds that a run has to end its processes


@dataclass(frozen=True)
class Cancelled:
    """What was ended.

    Attributes:
        runs: Processes on this machine that had started it.
        jobs: Numbers of the jobs.
        elsewhere: Runs on other machines, which only those can end.
    """

    runs: list[int]
    jobs: list[str]
    elsewhere: list[str]


def cancel(results_dir: Path) -> Cancelled:
    """End the runs of a directory that were started on this machine, then its jobs; what is sealed stays.

    Raises:
        InvalidArgumentError: If the directory holds no plan, or Slurm does not answer.
    """
    exists = (results_dir / FILE).exists()
    require(exists, "DIR", f"must hold {FILE}", str(results_dir), "give a results directory")
    path = results_dir / RUN_LOCK
    holders = holders_in(path) if is_held(path) else []
    here = [h.process for h in holders if h.node == platform.node() and _holds(h.process, path)]
    for process in here:  # before its jobs, or it would submit them again
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while any(_holds(process, path) for process in here) and time.monotonic() < deadline:
        time.sleep(0.05)
    elsewhere = [_named(h) for h in holders if h.node != platform.node()] if is_held(path) else []
    return Cancelled(here, _cancel_jobs(results_dir), elsewhere)


def _named(holder: Holder) -> str:
    return f"process {holder.process} on {holder.node}"


def _cancel_jobs(results_dir: Path) -> list[str]:
    """End the jobs that the queue still has, and those whose numbers nobody could note."""
    known = journal.submissions(results_dir)
    if not any(len(submission.over) < len(submission.tasks) for submission in known):
        return []
    rule, remedy = "Slurm must answer, to end its jobs", "give this command on a machine of the cluster"
    require(commands.is_here(), "DIR", rule, "no commands of Slurm", remedy)
    try:
        queue = commands.queue()
        numbers = [
            number
            for submission in known
            for _, number, _ in submission.open_jobs()
            if (job := submission.find(number, queue)) is not None and not job.is_over
        ]
        for submission in known:
            if submission.number is None and len(submission.over) < len(submission.tasks):
                number = commands.named(submission.name)
                numbers += [number] if number else []
        commands.cancel(numbers)
    except SlurmError as error:
        raise InvalidArgumentError(f"DIR: {rule}: {error}; try again when it does") from None
    return numbers


def _holds(process: int, path: Path) -> bool:
    """Whether a process of this machine has the lock of a file: its number may be another one's by now."""
    try:
        inode = path.stat().st_ino
    except OSError:
        return False
    return any(held == (process, inode) for held in _locks())


def _locks() -> Iterator[tuple[int, int]]:
    """Yield process and inode of every lock; nothing where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if len(fields) > 6 and fields[1] == "FLOCK" and fields[4].isdigit():
                yield int(fields[4]), int(fields[5].rpartition(":")[2])

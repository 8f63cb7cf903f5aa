"""`jobs.jsonl` of a results directory: which jobs were submitted for which cells. Data, and no result.

A submission is noted before it is made, under a name that no other has: whoever is killed in between finds
the job in the queue by that name.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypernudge.harness.slurm.commands import QueuedJob, SlurmError, is_here, is_job, queue
from hypernudge.results.files import append_line
from hypernudge.results.reading import UnreadableError, parse_json, read_text

FILE = "jobs.jsonl"
PREFIX = "hypernudge-"
_NAME = re.compile(rf"{PREFIX}[0-9a-f]{{8}}")


@dataclass(frozen=True)
class Task:
    """What one job was submitted for.

    Attributes:
        run_id: The variation.
        seeds: Of its cells.
        attempt: At them, from 1.
    """

    run_id: str
    seeds: tuple[int, ...]
    attempt: int


@dataclass
class Submission:
    """Jobs that were submitted together.

    Attributes:
        name: Theirs in the queue.
        at: When.
        tasks: One for each job.
        number: That of the job, or of the array; None if nobody has noted it.
        over: Positions of the jobs that are known to have ended.
    """

    name: str
    at: str
    tasks: list[Task]
    number: str | None = None
    over: set[int] = field(default_factory=set)

    def job(self, position: int) -> str:
        """Return the number of a job, as Slurm has it."""
        return f"{self.number}_{position}" if len(self.tasks) > 1 else str(self.number)

    def find(self, number: str, jobs: Mapping[str, QueuedJob]) -> QueuedJob | None:
        """Return a job of it as the queue has it: a number alone may be another one's by now."""
        found = jobs.get(number)
        return found if found is not None and found.name == self.name else None

    def open_jobs(self) -> Iterator[tuple[int, str, Task]]:
        """Yield position, number and cells of each job that nobody has seen end."""
        for position, task in enumerate(self.tasks):
            if self.number is not None and position not in self.over:
                yield position, self.job(position), task


def note_intent(results_dir: Path, name: str, tasks: Sequence[Task]) -> None:
    """Append that jobs are about to be submitted.

    Raises:
        OSError: If it cannot be written.
    """
    listed = [{"run_id": t.run_id, "seeds": list(t.seeds), "attempt": t.attempt} for t in tasks]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    _append(results_dir, {"event": "submit", "launcher": "slurm", "name": name, "at": at, "jobs": listed})


def note_number(results_dir: Path, name: str, number: str) -> None:
    """Append the number that a submission got.

    Raises:
        OSError: If it cannot be written.
    """
    _append(results_dir, {"event": "submitted", "name": name, "number": number})


def note_over(results_dir: Path, name: str, position: int) -> None:
    """Append that a job has ended, or that nobody waits for it.

    Raises:
        OSError: If it cannot be written.
    """
    _append(results_dir, {"event": "over", "name": name, "position": position})


def submissions(results_dir: Path) -> list[Submission]:
    """Return what was submitted, in order; lines that are torn or odd are passed over."""
    try:
        lines = read_text(results_dir / FILE).splitlines()
    except (OSError, UnreadableError):
        return []
    found: dict[str, Submission] = {}
    for line in lines:
        try:
            _apply(found, parse_json(line))
        except (UnreadableError, KeyError, TypeError, ValueError):
            continue
    return list(found.values())


def _apply(found: dict[str, Submission], entry: Mapping[str, Any]) -> None:
    name = entry["name"]
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        return
    if entry["event"] == "submit":
        tasks = [
            Task(str(j["run_id"]), tuple(map(int, j["seeds"])), int(j["attempt"])) for j in entry["jobs"]
        ]
        found[name] = Submission(name, str(entry["at"])[:40], tasks)
    elif entry["event"] == "submitted" and is_job(entry["number"]):
        found[name].number = entry["number"].partition("_")[0]
    elif entry["event"] == "over":
        found[name].over.add(int(entry["position"]))


def _append(results_dir: Path, entry: Mapping[str, Any]) -> None:
    append_line(results_dir / FILE, json.dumps(entry))


@dataclass(frozen=True)
class ClusterJob:
    """A job that may still compute a cell.

    Attributes:
        number: Slurm's.
        attempt: At the cell, as submitted.
        queued: What the queue says; None if it could not be asked.
    """

    number: str
    attempt: int
    queued: QueuedJob | None

    def __str__(self) -> str:
        """For people."""
        own = f"attempt {self.attempt}, job {self.number}"
        if self.queued is None:
            return f"{own}, and Slurm does not answer here"
        if not self.queued.is_running:
            return f"{own} waits ({self.queued.reason})"
        since = "" if self.queued.since is None else f" since {_moment(self.queued.since)}"
        return f"on {self.queued.nodes}{since}, {own}"


def cluster_jobs(results_dir: Path) -> dict[tuple[str, int], ClusterJob]:
    """Return the jobs that wait or run for the cells of a directory, by run id and seed.

    Where Slurm cannot be asked, they are all that were never seen to end.
    """
    known = [submission for submission in submissions(results_dir) if any(submission.open_jobs())]
    if not known:
        return {}
    found: dict[str, QueuedJob] | None = None
    with contextlib.suppress(SlurmError):
        found = queue() if is_here() else None
    jobs = {}
    for submission in known:
        for _, number, task in submission.open_jobs():
            queued = None if found is None else submission.find(number, found)
            if found is None or (queued is not None and not queued.is_over):
                for seed in task.seeds:
                    jobs[task.run_id, seed] = ClusterJob(number, task.attempt, queued)
    return jobs


def _moment(since: float) -> str:
    return datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")

"""Records: one sealed JSON file per cell, written once, atomically, by whoever finishes first.

While a cell runs, its events are appended to `seed-NNNN.partial.jsonl` and a lock is held on
`seed-NNNN.lock`; the kernel drops the lock when the process dies, so a killed run leaves no stale claim. A
finished record is written to a temporary file, synced and *linked* to its final name: of several writers one
wins, and a record that exists is never written again.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from hypernudge.harness.cells.checkpoint import remove_study
from hypernudge.harness.slurm.commands import this_job
from hypernudge.results.digests import cell_key, record_digest
from hypernudge.results.files import create_text, is_held, lock
from hypernudge.results.jsonio import json_line, plain
from hypernudge.results.plan import Variation
from hypernudge.results.reading import UnreadableError, parse_json, read_text


def seal(path: Path, record: dict[str, Any]) -> bool:
    """Write `record` to `path` unless it exists; return whether this call wrote it."""
    return create_text(path, json_line(record))


def header(variation: Variation, seed: int) -> dict[str, Any]:
    """Return what identifies a cell."""
    key = cell_key(variation.spec, seed)
    return {"run_id": variation.run_id, **variation.labels, "seed": seed, "key": key}


def crashed(variation: Variation, seed: int, declared: dict[str, Any], error: str) -> dict[str, Any]:
    """Return the record of a cell that crashed: no curve, censored at the budget it declared."""
    return {
        "format": 1,
        "cell": header(variation, seed),
        "declared": declared,
        "status": "crashed",
        "trials": [],
        "curve": {"time": [], "trial": [], "unit": [], "validation": [], "test": []},
        "errors": [{"trial": None, "traceback": error}],
        "bill": {"training_flops": 0.0, "warm_start_flops": 0.0, "total_flops": 0.0},
        "wall": {"training_seconds": 0.0, "warm_start_seconds": 0.0},
    }


def seal_record(path: Path, record: dict[str, Any]) -> None:
    """Add the digest of everything but wall times, seal the record, and drop the log of the running cell.

    Raises:
        StorageError: If it cannot be written; there is no record then.
    """
    record["digest"] = record_digest(plain(record))
    with storing(path):
        seal(path, record)
    with contextlib.suppress(OSError):  # sealed it is
        partial_path(path).unlink(missing_ok=True)
    remove_study(path)


def partial_path(path: Path) -> Path:
    """Where the events of a running cell are appended."""
    return path.with_suffix(".partial.jsonl")


class StorageError(Exception):
    """A lock, a log or a record could not be written: a failure of the machine, and no result."""


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn an error of the operating system into a `StorageError` that names what could not be written."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path.name} could not be written: {error.strerror or error}") from error


@dataclass(frozen=True)
class Holder:
    """Who works on a cell, as its lock says.

    Attributes:
        node: Name of the machine.
        process: Number of the process there.
        since: When it began.
        attempt: At this cell, from 1.
        job: Its number in the queue of a cluster; empty outside one.
    """

    node: str
    process: int
    since: str
    attempt: int
    job: str = ""

    def __str__(self) -> str:
        """For people."""
        job = f", job {self.job}" if self.job else ""
        return f"on {self.node} since {self.since}, attempt {self.attempt}{job}"


def this_process(attempt: int = 1) -> Holder:
    """Return what this process says of itself."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return Holder(platform.node(), os.getpid(), since, attempt, this_job())


@contextlib.contextmanager
def claim(path: Path, attempt: int = 1) -> Iterator[None]:
    """Hold the lock of the cell whose record is `path`, and say so in it; wait if a live process holds it.

    Raises:
        StorageError: If the lock cannot be made.
    """
    own = path.with_suffix(".lock")
    with contextlib.ExitStack() as stack:
        with storing(path):
            stack.enter_context(lock(own))
        with contextlib.suppress(OSError):  # nobody needs it
            own.write_text(json.dumps(asdict(this_process(attempt))) + "\n", "utf-8")
        yield


def holder_of(path: Path) -> Holder | None:
    """Return who works on the cell whose record is `path`, as far as its lock says."""
    return next(iter(holders_in(path.with_suffix(".lock"))), None)


def note_holder(path: Path) -> None:
    """Add this process to those that share a lock."""
    with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(this_process())) + "\n")


def holders_in(path: Path) -> list[Holder]:
    """Return who said to hold a lock; odd lines are passed over."""
    names = {"node": str, "process": int, "since": str, "attempt": int, "job": str}
    found = []
    with contextlib.suppress(OSError, UnreadableError):
        for line in read_text(path).splitlines():
            with contextlib.suppress(UnreadableError, KeyError, TypeError, ValueError):
                data = parse_json(line)
                found.append(Holder(**{name: kind(data[name]) for name, kind in names.items()}))
    return found


def is_claimed(path: Path) -> bool:
    """Whether a live process is working on the cell whose record is `path`."""
    return is_held(path.with_suffix(".lock"))


class Appender:
    """Appends JSON lines to a file, each flushed as it happens.

    Raises:
        StorageError: If the file cannot be written, here and with each event.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with storing(path):
            self._file: IO[str] = path.open("w")

    def __call__(self, event: dict[str, Any]) -> None:
        """Append one event."""
        line = json_line(event)
        with storing(self._path):
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(OSError):  # every event was flushed, or its failure reported
            self._file.close()

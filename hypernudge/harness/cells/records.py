"""Records: one sealed JSON file per cell, written once, atomically, by whoever finishes first.

While a cell runs, its events are appended to `seed-NNNN.partial.jsonl` and a lock is held on
`seed-NNNN.lock`; the kernel drops the lock when the process dies, so a killed run leaves no stale claim. A
finished record is written to a temporary file, synced and *linked* to its final name: of several writers one
wins, and a record that exists is never written again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from hypernudge.results.digests import cell_key, record_digest
from hypernudge.results.files import create_text, is_held, lock
from hypernudge.results.jsonio import json_line, plain
from hypernudge.results.plan import Variation


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


@contextlib.contextmanager
def claim(path: Path) -> Iterator[None]:
    """Hold the lock of the cell whose record is `path`; wait if another live process holds it.

    Raises:
        StorageError: If the lock cannot be made.
    """
    with contextlib.ExitStack() as stack:
        with storing(path):
            stack.enter_context(lock(path.with_suffix(".lock")))
        yield


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

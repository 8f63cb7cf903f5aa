"""Attempts at a cell that ended without a record: killed processes, disks that were full. Not results.

Each is a line of `{run_dir}/attempts.jsonl`, appended and synced: seed, time, reason. A cell with a record
is done, whatever it took; the lines of one that has none say why it is missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hypernudge.results.files import append_line
from hypernudge.results.printable import counted
from hypernudge.results.reading import UnreadableError, parse_json, read_text

FILE = "attempts.jsonl"
REMEDY = "run the same command again"


@dataclass(frozen=True)
class Failures:
    """Why a cell has no record.

    Attributes:
        count: Attempts that failed, over all runs.
        reason: Of the last one.
    """

    count: int
    reason: str

    def __str__(self) -> str:
        """For people."""
        return f"{counted(self.count, 'attempt')} failed, the last: {self.reason}"


def note_failure(run_dir: Path, seed: int, reason: str) -> None:
    """Append one failed attempt.

    Raises:
        OSError: If it cannot be written.
    """
    at = datetime.now(UTC).isoformat(timespec="seconds")
    append_line(run_dir / FILE, json.dumps({"seed": seed, "at": at, "reason": reason}))


def failures(run_dir: Path) -> Mapping[int, Failures]:
    """Return what failed, by seed; torn or odd lines are passed over; a file that is none says nothing."""
    try:
        lines = read_text(run_dir / FILE).splitlines()
    except (OSError, UnreadableError):
        return {}
    found: dict[int, Failures] = {}
    for line in lines:
        try:
            entry = parse_json(line)
            seed, reason = entry["seed"], str(entry["reason"])
        except (UnreadableError, TypeError, KeyError):
            continue
        if isinstance(seed, int) and not isinstance(seed, bool):
            before = found[seed].count if seed in found else 0
            found[seed] = Failures(before + 1, " ".join(reason.split()))
    return found

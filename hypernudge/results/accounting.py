"""`accounting.jsonl` of a results directory: what the accounting of a cluster says of its jobs. No result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hypernudge.results.files import append_line
from hypernudge.results.reading import UnreadableError, parse_json, read_text

FILE = "accounting.jsonl"
_OPEN = ("RUNNING", "PENDING", "COMPLETING", "CONFIGURING", "REQUEUED", "RESIZING", "SUSPENDED")


@dataclass(frozen=True)
class JobUsage:
    """What one job used, over all its turns.

    Attributes:
        job: Its number.
        state: How its last turn ended, or that it runs.
        turns: How often it was started.
        seconds: That it ran.
        core_seconds: In which a processor worked for it.
        allocated_core_seconds: In which a processor was its own.
        gpu_seconds: In which a GPU was its own.
        peak_memory_bytes: The most that one of its processes had; 0 where nobody has looked.
    """

    job: str
    state: str
    turns: int
    seconds: float
    core_seconds: float
    allocated_core_seconds: float
    gpu_seconds: float
    peak_memory_bytes: int

    @property
    def is_over(self) -> bool:
        """Whether these are its last numbers."""
        return not self.state.startswith(_OPEN)


def note_usage(results_dir: Path, usage: JobUsage, run_id: str, seeds: Sequence[int], by: str) -> None:
    """Append what a job has used.

    Raises:
        OSError: If it cannot be written.
    """
    entry = {"run_id": run_id, "seeds": list(seeds), **asdict(usage), "gathered_by": by}
    append_line(results_dir / FILE, json.dumps(entry))


def noted_usage(results_dir: Path) -> Iterator[tuple[str, tuple[int, ...], JobUsage]]:
    """Yield run id, seeds and usage of every job that was noted, by its last line; odd ones are left out."""
    try:
        lines = read_text(results_dir / FILE).splitlines()
    except (OSError, UnreadableError):
        return
    found: dict[str, tuple[str, tuple[int, ...], JobUsage]] = {}
    kinds = {"job": str, "state": str, "turns": int, "peak_memory_bytes": int}
    for line in lines:
        try:
            entry: Any = parse_json(line)
            values = {f.name: kinds.get(f.name, float)(entry[f.name]) for f in fields(JobUsage)}
            usage = JobUsage(**values)
            found[usage.job] = str(entry["run_id"]), tuple(map(int, entry["seeds"])), usage
        except (UnreadableError, KeyError, TypeError, ValueError):
            continue
    yield from found.values()

"""Cells of an experiment as they stand: what was read of a record is kept until the file is another."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.dash.board import Cell, Kind
from hypernudge.dash.following import StudyFollower
from hypernudge.errors import InvalidArgumentError, one_line
from hypernudge.harness.cells.checkpoint import study_folder
from hypernudge.harness.inspection.status import RunStatus, status
from hypernudge.harness.slurm.journal import ClusterJob, cluster_jobs
from hypernudge.results.attempts import Failures
from hypernudge.results.plan import Manifest
from hypernudge.results.printable import counted, printable
from hypernudge.results.records import DamagedRecordError, Planned, cell_path, read_record
from hypernudge.results.studies import FILE

STATES = ("done", "queued", "running", "failed", "missing", "crashed", "damaged")
COLUMNS: list[tuple[str, Kind]] = [
    *(("variation", "text"), ("seed", "number"), ("state", "text"), ("best", "number")),
    *(("target reached at [s]", "number"), ("trials", "number"), ("units", "number"), ("remarks", "text")),
]
_ASK_QUEUE = 15.0  # seconds between two questions to a cluster

Stamp = tuple[int, int]


@dataclass(frozen=True)
class _Read:
    stamp: Stamp
    keys: tuple[str, ...]
    facts: Mapping[str, Any] | None
    damaged: DamagedRecordError | None


class Cells:
    """The cells of a results directory.

    Args:
        results_dir: Of `hypernudge run`.
    """

    def __init__(self, results_dir: Path) -> None:
        self._dir = results_dir
        self._records: dict[Path, _Read] = {}
        self._running: dict[Path, StudyFollower] = {}
        self._jobs: Mapping[tuple[str, int], ClusterJob] = {}
        self._next_jobs = 0.0

    def look(self) -> list[RunStatus]:
        """Return the state of every planned cell.

        Raises:
            InvalidArgumentError: If there is no plan, or one that cannot be read.
        """
        return status(self._dir, self._record, self._queue)

    def stamps(self) -> frozenset[tuple[str, Stamp]]:
        """Return what tells the records that were there when looked at last."""
        return frozenset((str(path), read.stamp) for path, read in self._records.items())

    def rows(self, manifest: Manifest, found: list[RunStatus]) -> list[list[Cell]]:
        """Return a row of `COLUMNS` for every planned cell, each with the address of its page."""
        rows: list[list[Cell]] = []
        for variation, own in zip(manifest.variations, found, strict=True):
            states = {seed: state for state in STATES for seed in getattr(own, state)}
            for seed in variation.seeds:
                path = cell_path(self._dir / variation.run_id, seed)
                state = states.get(seed, "missing")
                facts = self._facts(path, state, variation.target)
                row: list[Cell] = [printable(variation.run_id), seed, state]
                row += [facts.get(name) for name in ("best", "reached", "trials", "units")]
                shown = f"{variation.run_id}/{seed}" if facts else None
                rows.append([*row, printable(_remark(own, seed))[:300], shown])
        return rows

    def _record(self, path: Path, planned: Planned) -> Mapping[str, Any] | None:
        try:
            found = path.stat()
        except OSError:
            self._records.pop(path, None)
            return None
        stamp = found.st_mtime_ns, found.st_size
        known = self._records.get(path)
        if known is None or (known.stamp, known.keys) != (stamp, planned.keys):
            try:
                record, damaged = read_record(path, planned), None
            except DamagedRecordError as error:
                record, damaged = None, error
            facts = None if record is None else _facts_of(record)
            known = self._records[path] = _Read(stamp, planned.keys, facts, damaged)
        if known.damaged is not None:
            raise known.damaged
        return known.facts

    def _queue(self, results_dir: Path) -> Mapping[tuple[str, int], ClusterJob]:
        if time.monotonic() >= self._next_jobs:
            self._jobs = cluster_jobs(results_dir)
            self._next_jobs = time.monotonic() + _ASK_QUEUE
        return self._jobs

    def _facts(self, path: Path, state: str, target: float) -> Mapping[str, Any]:
        known = self._records.get(path)
        if known is not None:
            self._running.pop(path, None)
            facts = known.facts or {}
            reached = facts.get("curve") and next((t for t, s in facts["curve"] if s >= target), None)
            return {**facts, "reached": reached} if facts else {}
        if state not in ("running", "failed", "missing") or not (study_folder(path) / FILE).is_file():
            return {}
        follower = self._running.setdefault(path, StudyFollower(study_folder(path) / FILE))
        with contextlib.suppress(InvalidArgumentError, OSError):  # its own page says so
            follower.update()
        study = follower.study
        if study is None:
            return {}
        best = study._best_unit()
        return {
            "best": None if best is None else float(f"{best[1].validation:.6g}"),
            "trials": len(study.trials),
            "units": sum(len(trial.units) for trial in study.trials),
        }


def _facts_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    curve = record["curve"]
    scores = [(float(t), s) for t, s in zip(curve["time"], curve["validation"], strict=True) if s is not None]
    risen: list[tuple[float, float]] = []
    for moment, score in sorted(scores):
        if math.isfinite(score) and (not risen or score > risen[-1][1]):
            risen.append((moment, score))
    return {
        "status": record["status"],
        "best": float(f"{risen[-1][1]:.6g}") if risen else None,
        "curve": risen,
        "trials": len(record["trials"]),
        "units": len(curve["unit"]),
    }


def _remark(own: RunStatus, seed: int) -> str:
    failed: Failures | None = own.attempts.get(seed)
    if seed in own.damaged:
        return f"not used: {own.damaged[seed]}"
    return one_line(str(failed)) if failed is not None else own.where.get(seed, "")


def in_words(found: list[RunStatus]) -> str:
    """Return how far an experiment is, in a line."""
    counts = {state: sum(len(getattr(own, state)) for own in found) for state in STATES}
    total = sum(counts.values())
    said = [f"{count} {state}" for state, count in counts.items() if count]
    return f"{counted(total, 'cell')}: {', '.join(said)}"

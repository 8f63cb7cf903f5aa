"""A sealed cell as trackers know runs: a name, parameters, tags, curves over time, final numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.evidence.loading.study import StudyResults
from hypernudge.results.plan import read_manifest
from hypernudge.results.records import Record, cell_path, read_record

SCORE = "validation"
CURVES = (SCORE, "test", "incumbent")


@dataclass(frozen=True)
class Point:
    """One trained unit of one trial.

    Attributes:
        time: Seconds on the deterministic clock.
        values: Curve name -> value; NaN for a diverged trial, and where there is none.
    """

    time: float
    values: Mapping[str, float]

    @property
    def logged(self) -> dict[str, float]:
        """What a tracker is told: every value there is, and of the score also that it is none (NaN).

        Without it a cell that diverged would come back from the tracker as one that was never run.
        """
        return {k: v for k, v in self.values.items() if k == SCORE or not math.isnan(v)}


@dataclass(frozen=True)
class CellRun:
    """One sealed cell.

    Attributes:
        name: `<task>-<variation>-<seed>`, which the importers read again.
        group: Its run id.
        digest: SHA-256 of the record: what an export is recognised by.
        begun: Unix seconds at which the cell began, from the date of the file and the cell's wall time.
        tags: What identifies it: study, plan, task, scheduler, variation, seed, status.
        parameters: The variation's configuration, flattened with dots.
        points: In the order of time; at least one, which has no score if the cell never had.
        summary: Outcomes and cost; a target that was not reached has no `time_to_target`.
    """

    name: str
    group: str
    digest: str
    begun: float
    tags: Mapping[str, str]
    parameters: Mapping[str, Any]
    points: tuple[Point, ...]
    summary: Mapping[str, float]


def cell_runs(results_dir: Path, study: StudyResults) -> Iterator[CellRun]:
    """Yield every cell that has a usable record, in plan order."""
    manifest = read_manifest(results_dir)
    for row in study.cells[study.cells["status"] != "missing"].to_dict("records"):
        variation = manifest[row["run_id"]]
        path = cell_path(results_dir / variation.run_id, row["seed"])
        record = read_record(path, manifest.planned(variation, row["seed"]))
        if record is None:  # taken away since the study was read
            continue
        spec = manifest.spec_of(variation, record) or {}
        wall = float((record.get("wall") or {}).get("total_seconds") or 0.0)
        yield CellRun(
            name=f"{row['task']}-{row['warm_start']}-{row['seed']}",
            group=row["run_id"],
            digest=record["digest"],
            begun=path.stat().st_mtime - wall,
            tags={
                "study": study.plan.name,
                "plan": study.plan.hash,
                "digest": record["digest"],
                "run_id": row["run_id"],
                "task": row["task"],
                "scheduler": row["scheduler"],
                "variation": row["warm_start"],
                "seed": str(row["seed"]),
                "status": row["status"],
            },
            parameters=dict(flat({key: value for key, value in spec.items() if key != "seeds"})),
            points=tuple(_points(record)),
            summary=dict(_summary(row)),
        )


def _points(record: Record) -> Iterator[Point]:
    curve, best = record["curve"], math.nan
    for time, validation, test in zip(curve["time"], curve["validation"], curve["test"], strict=True):
        score = math.nan if validation is None else float(validation)
        best = score if math.isnan(best) else max(best, score) if score == score else best
        values = (score, math.nan if test is None else float(test), best)
        yield Point(float(time), dict(zip(CURVES, values, strict=True)))
    if not curve["time"]:
        yield Point(0.0, dict.fromkeys(CURVES, math.nan))


def _summary(row: Mapping[Any, Any]) -> Iterator[tuple[str, float]]:
    if row["reached"]:
        yield "time_to_target", float(row["time"])
    for key, column in (
        ("target", "target"),
        ("reached", "reached"),
        ("final_validation", "final"),
        ("final_test", "test"),
        ("best_so_far_auc", "auc"),
        ("budget_seconds", "budget"),
        ("overhead", "overhead"),
        ("total_flops", "total_flops"),
        ("warm_start_flops", "warm_start_flops"),
        ("trials", "trials"),
    ):
        yield key, float(row[column])


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested configuration with their dotted paths; lists become JSON."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from flat(entry, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path, json.dumps(value)
    else:
        yield path, value

"""What is done, queued, running, failed and missing in a results directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.harness.cells.records import holder_of, is_claimed
from hypernudge.harness.slurm.journal import ClusterJob, cluster_jobs
from hypernudge.results.attempts import REMEDY, Failures, failures
from hypernudge.results.plan import FILE, read_manifest
from hypernudge.results.printable import counted, printable
from hypernudge.results.records import DamagedRecordError, Planned, cell_path, read_record

Reader = Callable[[Path, Planned], Mapping[str, Any] | None]
"""Returns the record of a planned cell, or at least its `status`; None if there is none."""


@dataclass(frozen=True)
class RunStatus:
    """Seeds of one variation by state.

    Attributes:
        run_id: The variation.
        done: Sealed, completed.
        crashed: Sealed: what they ran raised.
        running: Claimed by a live process, or on a node of a cluster.
        missing: Nobody has tried them yet.
        damaged: Why their records are not believed.
        attempts: What failed at those that have no record.
        queued: Their jobs wait in the queue of a cluster.
        failed: They were tried, and are left without a record.
        where: Where those that run do, since when, and at which attempt; why those that are queued wait.
    """

    run_id: str
    done: list[int]
    crashed: list[int]
    running: list[int]
    missing: list[int]
    damaged: dict[int, str]
    attempts: dict[int, Failures]
    queued: list[int]
    failed: list[int]
    where: dict[int, str]


def status(
    results_dir: Path,
    read: Reader = read_record,
    jobs_of: Callable[[Path], Mapping[tuple[str, int], ClusterJob]] = cluster_jobs,
) -> list[RunStatus]:
    """Return the state of every planned cell.

    Args:
        results_dir: Of `hypernudge run`.
        read: What reads a record; whoever asks often keeps what was read.
        jobs_of: What asks the queue of a cluster.

    Raises:
        InvalidArgumentError: If the directory holds no plan, or one that cannot be read.
    """
    exists = (results_dir / FILE).exists()
    require(exists, "DIR", f"must hold {FILE}", str(results_dir), "give a results directory")
    manifest = read_manifest(results_dir)
    jobs = jobs_of(results_dir)
    rows = []
    for variation in manifest.variations:
        row = RunStatus(variation.run_id, [], [], [], [], {}, {}, [], [], {})
        tried = failures(results_dir / variation.run_id)
        for seed in variation.seeds:
            path, planned = cell_path(results_dir / variation.run_id, seed), manifest.planned(variation, seed)
            try:
                state, where = _state(read(path, planned), path, jobs.get((variation.run_id, seed)))
            except DamagedRecordError as error:
                row.damaged[seed] = error.rule
                continue
            if state == "missing" and seed in tried:
                state = "failed"
                row.attempts[seed] = tried[seed]
            getattr(row, state).append(seed)
            if where:
                row.where[seed] = where
        rows.append(row)
    return rows


def _state(record: Mapping[str, Any] | None, path: Path, job: ClusterJob | None) -> tuple[str, str]:
    """Return the state of a cell, and where it runs or why it waits."""
    if record is not None:
        return "crashed" if record["status"] == "crashed" else "done", ""
    if is_claimed(path):
        return "running", str(holder_of(path) or "")
    if job is None:
        return "missing", ""
    return "running" if job.queued is not None and job.queued.is_running else "queued", str(job)


def as_json(rows: list[RunStatus]) -> str:
    """Return one JSON line per variation."""
    return "\n".join(json.dumps(asdict(row)) for row in rows)


def print_table(rows: list[RunStatus]) -> None:
    """Print a table on stdout, and below it why records are not believed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=None, header_style="bold")
    table.add_column("run id", no_wrap=True)
    names = ("done", "queued", "running", "failed", "missing", "crashed", "damaged")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        counts = [len(getattr(row, name)) for name in names]
        table.add_row(row.run_id, *(str(count) if count else "-" for count in counts))
    console = Console()
    console.print(table)
    for row in rows:
        for seed, where in row.where.items():
            state = "runs" if seed in row.running else "is queued:"
            console.print(
                printable(f"{row.run_id} seed {seed} {state} {where}"), markup=False, soft_wrap=True
            )
        for seed, why in row.damaged.items():
            told = printable(f"{row.run_id} seed {seed} is damaged: {why}")
            console.print(told, markup=False, soft_wrap=True)
        for seed, failed in row.attempts.items():
            told = printable(f"{row.run_id} seed {seed} has no record: {failed}")
            console.print(told, markup=False, soft_wrap=True)
    if any(row.damaged for row in rows):
        told = "damaged records are not used: `hypernudge doctor DIR --fix` moves them aside, then run again"
        console.print(told, markup=False, soft_wrap=True)
    missing = sum(len(row.missing) + len(row.failed) for row in rows)
    if missing:
        console.print(f"{counted(missing, 'cell')} missing: {REMEDY}")

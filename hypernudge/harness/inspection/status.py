"""What is done, running and missing in a results directory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hypernudge.errors import require
from hypernudge.harness.cells.records import is_claimed
from hypernudge.results.attempts import REMEDY, Failures, failures
from hypernudge.results.plan import FILE, read_manifest
from hypernudge.results.printable import counted, printable
from hypernudge.results.records import DamagedRecordError, Planned, cell_path, read_record


@dataclass(frozen=True)
class RunStatus:
    """Seeds of one variation by state.

    Attributes:
        run_id: The variation.
        done: Sealed, completed.
        crashed: Sealed: what they ran raised.
        running: Claimed by a live process.
        missing: Nobody has computed them yet.
        damaged: Why their records are not believed.
        attempts: What failed at those that are missing.
    """

    run_id: str
    done: list[int]
    crashed: list[int]
    running: list[int]
    missing: list[int]
    damaged: dict[int, str]
    attempts: dict[int, Failures]


def status(results_dir: Path) -> list[RunStatus]:
    """Return the state of every planned cell.

    Raises:
        InvalidArgumentError: If the directory holds no plan, or one that cannot be read.
    """
    exists = (results_dir / FILE).exists()
    require(exists, "DIR", f"must hold {FILE}", str(results_dir), "give a results directory")
    manifest = read_manifest(results_dir)
    rows = []
    for variation in manifest.variations:
        row = RunStatus(variation.run_id, [], [], [], [], {}, {})
        for seed in variation.seeds:
            path = cell_path(results_dir / variation.run_id, seed)
            try:
                getattr(row, _state(path, manifest.planned(variation, seed))).append(seed)
            except DamagedRecordError as error:
                row.damaged[seed] = error.rule
        failed = failures(results_dir / variation.run_id)
        row.attempts.update({seed: failed[seed] for seed in row.missing if seed in failed})
        rows.append(row)
    return rows


def _state(path: Path, planned: Planned) -> str:
    record = read_record(path, planned)
    if record is not None:
        return "crashed" if record["status"] == "crashed" else "done"
    return "running" if is_claimed(path) else "missing"


def as_json(rows: list[RunStatus]) -> str:
    """Return one JSON line per variation."""
    return "\n".join(json.dumps(asdict(row)) for row in rows)


def print_table(rows: list[RunStatus]) -> None:
    """Print a table on stdout, and below it why records are not believed."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=None, header_style="bold")
    table.add_column("run id")
    for name in ("done", "running", "missing", "crashed", "damaged"):
        table.add_column(name, justify="right")
    for row in rows:
        counts = [len(part) for part in (row.done, row.running, row.missing, row.crashed, row.damaged)]
        table.add_row(row.run_id, *(str(count) if count else "-" for count in counts))
    console = Console()
    console.print(table)
    for row in rows:
        for seed, why in row.damaged.items():
            told = printable(f"{row.run_id} seed {seed} is damaged: {why}")
            console.print(told, markup=False, soft_wrap=True)
        for seed, failed in row.attempts.items():
            told = printable(f"{row.run_id} seed {seed} is missing: {failed}")
            console.print(told, markup=False, soft_wrap=True)
    if any(row.damaged for row in rows):
        told = "damaged records are not used: `hypernudge doctor DIR --fix` moves them aside, then run again"
        console.print(told, markup=False, soft_wrap=True)
    missing = sum(len(row.missing) for row in rows)
    if missing:
        console.print(f"{counted(missing, 'cell')} missing: {REMEDY}")

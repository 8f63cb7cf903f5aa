"""What is done, running and missing in a results directory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.harness.records import cell_path, is_claimed, read_record


@dataclass(frozen=True)
class RunStatus:
    """Seeds of one variation by state."""

    run_id: str
    done: list[int]
    crashed: list[int]
    running: list[int]
    missing: list[int]
    unreadable: list[int]


def status(results_dir: Path) -> list[RunStatus]:
    """Return the state of every planned cell.

    Raises:
        InvalidArgumentError: If the directory holds no plan.
    """
    manifest = results_dir / "plan.json"
    require(manifest.is_file(), "DIR", "must hold plan.json", str(results_dir), "give a results directory")
    plan: dict[str, Any] = json.loads(manifest.read_text())
    rows = []
    for run_id, variation in plan["variations"].items():
        states: dict[str, list[int]] = {
            name: [] for name in ("done", "crashed", "running", "missing", "unreadable")
        }
        for seed in variation["seeds"]:
            states[_state(cell_path(results_dir / run_id, seed))].append(seed)
        rows.append(RunStatus(run_id, **states))
    return rows


def _state(path: Path) -> str:
    try:
        record = read_record(path)
    except ValueError:
        return "unreadable"
    if record is not None:
        return "crashed" if record["status"] == "crashed" else "done"
    return "running" if is_claimed(path) else "missing"


def as_json(rows: list[RunStatus]) -> str:
    """Return one JSON line per variation."""
    return "\n".join(json.dumps(asdict(row)) for row in rows)


def print_table(rows: list[RunStatus]) -> None:
    """Print a table on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=None, header_style="bold")
    table.add_column("run id")
    for name in ("done", "running", "missing", "crashed", "unreadable"):
        table.add_column(name, justify="right")
    for row in rows:
        counts = [len(part) for part in (row.done, row.running, row.missing, row.crashed, row.unreadable)]
        table.add_row(row.run_id, *(str(count) if count else "-" for count in counts))
    Console().print(table)

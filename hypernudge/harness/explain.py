"""Why a trial was started as it was: read from the records, one row per trial."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.config import load_yaml
from hypernudge.harness.plan import Plan, Variation
from hypernudge.harness.records import cell_path, read_record
from hypernudge.optimizers import SGD, Optimizer
from hypernudge.registry import REGISTRY, build, resolve


def explanations(
    results_dir: Path, run_id: str | None = None, seed: int | None = None, trial: int | None = None
) -> list[dict[str, Any]]:
    """Return what happened to trials: sampled and nudged values that differ, `z`, reason, cost.

    Args:
        results_dir: Results of `hypernudge run`.
        run_id: A variation; all with a warm start if absent.
        seed: A cell; the first one that has a record if absent.
        trial: A trial's number; all if absent.

    Raises:
        InvalidArgumentError: If there is no such experiment, variation, record or trial.
    """
    rows = []
    for variation in _variations(_ran(results_dir), run_id):
        record = _record(results_dir, variation, seed)
        if record is None:
            continue
        optimizer = _optimizer(variation.spec["task"])
        for entry in record["trials"]:
            if trial is None or entry["trial"] == trial:
                rows.append(_row(record["cell"], entry, optimizer))
    asked = {"run_id": run_id, "seed": seed, "trial": trial}
    require(bool(rows), "explain", "needs a finished cell that holds this trial", asked, "see `status`")
    return rows


def _ran(results_dir: Path) -> Plan:
    """Return the experiment as it was run: resolved and checked then, so not checked again."""
    experiment = load_yaml(results_dir / "experiment.yaml")
    variations = tuple(Variation(run_id, spec) for run_id, spec in experiment["variations"].items())
    return Plan(experiment["name"], variations, experiment["evidence"], processes=1)


def _variations(plan: Plan, run_id: str | None) -> list[Variation]:
    if run_id is not None:
        return [plan[run_id]]
    return [v for v in plan.variations if v.spec["warm_start"]["name"] != "none"]


def _record(results_dir: Path, variation: Variation, seed: int | None) -> dict[str, Any] | None:
    if seed is not None and seed not in variation.seeds:
        raise InvalidArgumentError(
            f"--seed: must be one of {variation.run_id}'s {variation.seeds}, but got {seed}; choose one"
        )
    for number in variation.seeds if seed is None else [seed]:
        record = read_record(cell_path(results_dir / variation.run_id, number))
        if record is not None:
            return record
    return None


def draw_cells(rows: list[dict[str, Any]], directory: Path) -> list[Path]:
    """Draw the trials of each cell in `rows` into `directory`; return the files."""
    from hypernudge.evidence.figures import decisions, style

    cells: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault((row["run_id"], row["seed"]), []).append(row)
    written = []
    for (run_id, seed), own in cells.items():
        with style.context():
            path = directory / f"{style.file_name('decisions', run_id, f'seed{seed}')}.pdf"
            style.save(decisions.draw(own, f"{run_id}, seed {seed}"), path)
        written.append(path)
    return written


def _optimizer(task: dict[str, Any]) -> Optimizer:
    """Return a task's update rule without building the task, whose data may be elsewhere."""
    if task["name"] in REGISTRY["task"]:
        named = task.get("optimizer", "sgd")
        rule: Optimizer = build("optimizer", {"name": named} if isinstance(named, str) else named)
    else:
        rule = getattr(resolve("task", task["name"]), "optimizer", None) or SGD()
    return rule


def _row(cell: dict[str, Any], entry: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    nudge = entry["nudge"]
    moved = {
        name: {"sampled": value, "nudged": entry["nudged"].get(name)}
        for name, value in entry["sampled"].items()
        if entry["nudged"].get(name) != value
    }
    kept = {
        key: nudge[key] for key in ("policy", "changed", "flagged", "reason", "z", "flops", "measurements")
    }
    identity = {"run_id": cell["run_id"], "seed": cell["seed"], "trial": entry["trial"]}
    rate = [math.log10(float(optimizer.effective_rate(entry[key]))) for key in ("sampled", "nudged")]
    fate = {"units": entry["units"], "status": entry["status"]}
    return {**identity, **kept, "moved": moved, "rate": rate, **fate}


def sentence(row: dict[str, Any]) -> str:
    """Return one row for people."""
    moves = ", ".join(
        f"{name} {_short(m['sampled'])} -> {_short(m['nudged'])}" for name, m in row["moved"].items()
    )
    flag = " [flagged]" if row["flagged"] else ""
    return (
        f"{row['run_id']} seed {row['seed']} trial {row['trial']}: {row['reason']}{flag}"
        f"{'; ' + moves if moves else ''}; then {row['units']} units, {row['status']}"
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)

"""Run one variation, all its seeds: description first, then JSON lines, then `results.json`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge import console
from hypernudge.errors import InvalidArgumentError, last_line
from hypernudge.evidence.loading.outcomes import Curves, outcomes
from hypernudge.harness.cells.leftovers import sweep
from hypernudge.harness.cells.provenance import provenance
from hypernudge.harness.planning.plan import Plan, unlabelled
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.declare import check_directory
from hypernudge.harness.running.dry_build import check_buildable
from hypernudge.harness.running.interruption import orderly
from hypernudge.harness.running.launch import die_with_parent, run_cells, start_server
from hypernudge.registry import REGISTRY, build
from hypernudge.results.attempts import REMEDY, failures
from hypernudge.results.files import write_text
from hypernudge.results.flags import by_finite_differences, flagged
from hypernudge.results.jsonio import json_line, write_json
from hypernudge.results.plan import Variation
from hypernudge.results.printable import counted
from hypernudge.results.records import DamagedRecordError, cell_path, read_record
from hypernudge.tasks.spaces import build_space


def emit(event: dict[str, Any]) -> None:
    """Print one JSON line on stdout, at once."""
    sys.stdout.write(json_line(event))
    sys.stdout.flush()


def parse(arguments: Sequence[str] | None, program: str) -> argparse.Namespace:
    """Return the command line of the trainer."""
    parser = argparse.ArgumentParser(prog=program, description="Run one variation of an experiment.")
    parser.add_argument("--run-id", required=True, help="which variation of the file")
    parser.add_argument("--config-file", required=True, type=Path, help="experiment YAML")
    parser.add_argument("--run-dir", required=True, type=Path, help="where its records and results go")
    return parser.parse_args(arguments)


@console.forgiving()
def main(arguments: Sequence[str] | None = None, program: str = "train") -> int:
    """Run a variation; return the exit code: 0 if every cell has a record and one ran to its end, else 1.

    2 if refused; 130 and 143 after SIGINT and SIGTERM.
    """
    options = parse(arguments, program)
    die_with_parent()
    return orderly(partial(_train, options))


def _train(options: argparse.Namespace) -> int:
    start_server()
    try:
        plan = load_plan(options.config_file)
        chosen = plan[options.run_id]
        check_directory(options.run_dir, "--run-dir")
        check_buildable(replace(plan, variations=(chosen,)))
        return train(plan, chosen, options.run_dir)
    except InvalidArgumentError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except OSError as error:  # every record that was sealed is there
        sys.stderr.write(f"error: {error.filename or options.run_dir}: {error.strerror}; then {REMEDY}\n")
        return 1


def train(plan: Plan, variation: Variation, run_dir: Path) -> int:
    """Run what is missing of a variation, report everything, write `results.json` last."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for folder in (run_dir, run_dir / "cells"):
        sweep(folder)
    write_text(run_dir / "config.yaml", plan.as_yaml(variation))
    sys.stdout.write(describe(plan, variation) + "\n")
    sys.stdout.flush()
    records: dict[int, dict[str, Any]] = {}
    damaged: dict[int, DamagedRecordError] = {}
    for seed in variation.seeds:
        try:
            record = read_record(cell_path(run_dir, seed), variation.planned(seed))
        except DamagedRecordError as error:
            _refuse_foreign(error)
            damaged[seed] = error
            continue
        if record is not None:
            records[seed] = record
    missing = [seed for seed in variation.seeds if seed not in records and seed not in damaged]
    countdown = Countdown(variation.run_id, len(variation.seeds), len(records))
    for record in records.values():
        _report_cell(record, reused=True)
    for seed, found in damaged.items():  # never written over: somebody may want to know what happened to it
        sys.stderr.write(f"error: {found}\n")
        emit({"run_id": variation.run_id, "event": "missing", "seed": seed, "reason": found.rule})

    def done(seed: int, record: dict[str, Any] | None) -> None:
        countdown.step()
        if record is None:
            failed = failures(run_dir).get(seed)
            why = {"attempts": failed.count, "reason": failed.reason} if failed else {}
            emit({"run_id": variation.run_id, "event": "missing", "seed": seed, **why})
            return
        records[seed] = record
        _report_cell(record, reused=False)

    if missing:
        run_cells(variation, missing, run_dir, plan.processes, done, plan.attempts)
    ordered = [records[seed] for seed in variation.seeds if seed in records]
    results = summarise(plan, variation, ordered)
    emit({"run_id": variation.run_id, "event": "result", **results["summary"]})
    write_json(run_dir / "results.json", results, indent=2)
    absent = len(variation.seeds) - len(ordered) - len(damaged)
    if absent:
        sys.stderr.write(f"{variation.run_id}: {absent} of {len(variation.seeds)} cells missing: {REMEDY}\n")
    crashed = _all_crashed(variation, ordered)
    if crashed:
        sys.stderr.write(crashed + "\n")
    return 1 if absent or damaged or crashed else 0


def _all_crashed(variation: Variation, records: Sequence[dict[str, Any]]) -> str:
    """Return what is to be said if no cell of a variation ran to its end; empty if one did."""
    if not records or any(record["status"] != "crashed" for record in records):
        return ""
    reason = last_line(records[0]["errors"][0]["traceback"])
    return f"{variation.run_id}: all of its {counted(len(records), 'cell')} crashed, the first with {reason}"


def _refuse_foreign(error: DamagedRecordError) -> None:
    """Refuse a directory whose records are of another experiment; what is merely damaged can be set aside."""
    if error.foreign:
        raise InvalidArgumentError(
            f"--run-dir: {error.path} must belong to this configuration, but {error.rule}; "
            "use another directory, or move the record aside"
        )


class Countdown:
    """Says on stderr what is done and how long the rest will take."""

    def __init__(self, run_id: str, total: int, done: int) -> None:
        self.run_id, self.total, self.done, self.first = run_id, total, done, done
        self.begun = time.perf_counter()

    def step(self) -> None:
        """Count one more cell and say so."""
        self.done += 1
        elapsed = time.perf_counter() - self.begun
        left = elapsed / (self.done - self.first) * (self.total - self.done)
        sys.stderr.write(
            f"{self.run_id}: {self.done}/{self.total} cells, {elapsed:.1f} s, about {left:.0f} s left\n"
        )
        sys.stderr.flush()


def describe(plan: Plan, variation: Variation) -> str:
    """Return a readable description of the experiment; no line of it looks like JSON."""
    spec = variation.spec
    own = spec["task"]["name"] not in REGISTRY["task"]
    training = ", ".join(f"{key} {value}" for key, value in spec["training"].items()) or "task's default"
    lines = [
        f"Experiment    {plan.name}, variation {variation.run_id}",
        f"Task          {spec['task']['label']}, model {spec.get('model', {}).get('name', 'own')}",
        f"Scheduler     {_options(spec['scheduler'])}",
        f"Warm start    {_options(spec['warm_start'])}",
        f"Training      {training}",
        f"Budget        {spec['budget']['units']:g} units on {spec['workers']} simulated workers",
        f"Target        {spec['task']['metric']} >= {spec['target']:g} on the validation part",
        f"Seeds         {len(variation.seeds)}: {variation.seeds[0]} .. {variation.seeds[-1]}",
        "Search space" + ("  the task's own" if own else ""),
    ]
    for parameter in () if own else build_space(spec["space"]):
        values = getattr(parameter, "choices", None)
        scale = "logarithmic" if getattr(parameter, "log", False) else "linear"
        shown = values or f"{getattr(parameter, 'low', '')} .. {getattr(parameter, 'high', '')} ({scale})"
        lines.append(f"  {parameter.name:<16}{shown}")
    return "\n".join(lines)


def _options(spec: dict[str, Any]) -> str:
    extra = ", ".join(f"{key}={value}" for key, value in spec.items() if key not in ("name", "label"))
    return f"{spec['name']} ({extra})" if extra else str(spec["name"])


def _report_cell(record: dict[str, Any], reused: bool) -> None:
    cell, curve = record["cell"], record["curve"]
    identity = {"run_id": cell["run_id"], "seed": cell["seed"]}
    for rung in sorted({unit for trial in record["trials"] for unit in trial["milestones"]}):
        scores = [
            score
            for unit, score in zip(curve["unit"], curve["validation"], strict=True)
            if unit == rung and score is not None
        ]
        reached = sum(rung in trial["milestones"] for trial in record["trials"])
        best = max(scores, default=None)
        emit({**identity, "event": "rung", "rung": rung, "trials": reached, "best_validation": best})
    emit({**identity, "event": "cell", "reused": reused, **_outcome(record), "wall": record["wall"]})


def _outcome(record: dict[str, Any]) -> dict[str, Any]:
    """Return the outcomes of one cell."""
    declared, curve, bill = record["declared"], record["curve"], record["bill"]
    scores = np.array([np.nan if v is None else v for v in curve["validation"]], dtype=float)
    test = np.array([np.nan if v is None else v for v in curve["test"]], dtype=float)
    # Without a declared worst score, the incumbent is worth the worst score seen until there is one.
    floor = declared["metric_range"][0]
    if floor is None:
        floor = float(np.nanmin(scores)) if np.isfinite(scores).any() else 0.0
    result = outcomes(
        Curves(np.zeros(len(scores), dtype=np.int64), np.array(curve["time"], dtype=float), scores, test),
        target=np.array([declared["target"]]),
        budget=np.array([declared["budget_seconds"]]),
        floor=np.array([floor], dtype=float),
    )
    total = bill["total_flops"]
    statuses = [trial["status"] for trial in record["trials"]]
    reported = (record.get("description") or {}).get("reported")
    return {
        **({"reported": reported} if reported else {}),
        "status": record["status"],
        "time_to_target": float(result.time[0]) if result.reached[0] else None,
        "reached": bool(result.reached[0]),
        "budget_seconds": declared["budget_seconds"],
        "best_validation": float(result.final[0]),
        "test": float(result.test[0]),
        "auc": float(result.auc[0]),
        "trials": len(statuses),
        "diverged": statuses.count("diverged"),
        "flagged": sum(flagged(record)),
        "finite_differences": sum(by_finite_differences(record)),
        "failed": statuses.count("failed"),
        "overhead": bill["warm_start_flops"] / total if total else 0.0,
    }


def summarise(plan: Plan, variation: Variation, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what `results.json` holds."""
    cells = [{"seed": record["cell"]["seed"], **_outcome(record)} for record in records]
    prices = [r["bill"]["price_in_training_steps"] for r in records if "price_in_training_steps" in r["bill"]]
    walls = [r["wall"].get("warm_start_price") for r in records]
    wall = [w["in_training_steps"] for w in walls if w]
    capped = [
        cell["budget_seconds"] if cell["time_to_target"] is None else cell["time_to_target"] for cell in cells
    ]
    policy = build("warm_start", unlabelled(variation.spec["warm_start"]))
    summary = {
        "seeds": len(cells),
        "reached": sum(cell["reached"] for cell in cells),
        "median_time_to_target": _median(capped),
        "median_best_validation": _median([cell["best_validation"] for cell in cells]),
        "median_test": _median([cell["test"] for cell in cells]),
        "median_auc": _median([cell["auc"] for cell in cells]),
        "median_overhead": _median([cell["overhead"] for cell in cells]),
        "flagged_trials": sum(cell["flagged"] for cell in cells),
        "finite_difference_trials": sum(cell["finite_differences"] for cell in cells),
        "warm_start_price": {
            "batch_size": getattr(policy, "batch_size", None),
            "flops_in_training_steps": _median([p for p in prices if p is not None]),
            "wall_in_training_steps": _median(wall),
            "wall_seconds": _median([w["seconds"] for w in walls if w]),
        },
    }
    return {
        "run_id": variation.run_id,
        "plan": plan.part_of or plan.hash,
        **variation.labels,
        "summary": summary,
        "cells": cells,
        "provenance": provenance(),
    }


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


if __name__ == "__main__":  # how `run` starts it where processes cannot be forked from a server
    sys.exit(main())

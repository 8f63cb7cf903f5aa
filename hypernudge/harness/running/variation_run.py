"""One variation of a run: its description first, then JSON lines as cells end, then `results.json`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, last_line
from hypernudge.evidence.loading.outcomes import Curves, outcomes
from hypernudge.harness.cells.leftovers import sweep
from hypernudge.harness.cells.provenance import provenance
from hypernudge.harness.planning.engines import has_real_workers
from hypernudge.harness.planning.plan import Plan, unlabelled
from hypernudge.harness.running.pool import Cells, countdown
from hypernudge.harness.running.tee import Streams
from hypernudge.registry import REGISTRY, build
from hypernudge.results.attempts import REMEDY, failures
from hypernudge.results.files import write_text
from hypernudge.results.flags import by_finite_differences, flagged
from hypernudge.results.jsonio import emit, write_json
from hypernudge.results.plan import Variation
from hypernudge.results.printable import counted
from hypernudge.results.records import DamagedRecordError, cell_path, read_record
from hypernudge.results.resources import wall_fee
from hypernudge.tasks.spaces import build_space


class VariationRun(Cells):
    """What is said and kept of one variation, from its description to `results.json`.

    Args:
        plan: The experiment that it is of.
        variation: Which one.
        run_dir: Where its records and results go.
        streams: Where everything is said.
    """

    def __init__(
        self, plan: Plan, variation: Variation, run_dir: Path, streams: Streams | None = None
    ) -> None:
        super().__init__(variation, run_dir, streams=streams)
        self.plan, self.damaged, self.ended, self.begun = plan, 0, 0, time.perf_counter()

    def begin(self) -> None:
        """Describe the variation, report the records there are, note which are missing.

        Raises:
            InvalidArgumentError: If a record is of another experiment.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        for folder in (self.run_dir, self.run_dir / "cells"):
            sweep(folder)
        write_text(self.run_dir / "config.yaml", self.plan.as_yaml(self.variation))
        self.streams.out.write(describe(self.plan, self.variation) + "\n")
        self.streams.out.flush()
        for seed in self.variation.seeds:
            try:
                record = read_record(cell_path(self.run_dir, seed), self.variation.planned(seed))
            except DamagedRecordError as error:  # never written over: somebody may look what happened
                _refuse_foreign(error)
                self.damaged += 1
                self.streams.err.write(f"error: {error}\n")
                self._emit({"event": "missing", "seed": seed, "reason": error.rule})
                continue
            if record is None:
                self.missing.append(seed)
            else:
                self._report_cell(seed, record, reused=True)

    def done(self, seed: int, record: dict[str, Any] | None) -> None:
        """Report a cell that has ended; without a record it stays missing."""
        self.ended += 1
        left, total = len(self.missing) - self.ended, len(self.variation.seeds)
        elapsed = time.perf_counter() - self.begun
        done, seconds_left = total - self.damaged - left, elapsed / self.ended * left
        line = countdown(self.variation.run_id, done, total, elapsed, seconds_left)
        self.streams.err.write(line + "\n")
        self.streams.err.flush()
        if record is not None:
            self._report_cell(seed, record, reused=False)
            return
        failed = failures(self.run_dir).get(seed)
        why = {"attempts": failed.count, "reason": failed.reason} if failed else {}
        self._emit({"event": "missing", "seed": seed, **why})

    def finish(self) -> int:
        """Report the variation, write `results.json`, return the exit code."""
        variation, err = self.variation, self.streams.err
        ordered = [self.records[seed] for seed in variation.seeds if seed in self.records]
        results = summarise(self.plan, variation, ordered)
        self._emit({"event": "result", **results["summary"]})
        write_json(self.run_dir / "results.json", results, indent=2)
        absent = len(variation.seeds) - len(ordered) - self.damaged
        if absent:
            err.write(f"{variation.run_id}: {absent} of {len(variation.seeds)} cells missing: {REMEDY}\n")
        crashed = _all_crashed(variation, ordered)
        if crashed:
            err.write(crashed + "\n")
        return 1 if absent or self.damaged or crashed else 0

    def _report_cell(self, seed: int, record: dict[str, Any], reused: bool) -> None:
        self.records[seed] = record
        curve = record["curve"]
        for rung in sorted({unit for trial in record["trials"] for unit in trial["milestones"]}):
            scores = [
                score
                for unit, score in zip(curve["unit"], curve["validation"], strict=True)
                if unit == rung and score is not None
            ]
            reached = sum(rung in trial["milestones"] for trial in record["trials"])
            best = max(scores, default=None)
            rung_of = {"seed": seed, "event": "rung", "rung": rung}
            self._emit({**rung_of, "trials": reached, "best_validation": best})
        cell = {"seed": seed, "event": "cell", "reused": reused}
        wall = {key: value for key, value in record["wall"].items() if key not in ("curve", "trials")}
        self._emit({**cell, **outcome(record), "wall": wall})

    def _emit(self, event: dict[str, Any]) -> None:
        emit({"run_id": self.variation.run_id, **event}, self.streams.out)


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
        f"Budget        {_budget(spec)}",
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


def _budget(spec: dict[str, Any]) -> str:
    [(of, amount)] = spec["budget"].items()
    workers = "workers" if has_real_workers(spec["engine"]) else "simulated workers"
    return f"{amount:g} {of} on {spec['workers']} {workers}"


def _options(spec: dict[str, Any]) -> str:
    extra = ", ".join(f"{key}={value}" for key, value in spec.items() if key not in ("name", "label"))
    return f"{spec['name']} ({extra})" if extra else str(spec["name"])


def outcome(record: dict[str, Any]) -> dict[str, Any]:
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
        "wall_fee": wall_fee(record).as_data(),
    }


def summarise(plan: Plan, variation: Variation, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what `results.json` holds."""
    cells = [{"seed": record["cell"]["seed"], **outcome(record)} for record in records]
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
        "wall_fee": {
            f"median_{name}": _median([c["wall_fee"][name] for c in cells if c["wall_fee"][name] is not None])
            for name in ("seconds", "cell_seconds", "share")
        },
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

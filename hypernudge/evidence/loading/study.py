"""A results directory as tidy frames. What cannot be read is named, kept aside and counted as missing.

study = load_study(Path("results/smoke"))
study.cells      one row per PLANNED cell: status, outcomes, cost, memory
study.trials     one row per trial: what was sampled, what was nudged, how far it got
study.problems   what was not as declared, file by file
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hypernudge.evidence.loading.clocks import check_hardware, on_clock
from hypernudge.evidence.loading.data_checks import (
    all_crashed,
    by_differences,
    missing_cells,
    reached_at_once,
    settings,
    too_few_seeds,
    unreached,
)
from hypernudge.evidence.loading.deviations import deviations
from hypernudge.evidence.loading.issue import Issue
from hypernudge.evidence.loading.outcomes import Curves, Incumbents, incumbents, outcomes
from hypernudge.evidence.loading.plan import Plan, plan_of
from hypernudge.results.accounting import JobUsage, noted_usage
from hypernudge.results.attempts import REMEDY, failures
from hypernudge.results.flags import by_finite_differences
from hypernudge.results.plan import Variation, read_manifest
from hypernudge.results.records import DamagedRecordError, Record, cell_path, read_record
from hypernudge.results.resources import wall_fee

Floats = NDArray[np.float64]

ABSENT = "no record"

_COLUMNS = [
    *("run_id", "task", "scheduler", "warm_start", "seed", "status", "reason", "target", "budget", "floor"),
    *("trials", "units", "training_flops", "warm_start_flops", "total_flops", "overhead", "errors"),
    *("total_seconds", "training_seconds", "warm_start_seconds", "peak_memory_bytes", "hardware"),
    *("cell_seconds", "wall_fee"),
    *("core_seconds", "gpu_seconds", "lost_seconds", "peak_gpu_bytes"),
]


@dataclass(frozen=True)
class StudyResults:
    """A results directory in frames.

    Attributes:
        plan: What was planned.
        cells: One row per planned cell, in plan order; `status` is completed, crashed or missing. Outcome
            columns are time, reached, auc, final and test, NaN where missing. A cell that never saw a score
            ends at the floor of the metric.
        incumbents: Improvements of every cell; `cell` indexes the rows of `cells`.
        trials: One row per trial of every cell present, with columns `sampled.<name>` and `nudged.<name>`;
            `winner` marks the trial that holds the final incumbent of its cell.
        problems: Everything that was not as declared.
        jobs: What the accounting of a cluster says, with the run id of each job.
    """

    plan: Plan
    cells: pd.DataFrame
    incumbents: Incumbents
    trials: pd.DataFrame
    problems: tuple[Issue, ...]
    jobs: tuple[tuple[str, JobUsage], ...] = ()


def load_study(results_dir: Path) -> StudyResults:
    """Read the plan and every sealed record of a results directory.

    Args:
        results_dir: Holds `plan.json` and `{run_id}/cells/seed-NNNN.json`.

    Raises:
        ResultsError: there is no readable plan, or the plan's clock is one of measured seconds and those of
            a task stem from different hardware. Damaged records do not raise: they become problems.
    """
    manifest = read_manifest(results_dir)
    plan = plan_of(manifest)
    problems = [*deviations(manifest), *_unplanned_runs(results_dir, plan)]
    rows: list[dict[str, Any]] = []
    trials: list[dict[str, Any]] = []
    parts: list[tuple[Floats, ...]] = []
    real: list[int] = []  # cells of real workers
    for variation in plan.variations:
        problems.extend(_unplanned(results_dir, variation))
        failed = failures(results_dir / variation.run_id)
        for seed in variation.seeds:
            path = cell_path(results_dir / variation.run_id, seed)
            where = path.relative_to(results_dir).as_posix()
            planned = manifest.planned(variation, seed)
            row: dict[str, Any] = {**planned.labels, "target": variation.target}
            try:
                record = read_record(path, planned)
                if record is None:
                    why = f"{ABSENT}: {failed[seed]}" if seed in failed else ABSENT
                    if seed in failed:
                        kept = f"missing, not a result: {REMEDY}"
                        problems.append(Issue(where, why, kept, variation.run_id))
                    rows.append({**row, "status": "missing", "reason": why})
                    continue
                facts, curve = _facts(record), _curve(record, len(rows))
                if plan.criteria.clock != "virtual":
                    curve, facts["budget"] = on_clock(plan.criteria.clock, record, curve)
                its_trials = list(_trials(record, len(rows), row))
            except DamagedRecordError as error:
                why = error.rule
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                why = f"not a cell record: {type(error).__name__}: {error}"
            else:
                why = ""
            if why:
                problems.append(Issue(where, why, "kept aside; the cell counts as missing", variation.run_id))
                rows.append({**row, "status": "missing", "reason": why})
                continue
            assert record is not None  # for the type checker
            if record["declared"]["target"] != variation.target:
                rule = f"declared target {record['declared']['target']} is not the plan's {variation.target}"
                problems.append(Issue(where, rule, "the plan's target is used", variation.run_id))
            if record["declared"].get("clock") == "wall":
                real.append(len(rows))
            rows.append({**row, **facts})
            trials.extend(its_trials)
            parts.append(curve)
    cells = pd.DataFrame(rows).reindex(columns=_COLUMNS)
    if plan.criteria.clock != "virtual":
        check_hardware(cells, plan.criteria.clock)
    check_hardware(cells.iloc[real], "wall")
    cells["floor"] = _floors(cells, parts)
    best, winners = _add_outcomes(cells, parts, problems, measured=plan.criteria.clock != "virtual")
    frame = pd.DataFrame(trials, columns=None if trials else _TRIAL_COLUMNS)
    frame["winner"] = [
        (cell, trial) in winners for cell, trial in zip(frame["cell"], frame["trial"], strict=True)
    ]
    problems.extend(_data_checks(cells, best))
    problems.extend(by_differences(frame))
    jobs = tuple((run_id, usage) for run_id, _, usage in noted_usage(results_dir))
    return StudyResults(plan, cells, best, frame, tuple(problems), jobs)


def _unplanned_runs(results_dir: Path, plan: Plan) -> Iterator[Issue]:
    known = {variation.run_id for variation in plan.variations}
    for path in sorted(results_dir.glob("*/cells")):
        if path.is_dir() and path.parent.name not in known:
            count = len(list(path.glob("*.json")))
            yield Issue(
                f"{path.parent.name}/", "this variation is not in the plan", f"{count} records not evaluated"
            )


def _unplanned(results_dir: Path, variation: Variation) -> Iterator[Issue]:
    planned = {f"seed-{seed:04d}.json" for seed in variation.seeds}
    for path in sorted((results_dir / variation.run_id / "cells").glob("*.json")):
        if path.name not in planned:
            where = path.relative_to(results_dir).as_posix()
            yield Issue(where, "this cell is not in the plan", "not evaluated", variation.run_id)


def _data_checks(cells: pd.DataFrame, best: Incumbents) -> Iterator[Issue]:
    """What the records themselves leave open."""
    absent = cells[cells["reason"] == ABSENT]  # those damaged or tried are named where they are read
    yield from missing_cells(absent, "no record of seed {seeds}", "{count} planned cells count as missing")
    yield from all_crashed(cells)
    yield from unreached(cells)
    yield from reached_at_once(cells, best)
    yield from too_few_seeds(cells)
    for where, group in settings(cells):
        kinds = sorted(set(group["hardware"].dropna()) - {""})
        if len(kinds) > 1:
            rule = f"wall times stem from {len(kinds)} kinds of hardware: {'; '.join(kinds)}"
            yield Issue(where, rule, "seconds are compared between like machines only, others not at all")


def _curve(record: Record, cell: int) -> tuple[Floats, ...]:
    names = ("time", "validation", "test", "trial")
    columns = [np.array(record["curve"][name], dtype=np.float64) for name in names]
    return (np.full(columns[0].size, float(cell)), *columns)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _facts(record: Record) -> dict[str, Any]:
    bill, wall, declared = record["bill"], record.get("wall") or {}, record["declared"]
    total, used = float(bill["total_flops"]), wall.get("resources") or {}
    fee = wall_fee(record)
    span = declared.get("metric_range") or [None, None]
    walls = ("total_seconds", "training_seconds", "warm_start_seconds", "peak_memory_bytes")
    return {
        "status": record["status"],
        "reason": "",
        "budget": float(declared["budget_seconds"]),
        "floor": _number(span[0]),
        "trials": len(record["trials"]),
        "units": len(record["curve"]["unit"]),
        **{name: float(bill[name]) for name in ("training_flops", "warm_start_flops", "total_flops")},
        "overhead": float(bill["warm_start_flops"]) / total if total > 0 else 0.0,
        "errors": len(record.get("errors") or []),
        **{name: _number(wall.get(name)) for name in walls},
        "hardware": str(wall.get("hardware") or ""),
        "cell_seconds": fee.cell_seconds,
        "wall_fee": fee.share,
        **{name: _number(used.get(name)) for name in _COLUMNS[-4:]},
    }


# What a study without a single trial has: every cell crashed, say.
_TRIAL_COLUMNS = [
    *("cell", "run_id", "task", "scheduler", "warm_start", "seed", "trial", "status", "units", "milestones"),
    *("changed", "flagged", "finite_differences", "gradient_norm", "z", "first_score"),
]


def _trials(record: Record, cell: int, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    first: dict[int, float] = {}
    for trial, score in zip(record["curve"]["trial"], record["curve"]["validation"], strict=True):
        first.setdefault(trial, _number(score))
    for trial, differences in zip(record["trials"], by_finite_differences(record), strict=True):
        nudge = trial.get("nudge") or {}
        yield {
            "cell": cell,
            **row,
            "trial": int(trial["trial"]),
            "status": trial["status"],
            "units": int(trial["units"]),
            "milestones": list(trial["milestones"]),
            "changed": bool(nudge.get("changed", False)),
            "flagged": bool(nudge.get("flagged", False)),
            "finite_differences": differences,
            "gradient_norm": _number(nudge.get("gradient_norm")),
            "z": _number(nudge.get("z")),
            "first_score": first.get(trial["trial"], math.nan),
            **{f"sampled.{name}": value for name, value in trial["sampled"].items()},
            **{f"nudged.{name}": value for name, value in trial["nudged"].items()},
        }


def _floors(cells: pd.DataFrame, parts: list[tuple[Floats, ...]]) -> Floats:
    """Declared lower end of the metric; where it is open, the worst score anyone saw in the task.

    The latter is the same for both sides of every pair.
    """
    floor = cells["floor"].to_numpy(dtype=np.float64, copy=True)
    task_of = [str(task) for task in cells["task"]]
    worst: dict[str, float] = {}
    for cell, _, validation, *_ in parts:
        seen = validation[np.isfinite(validation)]
        if seen.size:
            task = task_of[int(cell[0])]
            worst[task] = min(worst.get(task, math.inf), float(seen.min()))
    declared: dict[str, float] = {}
    for task, value in zip(task_of, floor, strict=True):
        if math.isfinite(value):
            declared.setdefault(task, value)
    for index in np.flatnonzero(~np.isfinite(floor)):
        task = task_of[index]
        floor[index] = declared.get(task, worst.get(task, 0.0))
    return floor


def _add_outcomes(
    cells: pd.DataFrame, parts: list[tuple[Floats, ...]], problems: list[Issue], measured: bool
) -> tuple[Incumbents, set[tuple[int, int]]]:
    """Fill the outcome columns in place; a crashed cell is censored at its budget.

    Returns:
        The improvements, and the (cell, trial) pairs that hold a final incumbent.
    """
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [np.zeros(0)] * 5
    curves = Curves(columns[0].astype(np.int64), columns[1], columns[2], columns[3])
    budget = _budgets(cells, problems, measured)
    target, floor = (cells[name].to_numpy(dtype=np.float64) for name in ("target", "floor"))
    result = outcomes(curves, target=target, budget=budget, floor=floor)
    missing = (cells["status"] == "missing").to_numpy()
    crashed = (cells["status"] == "crashed").to_numpy()
    cells["budget"] = np.where(missing, np.nan, budget)
    cells["time"] = np.where(missing, np.nan, np.where(crashed, budget, result.time))
    cells["reached"] = result.reached & ~crashed & ~missing
    cells["auc"] = np.where(missing, np.nan, result.auc)
    # A cell that never saw a score ends where it began, at the floor: leaving it out would reward crashing.
    unseen = np.isnan(result.final)
    cells["final"] = np.where(missing, np.nan, np.where(unseen, floor, result.final))
    cells["test"] = np.where(missing, np.nan, np.where(unseen, floor, result.test))
    best = incumbents(curves, budget)
    last = best.last()
    trial = columns[4][best.entry[last]].astype(np.int64)
    return best, set(zip(best.cell[last].tolist(), trial.tolist(), strict=True))


def _budgets(cells: pd.DataFrame, problems: list[Issue], measured: bool) -> Floats:
    """One budget per (task, scheduler): the smallest declared budget, so that nobody is given more time.

    On a clock of measured seconds it is when the first cell was done, which nobody declares.
    """
    budget = np.ones(len(cells))
    for (task, scheduler), group in cells.groupby(["task", "scheduler"], sort=False):
        budgets = np.unique(group["budget"].dropna().to_numpy(dtype=np.float64))
        if budgets.size > 1 and not measured:
            rule = f"declared budgets differ: {', '.join(f'{b:g}' for b in budgets)} s"
            problems.append(Issue(f"{task} / {scheduler}", rule, "all are evaluated at the smallest"))
        if budgets.size:
            budget[group.index.to_numpy()] = budgets[0]
    return budget

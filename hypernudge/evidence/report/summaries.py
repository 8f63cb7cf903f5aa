"""What happened in each variation, and each result as a flat, JSON-able event."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from hypernudge.evidence.loading.outcomes import rung_survival
from hypernudge.evidence.loading.study import StudyResults
from hypernudge.evidence.report.bill import bill_of
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.verdicts.comparisons import Comparison, wall_fee_of
from hypernudge.evidence.verdicts.controls import AgainstControl, Interaction
from hypernudge.evidence.verdicts.criteria import Criterion
from hypernudge.evidence.verdicts.shift import hyperparameter_shifts
from hypernudge.results.plan import Variation

Event = dict[str, Any]


def spread(values: pd.Series) -> dict[str, float | None]:
    """Median, quartiles, mean and standard deviation of the finite values; None where undefined."""
    finite = values.to_numpy(dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        return dict.fromkeys(("median", "q25", "q75", "mean", "sd"))
    q25, median, q75 = (float(q) for q in np.quantile(finite, [0.25, 0.5, 0.75]))
    sd = float(np.std(finite, ddof=1)) if finite.size > 1 else None
    return {"median": median, "q25": q25, "q75": q75, "mean": float(finite.mean()), "sd": sd}


def summarise(study: StudyResults, variation: Variation) -> Event:
    """The summary event of one variation: counts, outcomes, cost, memory, survival, shifts.

    Quantiles of the time to target that fall among the censored cells are null: all that is known is that
    they exceed the budget.
    """
    cells = study.cells[study.cells["run_id"] == variation.run_id]
    present = cells[cells["status"] != "missing"]
    trials = study.trials[study.trials["run_id"] == variation.run_id]
    total = float(present["total_flops"].sum())
    fee = wall_fee_of(present["warm_start_seconds"], present["cell_seconds"])
    return {
        "run_id": variation.run_id,
        "event": "summary",
        "task": variation.task,
        "scheduler": variation.scheduler,
        "warm_start": variation.warm_start,
        "metric": variation.metric,
        "target": variation.target,
        "budget_seconds": float(present["budget"].iloc[0]) if len(present) else None,
        "planned": len(cells),
        "completed": int((cells["status"] == "completed").sum()),
        "crashed": int((cells["status"] == "crashed").sum()),
        "missing": int((cells["status"] == "missing").sum()),
        "missing_seeds": [int(seed) for seed in cells.loc[cells["status"] == "missing", "seed"]],
        "reached": int(present["reached"].sum()),
        "time_to_target": _censored_spread(present),
        "final_validation": spread(present["final"]),
        "final_test": spread(present["test"]),
        "best_so_far_auc": spread(present["auc"]),
        "trials": spread(present["trials"]),
        "trial_errors": int(present["errors"].sum()),
        "diverged_share": _share(trials["status"] == "diverged") if len(trials) else None,
        "nudged_share": _share(trials["changed"]) if len(trials) else None,
        "flagged": int(trials["flagged"].sum()) if len(trials) else 0,
        "finite_differences": int(trials["finite_differences"].sum()) if len(trials) else 0,
        "overhead": float(present["warm_start_flops"].sum()) / total if total > 0 else 0.0,
        "wall_fee": {
            "share": fee if math.isfinite(fee) else None,
            "median_seconds": spread(present["warm_start_seconds"])["median"],
        },
        "peak_memory_bytes": spread(present["peak_memory_bytes"])["median"],
        "wall_seconds": spread(present["total_seconds"])["median"],
        "bill": bill_of(study, variation),
        "rung_survival": rung_survival(trials["milestones"].tolist()) if len(trials) else {},
        "hyperparameter_shift": {
            s.name: {
                "scale": "log10" if s.log_scale else "linear",
                "nudged_shift": s.nudged_shift,
                "nudged_kl": s.nudged_kl,
                "winner_shift": s.winner_shift,
                "winner_kl": s.winner_kl,
            }
            for s in hyperparameter_shifts(trials)
        },
    }


def comparison_event(comparison: Comparison) -> Event:
    """The comparison event: everything about one method against its baseline, one verdict included."""
    test, sizes = comparison.test, comparison.effects
    return {
        "run_id": comparison.method.run_id,
        "event": "comparison",
        "baseline_run_id": comparison.baseline.run_id,
        "task": comparison.method.task,
        "scheduler": comparison.method.scheduler,
        "warm_start": comparison.method.warm_start,
        "baseline": comparison.baseline.warm_start,
        "status": comparison.status,
        "planned_pairs": comparison.planned,
        "pairs": test.pairs,
        "missing_pairs": comparison.missing,
        "crashed_baseline": comparison.count("baseline.status", "crashed"),
        "crashed_method": comparison.count("method.status", "crashed"),
        "target": comparison.method.target,
        "reached_baseline": comparison.count("baseline.reached"),
        "reached_method": comparison.count("method.reached"),
        "time_to_target": {
            "role": "primary",
            "wins": test.wins,
            "losses": test.losses,
            "ties": test.ties,
            "both_reached": test.both_reached,
            "one_reached": test.one_reached,
            "neither_reached": test.neither_reached,
            "p": test.p_value,
            "p_holm": comparison.p_holm,
            "favours": test.favours,
            "least_p": test.least_p,
            "best_case_p_holm": comparison.best_case_p,
            "family": comparison.family,
            "family_size": comparison.family_size,
            "test": f"censored paired Wilcoxon signed-rank, two-sided, {test.method}",
            "ratio": _interval(sizes.ratio),
            "ratio_jointly_reached": _interval(sizes.ratio_joint),
            "restricted_mean_ratio": _interval(sizes.restricted_mean_ratio),
            "hodges_lehmann_ratio": _interval(sizes.hodges_lehmann),
            "median_ratio": sizes.median_ratio,
            "win_probability": _interval(sizes.win_probability),
            "reached_difference": _interval(sizes.reached_difference),
            "sd_ratio": comparison.sd_ratio,
        },
        "best_so_far_auc": {
            "role": "secondary",
            "difference": _interval(comparison.auc),
            "p": comparison.auc_p,
            "p_holm": comparison.auc_p_holm,
        },
        "final_score": {
            "role": "exploratory",
            "relative_difference": _interval(comparison.final),
            "relative_to": {
                "score": comparison.final_differences.scale,
                "of": comparison.final_differences.of,
            },
            "near_zero": comparison.final_differences.near_zero,
            "not_worse": {
                "p": comparison.not_worse_p,
                "typical_pair": _interval(comparison.final_bounds.typical),
                "mean": _interval(comparison.final_bounds.mean),
                "worst_pair": comparison.final_bounds.worst,
                "best_pair": comparison.final_bounds.best,
            },
            "p": comparison.final_p,
            "test_difference": _interval(comparison.test_difference),
        },
        "overhead": comparison.overhead,
        "wall_fee": comparison.wall_fee if math.isfinite(comparison.wall_fee) else None,
        "memory_ratio": comparison.memory_ratio,
        "wall_seconds": {
            "role": "secondary",
            "pairs_on_like_hardware": comparison.wall_pairs,
            "ratio": _interval(comparison.wall),
        },
        "verdict": comparison.verdict.label,
        "reason": comparison.verdict.reason,
        "notes": list(comparison.notes),
    }


def criterion_event(criterion: Criterion) -> Event:
    """The criterion event: one success criterion of one method over all its settings."""
    return {
        "event": "criterion",
        "warm_start": criterion.warm_start,
        "criterion": criterion.name,
        "rule": criterion.rule,
        "planned": criterion.planned,
        "met": criterion.met,
        "not_met": criterion.not_met,
        "open": criterion.open,
        "share": _interval(criterion.share),
        "aggregate": {
            "of": criterion.aggregate_of,
            "tasks": criterion.tasks,
            **_interval(criterion.aggregate),
        },
        "judgement": criterion.judgement,
    }


def control_event(found: AgainstControl) -> Event:
    """The event of one method against one control."""
    method = found.comparison.method
    return {
        "event": "control",
        "run_id": method.run_id,
        "task": method.task,
        "scheduler": method.scheduler,
        "warm_start": method.warm_start,
        "role": found.role,
        "control": found.label,
        "pairs": found.pairs,
        "ratio": _interval(found.ratio),
        "p": found.p_value,
    }


def interaction_event(found: Interaction) -> Event:
    """The event of one factorial design in one setting."""
    return {
        "event": "interaction",
        "task": found.task,
        "scheduler": found.scheduler,
        "factors": list(found.factors),
        "both": found.both,
        "pairs": found.pairs,
        "ratio_of_ratios": _interval(found.ratio),
        "p": found.p_value,
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    limits = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: value if math.isfinite(value) else None for name, value in limits.items()}


def _share(flags: pd.Series) -> float:
    return float(flags.to_numpy(dtype=bool).mean())


def _censored_spread(present: pd.DataFrame) -> dict[str, float | None]:
    times = np.where(
        present["reached"].to_numpy(dtype=bool), present["time"].to_numpy(dtype=np.float64), np.inf
    )
    if times.size == 0:
        return {"q25": None, "median": None, "q75": None, "restricted_mean": None, "restricted_sd": None}
    quantiles = {}
    for name, level in (("q25", 0.25), ("median", 0.5), ("q75", 0.75)):
        # "higher" never interpolates between a time and infinity.
        value = float(np.quantile(times, level, method="higher"))
        quantiles[name] = value if math.isfinite(value) else None
    restricted = present["time"].to_numpy(dtype=np.float64)
    sd = float(np.std(restricted, ddof=1)) if restricted.size > 1 else None
    return {**quantiles, "restricted_mean": float(restricted.mean()), "restricted_sd": sd}

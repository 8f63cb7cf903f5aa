"""Tables of an evaluation, as frames; `formats` writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.loading.study import StudyResults
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.verdicts.comparisons import Comparison
from hypernudge.evidence.verdicts.controls import against_controls, interactions
from hypernudge.evidence.verdicts.criteria import Criterion
from hypernudge.evidence.verdicts.sensitivity import target_sensitivity


@dataclass(frozen=True)
class Table:
    """A frame with what it shows.

    Attributes:
        name: File name without suffix.
        caption: One line.
        frame: The numbers.
    """

    name: str
    caption: str
    frame: pd.DataFrame


def _labels(comparison: Comparison) -> dict[str, str]:
    """The columns that say which comparison a row is of."""
    method = comparison.method
    return {"task": method.task, "scheduler": method.scheduler, "method": method.warm_start}


def _limits(name: str, interval: Interval) -> dict[str, float]:
    """The three columns of an estimate with its interval."""
    return {name: interval.estimate, f"{name} low": interval.low, f"{name} high": interval.high}


def _share(comparison: Comparison, difference: float) -> float:
    """A relative difference of the final score in per cent; none where the score is near zero."""
    return math.nan if comparison.final_differences.near_zero else 100 * difference


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """One row per comparison: counts, ratio with interval, p values, differences, overhead, verdict."""
    rows = [
        {
            **_labels(c),
            "pairs": c.test.pairs,
            "planned": c.planned,
            "reached base": c.count("baseline.reached"),
            "reached method": c.count("method.reached"),
            **_limits("ratio", c.effects.ratio),
            "median ratio": c.effects.median_ratio,
            "p": c.test.p_value,
            "Holm p": c.p_holm,
            "final diff": c.final.estimate * c.final_differences.scale,
            "final diff %": _share(c, c.final.estimate),
            "final diff % low": _share(c, c.final.low),
            "final diff % high": _share(c, c.final.high),
            "final diff % typical": _share(c, c.final_bounds.typical.estimate),
            "final diff % worst": _share(c, c.final_bounds.worst),
            "final not worse p": c.not_worse_p,
            "AUC diff": c.auc.estimate,
            "AUC p": c.auc_p,
            "AUC Holm p": c.auc_p_holm,
            "overhead %": 100 * c.overhead,
            "wall fee %": 100 * c.wall_fee,
            "memory ratio": c.memory_ratio,
            "wall ratio": c.wall.estimate,
            "verdict": c.verdict.label,
        }
        for c in comparisons
    ]
    caption = (
        "each method against its baseline: times to target (ratio below 1 is sooner), scores, cost, verdict"
    )
    return Table("comparisons", caption, pd.DataFrame(rows))


def sensitivity_table(study: StudyResults, comparisons: Sequence[Comparison]) -> Table:
    """One row per comparison and target of its grid: the ratio, and how many reached that target."""
    frames = []
    for c in comparisons:
        grid = target_sensitivity(study, c)
        if grid.empty:
            continue
        labels = _labels(c)
        names = {
            "low": "ratio low",
            "high": "ratio high",
            "reached_baseline": "reached base",
            "reached_method": "reached method",
        }
        own = grid.rename(columns=names).assign(**labels, pairs=c.seeds.size)
        own["declared"] = np.where(own["declared"], "yes", "")
        frames.append(own[[*labels, "target", "declared", "pairs", *names.values(), "ratio"]])
    columns = ["task", "scheduler", "method", "target", "declared", "pairs", "reached base"]
    columns += ["reached method", "ratio", "ratio low", "ratio high"]
    frame = pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)
    caption = (
        "the ratio of times over a grid of targets, the declared one among them; none should stand alone"
    )
    return Table("tau_sensitivity", caption, frame)


def criterion_table(criteria: Sequence[Criterion]) -> Table:
    """One row per method and success criterion."""
    rows = [
        {
            "method": c.warm_start,
            "criterion": c.name,
            "planned": c.planned,
            "met": c.met,
            "not met": c.not_met,
            "open": c.open,
            **_limits("share", c.share),
            **_limits("aggregate", c.aggregate),
            "aggregate of": c.aggregate_of,
            "judgement": c.judgement,
        }
        for c in criteria
    ]
    return Table("criteria", "the success criteria of each method over all its settings", pd.DataFrame(rows))


def summary_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """One row per variation, from its summary event."""
    any_flagged = any(s["flagged"] for s in summaries)
    rows = [
        {
            "run id": s["run_id"],
            "cells": s["completed"] + s["crashed"],
            "planned": s["planned"],
            "crashed": s["crashed"],
            "reached": s["reached"],
            "T median [s]": s["time_to_target"]["median"],
            "T q25 [s]": s["time_to_target"]["q25"],
            "T q75 [s]": s["time_to_target"]["q75"],
            "validation": s["final_validation"]["median"],
            "test": s["final_test"]["median"],
            "AUC": s["best_so_far_auc"]["median"],
            "trials": s["trials"]["median"],
            "diverged %": None if s["diverged_share"] is None else 100 * s["diverged_share"],
            "nudged %": None if s["nudged_share"] is None else 100 * s["nudged_share"],
            **(
                {"flagged": s["flagged"], "finite differences": s["finite_differences"]}
                if any_flagged
                else {}
            ),
            "overhead %": 100 * s["overhead"],
            "wall fee %": _per_cent(s["wall_fee"]["share"]),
        }
        for s in summaries
    ]
    caption = "medians over seeds per variation; an empty time: that quantile is beyond the budget"
    if any_flagged:
        caption += (
            "; flagged trials, and those of them measured by finite differences, are counted over all seeds"
        )
    return Table("variations", caption, pd.DataFrame(rows))


def bill_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """One row per variation whose cells were measured: what they have cost, in all."""
    rows = []
    for s in summaries:
        bill = s["bill"]
        cluster = bill["cluster"] or {}
        if bill["core_seconds"] is None:
            continue
        rows.append(
            {
                "run id": s["run_id"],
                "cells": bill["cells"],
                "FLOPs": bill["total_flops"],
                "warm starts %": 100 * s["overhead"],
                "core h": _hours(bill["core_seconds"]),
                "GPU h": _hours(bill["gpu_seconds"]),
                "lost h": _hours(bill["lost_seconds"]),
                "peak memory [GB]": _gigabytes(bill["peak_memory_bytes"]),
                "peak GPU memory [GB]": _gigabytes(bill["peak_gpu_bytes"]),
                "wall fee %": _per_cent(s["wall_fee"]["share"]),
                "jobs": cluster.get("jobs"),
                "turns": cluster.get("turns"),
                "cluster core h": _hours(cluster.get("core_seconds")),
                "cluster allocated core h": _hours(cluster.get("allocated_core_seconds")),
                "cluster GPU h": _hours(cluster.get("gpu_seconds")),
            }
        )
    caption = (
        "what all cells of a variation have cost, measured by their workers and, where there is one, by the "
        "accounting of the cluster, which counts turns that were lost, too"
    )
    frame = pd.DataFrame(rows)
    return Table("bill", caption, frame.dropna(axis="columns", how="all"))


def _per_cent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _hours(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 3600


def _gigabytes(count: float | None) -> float | None:
    return None if count is None else count / 1e9


def control_table(comparisons: Sequence[Comparison], criteria: Criteria) -> Table:
    """One row per method and control."""
    rows = [
        {
            **_labels(c.comparison),
            "control": c.label,
            "role": c.role.replace("_", " "),
            "pairs": c.pairs,
            **_limits("ratio", c.ratio),
            "p": c.p_value,
        }
        for c in against_controls(comparisons, criteria)
    ]
    caption = "each method against the controls: above 1 the control was sooner; p values are not corrected"
    return Table("controls", caption, pd.DataFrame(rows))


def interaction_table(comparisons: Sequence[Comparison], criteria: Criteria) -> Table:
    """One row per declared factorial design and setting."""
    rows = [
        {
            "task": i.task,
            "scheduler": i.scheduler,
            "first": i.factors[0],
            "second": i.factors[1],
            "both": i.both,
            "pairs": i.pairs,
            "ratio of ratios": i.ratio.estimate,
            "low": i.ratio.low,
            "high": i.ratio.high,
            "p": i.p_value,
        }
        for i in interactions(comparisons, criteria)
    ]
    caption = "two factors together against the product of each alone: below 1 they help each other"
    return Table("interactions", caption, pd.DataFrame(rows))


def all_tables(
    study: StudyResults,
    comparisons: Sequence[Comparison],
    criteria: Sequence[Criterion],
    summaries: Sequence[dict[str, Any]],
) -> tuple[Table, ...]:
    """Every table that has a row, in the order in which they are read."""
    tables = (
        comparison_table(comparisons),
        criterion_table(criteria),
        control_table(comparisons, study.plan.criteria),
        interaction_table(comparisons, study.plan.criteria),
        summary_table(summaries),
        bill_table(summaries),
        sensitivity_table(study, comparisons),
    )
    return tuple(table for table in tables if len(table.frame))

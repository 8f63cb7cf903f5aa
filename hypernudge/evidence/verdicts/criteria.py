"""The five success criteria of a study, judged per method over all its (task, scheduler) settings.

Each criterion is met, not met, or open in every planned setting; the claim is that it is met in at least 75 %
of them.

    supported     met / planned >= 75 %, and the aggregate over tasks agrees
    refuted       even with every open setting counted as met, the upper limit of the share is below 75 %;
                  or the aggregate shows harm
    incomplete    neither, and records are missing
    inconclusive  neither

Missing and unpowered settings count as not met in the share, and as open when it comes to refuting.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.statistics.bootstrap import (
    Statistic,
    aggregate_interval,
    log_sd_ratio_statistic,
    mean_statistic,
)
from hypernudge.evidence.statistics.intervals import Interval, clopper_pearson, mean_interval
from hypernudge.evidence.statistics.noninferiority import subset_mean_or_student
from hypernudge.evidence.verdicts.comparisons import Comparison

Floats = NDArray[np.float64]
Judgement = Literal["supported", "refuted", "inconclusive", "incomplete"]

NAMES = ("time_to_target", "final_score", "compute_overhead", "peak_memory", "seed_spread")
SHARE = 0.75
OVERHEAD_LIMIT = 0.05
MEMORY_LIMIT = 1.10
SPREAD_LIMIT = 1.10


@dataclass(frozen=True)
class Criterion:
    """One criterion for one method.

    Attributes:
        warm_start: The method.
        name: time_to_target, final_score, compute_overhead, peak_memory or seed_spread.
        rule: The criterion in words.
        planned: Planned settings.
        met: Settings in which it is met.
        not_met: Settings in which it is shown not to be met.
        open: Settings that are missing, unpowered or undecided.
        share: met / planned with its exact (Clopper-Pearson) interval.
        aggregate: Over tasks, with its interval.
        aggregate_of: What the aggregate measures.
        tasks: Tasks that entered the aggregate.
        judgement: supported, refuted, inconclusive or incomplete.
    """

    warm_start: str
    name: str
    rule: str
    planned: int
    met: int
    not_met: int
    open: int
    share: Interval
    aggregate: Interval
    aggregate_of: str
    tasks: int
    judgement: Judgement


@dataclass(frozen=True)
class _Spec:
    name: str
    rule: str
    aggregate_of: str
    met: Callable[[Comparison], bool | None]
    columns: Callable[[Comparison], tuple[Floats, ...]]
    statistic: Statistic
    log_scale: bool
    agrees: Callable[[Interval], bool]
    harms: Callable[[Interval], bool]
    over_tasks: Callable[[Floats, float], Interval] = mean_interval


def judge_criteria(
    comparisons: Sequence[Comparison], criteria: Criteria, names: Sequence[str] = NAMES
) -> list[Criterion]:
    """The criteria for every method, in the order the methods appear.

    Args:
        comparisons: Every planned comparison of the study, judged.
        criteria: Margins and the bootstrap, from the plan.
        names: Which of the five; results of other tools know nothing of overhead or memory.
    """
    result: list[Criterion] = []
    for method in dict.fromkeys(c.method.warm_start for c in comparisons):
        own = [c for c in comparisons if c.method.warm_start == method]
        result.extend(_judge(spec, method, own, criteria) for spec in _specs(criteria) if spec.name in names)
    return result


def _judge(spec: _Spec, method: str, own: list[Comparison], criteria: Criteria) -> Criterion:
    decisions = [spec.met(c) if c.seeds.size else None for c in own]
    met, open_ = decisions.count(True), decisions.count(None)
    share = clopper_pearson(met, len(own))
    # Addressed by name: adding a method or a criterion changes nobody else's interval.
    rng = np.random.default_rng([criteria.bootstrap_seed, zlib.crc32(f"{method}/{spec.name}".encode())])
    tables = _tables(own, spec.columns)
    aggregate = aggregate_interval(
        tables, rng, statistic=spec.statistic, draws=criteria.bootstrap, over_tasks=spec.over_tasks
    )
    if spec.log_scale:
        aggregate = aggregate.exp()
    judgement: Judgement = "inconclusive"
    if met >= SHARE * len(own) and spec.agrees(aggregate):
        judgement = "supported"
    elif clopper_pearson(met + open_, len(own)).high < SHARE or (open_ < len(own) and spec.harms(aggregate)):
        judgement = "refuted"
    elif any(c.missing for c in own):
        judgement = "incomplete"
    return Criterion(
        warm_start=method,
        name=spec.name,
        rule=f"{spec.rule}, in at least {SHARE:.0%} of the settings",
        planned=len(own),
        met=met,
        not_met=decisions.count(False),
        open=open_,
        share=share,
        aggregate=aggregate,
        aggregate_of=spec.aggregate_of,
        tasks=len(tables),
        judgement=judgement,
    )


def _tables(own: list[Comparison], columns: Callable[[Comparison], tuple[Floats, ...]]) -> list[Floats]:
    """One array per task, shape (k, schedulers, seeds), NaN where a pair is missing."""
    tables = []
    for task in dict.fromkeys(c.method.task for c in own):
        inside = [c for c in own if c.method.task == task]
        seeds = np.unique(np.concatenate([c.seeds for c in inside]))
        width = len(columns(inside[0]))
        table = np.full((width, len(inside), seeds.size), np.nan)
        for row, comparison in enumerate(inside):
            position = np.searchsorted(seeds, comparison.seeds)
            for k, values in enumerate(columns(comparison)):
                table[k, row, position] = values
        if np.isfinite(table).all(axis=0).any():
            tables.append(table)
    return tables


def _positive_log(values: Floats) -> Floats:
    return np.log(np.where(values > 0, values, np.nan))


def _overheads(comparison: Comparison) -> tuple[Floats, ...]:
    total = comparison.column("method.total_flops")
    spent = comparison.column("method.warm_start_flops")
    return (np.divide(spent, total, out=np.zeros_like(spent), where=total > 0),)


def _memory(comparison: Comparison) -> tuple[Floats, ...]:
    method, baseline = (comparison.column(f"{side}.peak_memory_bytes") for side in ("method", "baseline"))
    return (_positive_log(method) - _positive_log(baseline),)


def _specs(criteria: Criteria) -> list[_Spec]:
    margin = criteria.final_margin

    def sooner(c: Comparison) -> bool | None:
        if c.verdict.label == "improved":
            return c.effects.median_ratio <= criteria.ratio
        return None if c.verdict.label == "unpowered" or c.missing else False

    def not_worse(c: Comparison) -> bool | None:
        if c.final_bounds.not_worse(margin):
            return True
        return False if c.final_bounds.worse(margin) else None

    return [
        _Spec(
            "time_to_target",
            f"verdict improved, and the median time to target reduced by at least {1 - criteria.ratio:.0%}",
            "geometric-mean ratio of times to target",
            sooner,
            lambda c: (c.log_ratio,),
            mean_statistic,
            True,
            lambda a: a.high < 1,
            lambda a: a.low > 1,
        ),
        _Spec(
            "final_score",
            f"final score worse by at most {100 * margin:g} % (typical pair and mean)",
            "mean relative difference of the final score",
            not_worse,
            lambda c: (c.final_relative,),
            mean_statistic,
            False,
            lambda a: a.low > -margin,
            lambda a: a.high < -margin,
            # One task that gains much must not speak against the others.
            over_tasks=subset_mean_or_student,
        ),
        _bounded(
            "compute_overhead",
            f"warm starts cost at most {OVERHEAD_LIMIT:.0%} of the compute",
            "share of the compute spent on warm starts",
            OVERHEAD_LIMIT,
            lambda c: c.overhead,
            _overheads,
            log_scale=False,
        ),
        _bounded(
            "peak_memory",
            f"median peak memory at most {MEMORY_LIMIT - 1:.0%} above the baseline's",
            "geometric-mean ratio of peak memory",
            MEMORY_LIMIT,
            lambda c: c.memory_ratio,
            _memory,
        ),
        _bounded(
            "seed_spread",
            f"standard deviation of the time to target inflated by at most {SPREAD_LIMIT - 1:.0%}",
            "geometric-mean ratio of the standard deviations over seeds",
            SPREAD_LIMIT,
            lambda c: c.sd_ratio,
            lambda c: (c.column("method.time"), c.column("baseline.time")),
            log_sd_ratio_statistic,
        ),
    ]


def _bounded(
    name: str,
    rule: str,
    aggregate_of: str,
    limit: float,
    value: Callable[[Comparison], float],
    columns: Callable[[Comparison], tuple[Floats, ...]],
    statistic: Statistic = mean_statistic,
    *,
    log_scale: bool = True,
) -> _Spec:
    """A criterion that is met where a number stays within its limit, in every setting and on the whole."""

    def met(comparison: Comparison) -> bool | None:
        found = value(comparison)
        return None if math.isnan(found) else found <= limit

    return _Spec(
        name,
        rule,
        aggregate_of,
        met,
        columns,
        statistic,
        log_scale,
        agrees=lambda a: a.estimate <= limit,
        harms=lambda a: a.low > limit,
    )

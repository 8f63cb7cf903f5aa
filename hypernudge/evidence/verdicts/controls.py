"""Is it the gradient? Every method against the controls of its setting, seed by seed; two factors together.

A method that beats the baseline but not a random step of the same size owes nothing to its gradient. Four
controls are looked for in every (task, scheduler); a fifth, the budget-matched placebo, is computed:

    random_step     a random step of the same size
    several_steps   more steps of the same kind
    gradient_free   what needs no gradient
    placebo         pays for the measurement, changes nothing: its cost alone

The budget-matched placebo: would the baseline do as well with the extra compute? If warm starts took the
share s of the method's compute, the baseline's time is multiplied by 1 - s. No runs are needed. The estimate
favours the baseline twice: the clock has already charged the method for its warm starts, and the whole share
is credited from the first second on.

All of these are exploratory: p values are not corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import pandas as pd

from hypernudge.evidence.loading.criteria_schema import BUDGET_MATCHED, CONTROLS
from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.statistics.effects import effects
from hypernudge.evidence.statistics.intervals import Interval, mean_interval
from hypernudge.evidence.statistics.paired import TimePairs, difference_test, paired_test
from hypernudge.evidence.verdicts.comparisons import Comparison


@dataclass(frozen=True)
class AgainstControl:
    """One method against one control, in one (task, scheduler).

    Attributes:
        comparison: The method.
        role: Which control.
        label: Warm-start label that plays it.
        ratio: Geometric-mean ratio of times, method over control, misses at the cap; below 1 is sooner.
        p_value: Of the censored paired test; not corrected.
        pairs: Seeds that both have.
    """

    comparison: Comparison
    role: str
    label: str
    ratio: Interval
    p_value: float
    pairs: int


@dataclass(frozen=True)
class Interaction:
    """Whether two factors together do more, or less, than the product of what each does alone.

    Attributes:
        task: Task label.
        scheduler: Scheduler label.
        factors: The two labels.
        both: Label of the two together.
        ratio: Ratio of ratios, T(both) T(baseline) / (T(first) T(second)), geometric mean over seeds, misses
            at the cap; below 1 they help each other.
        p_value: Exact signed-rank test of its logarithm; not corrected.
        pairs: Seeds that all four have.
    """

    task: str
    scheduler: str
    factors: tuple[str, str]
    both: str
    ratio: Interval
    p_value: float
    pairs: int


def against_controls(comparisons: Sequence[Comparison], criteria: Criteria) -> Iterator[AgainstControl]:
    """Yield every method against every control of its setting that is there, the computed one first."""
    settings = _by_setting(comparisons)
    for comparison in comparisons:
        if not comparison.seeds.size:
            continue
        if comparison.frame["method.total_flops"].notna().any():
            yield budget_matched(comparison)
        own = settings[_setting(comparison)]
        for role in CONTROLS:
            label = criteria.control(role)
            control = own.get(label or "")
            if control is None or label == comparison.method.warm_start:
                continue
            seeds = comparison.frame.index.intersection(control.frame.index)
            if len(seeds):
                method, other = comparison.frame.loc[seeds], control.frame.loc[seeds]
                yield _tested(comparison, role, str(label), _pairs(other, "method", method))


def budget_matched(comparison: Comparison) -> AgainstControl:
    """A method against the baseline with the method's cost as extra budget.

    A baseline that missed the target stays a miss at the same cap: the extra budget ends where the plain one
    did, in seconds of the placebo's clock, which is again in its favour.

    Args:
        comparison: With at least one pair.
    """
    frame = comparison.frame
    total = frame["method.total_flops"].to_numpy(dtype=np.float64)
    spent = frame["method.warm_start_flops"].to_numpy(dtype=np.float64)
    share = np.divide(spent, total, out=np.zeros_like(spent), where=total > 0)
    pairs = _pairs(frame, "baseline", frame)
    faster = replace(pairs, baseline_time=pairs.baseline_time * (1 - np.minimum(share, 0.99)))
    return _tested(comparison, BUDGET_MATCHED, comparison.baseline.warm_start, faster)


def interactions(comparisons: Sequence[Comparison], criteria: Criteria) -> Iterator[Interaction]:
    """Yield what the declared factorial designs say, in every setting that has all four variations."""
    for (task, scheduler), own in _by_setting(comparisons).items():
        for first, second, both in criteria.factorial:
            if not {first, second, both} <= set(own):
                continue
            frames = [own[label].frame for label in (first, second, both)]
            seeds = reduce(lambda left, right: left.intersection(right), [frame.index for frame in frames])
            a, b, ab = (
                np.log(frame.loc[seeds, "method.time"].to_numpy(dtype=np.float64)) for frame in frames
            )
            none = np.log(frames[0].loc[seeds, "baseline.time"].to_numpy(dtype=np.float64))
            log_ratio = ab + none - a - b
            test = difference_test(log_ratio)
            ratio = mean_interval(log_ratio).exp()
            yield Interaction(task, scheduler, (first, second), both, ratio, test.p_value, len(seeds))


def _setting(comparison: Comparison) -> tuple[str, str]:
    return comparison.method.task, comparison.method.scheduler


def _by_setting(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], dict[str, Comparison]]:
    settings: dict[tuple[str, str], dict[str, Comparison]] = {}
    for comparison in comparisons:
        settings.setdefault(_setting(comparison), {})[comparison.method.warm_start] = comparison
    return settings


def _pairs(baseline: pd.DataFrame, side: str, method: pd.DataFrame) -> TimePairs:
    """Columns `<side>` of one frame against the methods of another, row by row."""
    left, right = (
        (
            frame[f"{of}.time"].to_numpy(np.float64),
            frame[f"{of}.reached"].to_numpy(bool),
            frame[f"{of}.final"],
        )
        for frame, of in ((baseline, side), (method, "method"))
    )
    return TimePairs(*left[:2], left[2].to_numpy(np.float64), *right[:2], right[2].to_numpy(np.float64))


def _tested(comparison: Comparison, role: str, label: str, pairs: TimePairs) -> AgainstControl:
    return AgainstControl(
        comparison, role, label, effects(pairs).ratio, paired_test(pairs).p_value, len(pairs)
    )

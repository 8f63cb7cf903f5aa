"""Paired differences between variants: interval, exact signed-rank test, Holm over everything compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hypernudge.evidence.statistics.intervals import Interval, mean_interval
from hypernudge.evidence.statistics.multiplicity import holm
from hypernudge.evidence.statistics.paired import difference_test
from hypernudge.evidence.statistics.signed_rank import least_p_value
from hypernudge.experiments.report.runs import Run, Runs

METRICS: dict[str, Callable[[Run], float]] = {
    "final": lambda run: 100 * run.result.final_val_accuracy,
    "peak": lambda run: 100 * run.result.best_val_accuracy,
}
"""Accuracies in percent by name; a peak is chosen on the data it is reported on, so it flatters."""


@dataclass(frozen=True)
class Difference:
    """One variant against another on the seeds that both have.

    Attributes:
        condition: What was trained.
        metric: A key of `METRICS`.
        variant: The first.
        rival: The second.
        values: First minus second per seed, points of accuracy, shape (pairs,).
        mean: With its 95 % interval (Student's t).
        p: Exact two-sided signed-rank p.
        adjusted: After Holm over all comparisons of the metric.
        least_p: The smallest p that so many pairs can give.
    """

    condition: str
    metric: str
    variant: str
    rival: str
    values: NDArray[np.float64]
    mean: Interval
    p: float
    adjusted: float
    least_p: float


def paired_differences(runs: Runs) -> list[Difference]:
    """Compare variants with their baseline, and adaptive ones with the random control of their settings.

    Conditions without a baseline still compare adaptive with random. Holm is over all of a metric.
    """
    found: list[Difference] = []
    for metric, score in METRICS.items():
        raw = []
        for condition in runs.conditions:
            variants = runs.variants(condition)
            for first, second in rivals(variants):
                values = paired_values(variants[first], variants[second], _difference_of(score))
                if values.size:
                    raw.append((condition, first, second, values))
        p_values = [difference_test(values).p_value for *_, values in raw]
        for (condition, first, second, values), p, adjusted in zip(
            raw, p_values, holm(p_values), strict=True
        ):
            least = least_p_value(int(values.size))
            mean = mean_interval(values)
            found.append(
                Difference(condition, metric, first, second, values, mean, p, float(adjusted), least)
            )
    return found


def _difference_of(score: Callable[[Run], float]) -> Callable[[Run, Run], float]:
    return lambda first, second: score(first) - score(second)


def rivals(variants: Mapping[str, Sequence[Run]]) -> list[tuple[str, str]]:
    """Return which variants of a condition are compared, as (first, second)."""
    mode = {name: str(members[0].result.config["control_mode"]) for name, members in variants.items()}
    base = [name for name in variants if mode[name] == "baseline"]
    pairs = [(name, base[0]) for name in variants if base and mode[name] != "baseline"]
    for name in (name for name in variants if mode[name] == "adaptive"):
        suffix = name.partition(" (")[2]
        controls = [other for other in variants if mode[other] == "random"]
        same = [other for other in controls if other.partition(" (")[2] == suffix]
        chosen = same or (controls if len(controls) == 1 else [])
        pairs += [(name, chosen[0])] if chosen else []
    return pairs


def paired_values(
    first: Sequence[Run], second: Sequence[Run], compare: Callable[[Run, Run], float]
) -> NDArray[np.float64]:
    """Return `compare` of the two runs of each common seed, in the order of seeds."""
    other = {run.result.seed: run for run in second}
    return np.array(
        [compare(run, other[run.result.seed]) for run in first if run.result.seed in other], dtype=np.float64
    )

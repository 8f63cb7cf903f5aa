"""Type I error, power, coverage and family-wise error of everything a verdict is made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.evidence.simulate import World, draw
from hypernudge.evidence.bootstrap import aggregate_interval, hierarchical_bootstrap
from hypernudge.evidence.effects import effects
from hypernudge.evidence.intervals import Interval, mean_interval
from hypernudge.evidence.multiplicity import holm
from hypernudge.evidence.paired import difference_test, paired_test
from hypernudge.random import stream

ALPHA = 0.05
PAIRS = 30
TYPE_1_LIMIT = 0.055
COVERAGE_LIMITS = (0.93, 0.97)
WORLDS = tuple((censoring, ties) for censoring in (0.0, 0.3, 0.6) for ties in (False, True))
INTERVALS = (
    *("ratio", "ratio_joint", "restricted_mean_ratio", "hodges_lehmann", "win_probability"),
    *("reached_difference", "final_difference", "auc_difference"),
)


def type_1_error(studies: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Share of studies of equal methods in which a test rejects at .05: world -> test -> share."""
    result = {}
    for censoring, ties in WORLDS:
        world = World(censoring, ties)
        rng = stream(seed, "type 1", world.name)
        rejected: Counter[str] = Counter()
        for _ in range(studies):
            pairs, area = draw(world, PAIRS, rng)
            rejected["time_to_target"] += paired_test(pairs).p_value < ALPHA
            rejected["final_score"] += (
                difference_test(pairs.method_final - pairs.baseline_final).p_value < ALPHA
            )
            rejected["best_so_far_auc"] += difference_test(area).p_value < ALPHA
        result[world.name] = {name: count / studies for name, count in rejected.items()}
    return result


def power(studies: int, seed: int = 0, ratio: float = 0.75) -> dict[str, dict[str, float]]:
    """Share of studies with a true ratio in which the censored test rejects: world -> pairs -> share.

    Beside it, what is left when pairs with a miss are dropped.
    """
    result = {}
    for censoring, ties in WORLDS:
        world = World(censoring, ties, ratio)
        shares = {}
        for pairs in (10, 20, 30):
            rng = stream(seed, "power", world.name, pairs)
            kept = dropped = 0
            for _ in range(studies):
                study, _ = draw(world, pairs, rng)
                kept += paired_test(study).p_value < ALPHA
                joint = study.method_reached & study.baseline_reached
                dropped += difference_test(study.log_ratio[joint]).p_value < ALPHA
            shares[str(pairs)] = kept / studies
            shares[f"{pairs}, misses dropped"] = dropped / studies
        result[world.name] = shares
    return result


def coverage(studies: int, seed: int = 0, ratio: float = 0.75) -> dict[str, dict[str, float]]:
    """Share of studies whose 95 % interval holds the truth: world -> interval -> share.

    The truth of every estimand, cap-imputed and conditional ones included, is its value in a study of two
    million pairs of the same world.
    """
    result = {}
    for censoring, ties in WORLDS:
        world = World(censoring, ties, ratio)
        truth = _truth(world, stream(seed, "truth", world.name))
        rng = stream(seed, "coverage", world.name)
        covered: Counter[str] = Counter()
        defined: Counter[str] = Counter()
        for _ in range(studies):
            pairs, area = draw(world, PAIRS, rng)
            for name, interval in _intervals(pairs, area).items():
                if math.isfinite(interval.low) and math.isfinite(interval.high):
                    defined[name] += 1
                    # A limit at the truth covers: with ties both are the same number up to rounding.
                    tolerance = 1e-9
                    covered[name] += interval.low - tolerance <= truth[name] <= interval.high + tolerance
        result[world.name] = {name: covered[name] / max(defined[name], 1) for name in INTERVALS}
    return result


def _intervals(pairs: Any, area: Any) -> dict[str, Interval]:
    sizes = effects(pairs)
    return {
        **{name: getattr(sizes, name) for name in INTERVALS[:6]},
        "final_difference": mean_interval(pairs.method_final - pairs.baseline_final),
        "auc_difference": mean_interval(area),
    }


def _truth(world: World, rng: np.random.Generator) -> dict[str, float]:
    pairs, area = draw(world, 2_000_000, rng)
    log_ratio = pairs.log_ratio
    joint = pairs.method_reached & pairs.baseline_reached
    signs = np.where(
        joint,
        -np.sign(log_ratio),
        np.where(
            pairs.method_reached ^ pairs.baseline_reached,
            np.where(pairs.method_reached, 1.0, -1.0),
            np.sign(pairs.method_final - pairs.baseline_final),
        ),
    )
    # The pseudo-median: the median of the mean of two independent pairs.
    walsh = (log_ratio + np.roll(log_ratio, 1)) / 2
    return {
        "ratio": math.exp(log_ratio.mean()),
        "ratio_joint": math.exp(log_ratio[joint].mean()),
        "restricted_mean_ratio": float(pairs.method_time.mean() / pairs.baseline_time.mean()),
        "hodges_lehmann": math.exp(float(np.median(walsh))),
        "win_probability": float((signs > 0).mean() + 0.5 * (signs == 0).mean()),
        "reached_difference": float(pairs.method_reached.mean() - pairs.baseline_reached.mean()),
        "final_difference": float((pairs.method_final - pairs.baseline_final).mean()),
        "auc_difference": float(area.mean()),
    }


def aggregate_coverage(studies: int, seed: int = 0) -> dict[str, dict[str, float]]:
    """Coverage of the interval over tasks, and of the percentile bootstrap it replaced: setting -> share."""
    return {
        name: {
            f"{tasks} tasks, sd {spread}": _aggregate(tasks, spread, count, seed, method)
            for tasks in (1, 3, 10, 30)
            for spread in ((0.0,) if tasks == 1 else (0.0, 0.1, 0.3))
        }
        for name, method, count in (
            ("aggregate", aggregate_interval, studies),
            # Twenty times as slow, and only there to be compared with.
            ("percentile_bootstrap", hierarchical_bootstrap, max(100, studies // 10)),
        )
    }


def _aggregate(tasks: int, spread: float, studies: int, seed: int, method: Callable[..., Interval]) -> float:
    rng = stream(seed, "aggregate", tasks, str(spread))
    covered = 0
    for _ in range(studies):
        values = [(spread * rng.normal() + 0.4 * rng.normal(size=(1, 1, 20))) for _ in range(tasks)]
        interval = method(values, rng, draws=400)
        covered += interval.low <= 0.0 <= interval.high
    return covered / studies


def family_wise_error(studies: int, seed: int = 0, size: int = 12) -> dict[str, float]:
    """Share of families in which Holm rejects a true null: all null, and half of them real effects."""
    result = {}
    for label, real in (("all null", 0), ("half real", size // 2)):
        rng = stream(seed, "family", label)
        wrong = 0
        for _ in range(studies):
            worlds = [World(0.3, bool(k % 2), 0.6 if k < real else 1.0) for k in range(size)]
            p = [paired_test(draw(world, PAIRS, rng)[0]).p_value for world in worlds]
            wrong += bool(np.any(holm(p)[real:] < ALPHA))
        result[label] = wrong / studies
    return result

"""Type I error, power, coverage and family-wise error of everything a verdict is made of.

Each world is simulated on its own, from streams addressed by its name; `spread` maps over worlds, in this
process (`map`) or in several.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.evidence.simulate import World, draw
from hypernudge.evidence.statistics.bootstrap import (
    aggregate_interval,
    hierarchical_bootstrap,
    mean_statistic,
)
from hypernudge.evidence.statistics.effects import effects
from hypernudge.evidence.statistics.intervals import Interval, clopper_pearson
from hypernudge.evidence.statistics.multiplicity import holm
from hypernudge.evidence.statistics.noninferiority import subset_mean_interval
from hypernudge.evidence.statistics.paired import difference_test, paired_test
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


Spread = Callable[..., Iterable[Any]]
"""What maps a function over worlds: `map`, or the `map` of an executor."""

Shares = dict[str, dict[str, float]]


def type_1_error(studies: int, seed: int = 0, spread: Spread = map) -> Shares:
    """Share of studies of equal methods in which a test rejects at .05: world -> test -> share.

    The tests are exact, so whatever a simulation shows above .05 is its own error: sqrt(.05 * .95 / studies),
    .0034 for 4,000 studies, and the largest of eighteen such numbers lies about two of those above the truth.
    """
    return _by_world(partial(_rejections, studies=studies, seed=seed), spread)


def _rejections(world: World, *, studies: int, seed: int) -> dict[str, float]:
    rng = stream(seed, "type 1", world.name)
    rejected: Counter[str] = Counter()
    for _ in range(studies):
        pairs, area = draw(world, PAIRS, rng)
        final = pairs.method_final - pairs.baseline_final
        rejected["time_to_target"] += paired_test(pairs).p_value < ALPHA
        rejected["final_score"] += difference_test(final).p_value < ALPHA
        rejected["best_so_far_auc"] += difference_test(area).p_value < ALPHA
    return {name: count / studies for name, count in rejected.items()}


def power(studies: int, seed: int = 0, spread: Spread = map, ratio: float = 0.75) -> Shares:
    """Share of studies with a true ratio in which the censored test rejects: world -> pairs -> share.

    Beside it, what is left when pairs with a miss are dropped.
    """
    return _by_world(partial(_powers, studies=studies, seed=seed), spread, ratio)


def _powers(world: World, *, studies: int, seed: int) -> dict[str, float]:
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
    return shares


def coverage(studies: int, seed: int = 0, spread: Spread = map, ratio: float = 0.75) -> Shares:
    """Share of studies whose 95 % interval holds the truth: world -> interval -> share.

    The truth of every estimand, cap-imputed and conditional ones included, is its value in a study of two
    million pairs of the same world. An estimand that is the same number in every study has no coverage to
    speak of (without censoring both sides always reach the target) and is left out.
    """
    return _by_world(partial(_coverages, studies=studies, seed=seed), spread, ratio)


def _coverages(world: World, *, studies: int, seed: int) -> dict[str, float]:
    truth = _truth(world, stream(seed, "truth", world.name))
    rng = stream(seed, "coverage", world.name)
    covered: Counter[str] = Counter()
    defined: Counter[str] = Counter()
    seen: dict[str, set[float]] = {name: set() for name in INTERVALS}
    for _ in range(studies):
        pairs, area = draw(world, PAIRS, rng)
        for name, interval in _intervals(pairs, area).items():
            if math.isfinite(interval.low) and math.isfinite(interval.high):
                defined[name] += 1
                # A limit at the truth covers: with ties both are the same number up to rounding.
                tolerance = 1e-9
                covered[name] += interval.low - tolerance <= truth[name] <= interval.high + tolerance
                if len(seen[name]) < 2:
                    seen[name].add(interval.estimate)
    return {name: covered[name] / defined[name] for name in INTERVALS if len(seen[name]) > 1}


def _by_world(measure: Callable[[World], dict[str, float]], spread: Spread, ratio: float = 1.0) -> Shares:
    worlds = [World(censoring, ties, ratio) for censoring, ties in WORLDS]
    return dict(zip((world.name for world in worlds), spread(measure, worlds), strict=True))


def _intervals(pairs: Any, area: Any) -> dict[str, Interval]:
    sizes = effects(pairs)
    return {
        **{name: getattr(sizes, name) for name in INTERVALS[:6]},
        "final_difference": subset_mean_interval(pairs.method_final - pairs.baseline_final),
        "auc_difference": subset_mean_interval(area),
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


def aggregate_coverage(studies: int, seed: int = 0, spread: Spread = map) -> Shares:
    """Coverage of the interval over tasks, and of the percentile bootstrap it replaced: setting -> share."""
    settings = [(tasks, sd) for tasks in (1, 3, 10, 30) for sd in ((0.0,) if tasks == 1 else (0.0, 0.1, 0.3))]
    names = [f"{tasks} tasks, sd {sd}" for tasks, sd in settings]
    return {
        label: dict(
            zip(
                names,
                spread(partial(_aggregate, studies=count, seed=seed, bootstrap=bootstrap), settings),
                strict=True,
            )
        )
        for label, bootstrap, count in (
            ("aggregate", False, studies),
            # Twenty times as slow, and only there to be compared with.
            ("percentile_bootstrap", True, max(20, studies // 10)),
        )
    }


def _aggregate(setting: tuple[int, float], *, studies: int, seed: int, bootstrap: bool) -> float:
    tasks, sd = setting
    rng = stream(seed, "aggregate", tasks, str(sd))
    covered = 0
    for _ in range(studies):
        values = [(sd * rng.normal() + 0.4 * rng.normal(size=(1, 1, 20))) for _ in range(tasks)]
        if bootstrap:
            interval = hierarchical_bootstrap(values, rng, mean_statistic, 400)
        else:
            interval = aggregate_interval(values, rng, draws=400)
        covered += interval.low <= 0.0 <= interval.high
    return covered / studies


def share_coverage() -> dict[str, float]:
    """Coverage of the exact interval of a share, itself exact: settings and true share -> coverage.

    Clopper-Pearson promises at least .95, always; with few settings that makes it longer than it need be.
    """
    return {
        f"{settings} tuples, share {share}": sum(
            math.comb(settings, met) * share**met * (1 - share) ** (settings - met)
            for met in range(settings + 1)
            if (interval := clopper_pearson(met, settings)).low <= share <= interval.high
        )
        for settings in (3, 12, 24, 60)
        for share in (0.5, 0.75, 0.9)
    }


def family_wise_error(studies: int, seed: int = 0, spread: Spread = map, size: int = 12) -> dict[str, float]:
    """Share of families in which Holm rejects a true null: all null, and half of them real effects."""
    real = {"all null": 0, "half real": size // 2}
    # In eight parts, so that processes have something to share.
    parts = [(label, part) for label in real for part in range(8)]
    counts = spread(partial(_wrong, studies=studies // 8, seed=seed, size=size, real=real), parts)
    wrong: Counter[str] = Counter()
    for (label, _), count in zip(parts, counts, strict=True):
        wrong[label] += count
    return {label: wrong[label] / (studies // 8 * 8) for label in real}


def _wrong(part: tuple[str, int], *, studies: int, seed: int, size: int, real: dict[str, int]) -> int:
    label, number = part
    rng = stream(seed, "family", label, number)
    wrong = 0
    for _ in range(studies):
        worlds = [World(0.3, bool(k % 2), 0.6 if k < real[label] else 1.0) for k in range(size)]
        p = [paired_test(draw(world, PAIRS, rng)[0]).p_value for world in worlds]
        wrong += bool(np.any(holm(p)[real[label] :] < ALPHA))
    return wrong

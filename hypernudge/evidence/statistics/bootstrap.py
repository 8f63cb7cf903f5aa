"""Aggregates over tasks, then seeds, with every pair kept intact.

`aggregate_interval` is what verdicts use. The estimate is the mean over tasks of a statistic over seeds;
tasks are the sample. Because each task's value already carries the noise of its own seeds, Student's t over
the tasks' values covers as it says whether tasks differ much or not at all. The percentile interval of a
hierarchical bootstrap (`hierarchical_bootstrap`, kept for comparison) does not: resampling seeds within
resampled tasks counts the seeds' noise twice, and few tasks make it short. Simulated coverage at a nominal
.95, 20 seeds: 3 tasks that differ .80 against .94, 30 equal tasks .99 against .95 (`benchmarks.evidence`).

With one task the interval speaks of that task only, from a bootstrap over its seeds. A drawn seed brings its
pairs under every scheduler, so correlation between schedulers that share a seed stays in the interval. With
two or three tasks it is wide, as it must be, and their number belongs beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from hypernudge.evidence.statistics.intervals import (
    ROUNDING,
    UNDEFINED,
    Interval,
    check_level,
    mean_interval,
)

Floats = NDArray[np.float64]

Statistic = Callable[[Floats, Floats], Floats]
"""From values, shape (k, schedulers, seeds), NaN where missing, and seed counts, shape (draws, seeds), to
shape (draws,)."""


def mean_statistic(values: Floats, counts: Floats) -> Floats:
    """Mean over seeds, then over schedulers.

    Args:
        values: shape (1, schedulers, seeds), NaN where a pair is missing.
        counts: shape (draws, seeds), how often each seed was drawn.

    Returns:
        shape (draws,), NaN where a draw holds no pair at all.
    """
    present = np.isfinite(values[0])
    filled = np.where(present, values[0], 0.0)
    return _nan_mean(_divide(counts @ filled.T, counts @ present.T.astype(np.float64)))


def log_sd_ratio_statistic(values: Floats, counts: Floats) -> Floats:
    """Log of the ratio of two standard deviations over seeds, then the mean over schedulers.

    Args:
        values: shape (2, schedulers, seeds): the method's and the baseline's values, NaN where a pair is
            missing.
        counts: shape (draws, seeds).

    Returns:
        shape (draws,), NaN where a standard deviation is zero in every scheduler of the draw.
    """
    present = np.isfinite(values).all(axis=0)
    weight = counts @ present.T.astype(np.float64)
    variance = []
    for side in values:
        # Centring first keeps the difference of moments accurate.
        centre = np.nan_to_num(_nan_mean(np.where(present, side, np.nan)))
        centred = np.where(present, side - centre[:, None], 0.0)
        found = _divide(counts @ (centred**2).T, weight) - _divide(counts @ centred.T, weight) ** 2
        # A draw of seeds that are all at the cap has no spread; the difference of moments leaves rounding.
        rounding = ROUNDING * (centred**2).max(axis=1, initial=0.0) + (ROUNDING * centre) ** 2
        variance.append(np.where(found > rounding, found, np.nan))
    method, baseline = variance
    return _nan_mean(0.5 * (np.log(method) - np.log(baseline)))


def aggregate_interval(
    tasks: Sequence[Floats],
    rng: np.random.Generator,
    *,
    statistic: Statistic = mean_statistic,
    draws: int = 2000,
    level: float = 0.95,
    over_tasks: Callable[[Floats, float], Interval] = mean_interval,
) -> Interval:
    """Interval of a statistic averaged over tasks.

    Args:
        tasks: one array per task, shape (k, schedulers, seeds), paired values with NaN where missing.
        rng: Source of randomness; used with a single task only.
        statistic: What to compute within a task.
        draws: Bootstrap draws for a single task, at least 100.
        level: Confidence level.
        over_tasks: From the values of several tasks, shape (tasks,), and the level to the interval.

    Raises:
        ValueError: as `hierarchical_bootstrap`.

    Source: Hesterberg (2015), "What teachers should know about the bootstrap", The American Statistician 69,
        section 4.3, for the expanded percentiles of a single task.
    """
    check_level(level)
    tasks = [values for values in tasks if bool(np.isfinite(values).all(axis=0).any())]
    if len(tasks) == 1:
        seeds = int(np.isfinite(tasks[0]).all(axis=0).any(axis=0).sum())
        if seeds < 2:
            return hierarchical_bootstrap(tasks, rng, statistic, draws, level)
        # A bootstrap of n values is narrow by sqrt((n - 1) / n) and by the normal instead of the t quantile.
        t = float(stdtrit(seeds - 1, 0.5 + level / 2)) * math.sqrt(seeds / (seeds - 1))
        expanded = min(1 - 2 * float(ndtr(-t)), 0.9999)
        return hierarchical_bootstrap(tasks, rng, statistic, draws, expanded)
    whole = np.array([float(statistic(values, np.ones((1, values.shape[2])))[0]) for values in tasks])
    return over_tasks(whole[np.isfinite(whole)], level)


def hierarchical_bootstrap(
    tasks: Sequence[Floats], rng: np.random.Generator, statistic: Statistic, draws: int, level: float = 0.95
) -> Interval:
    """Percentile interval of a statistic averaged over tasks: tasks are drawn, then seeds within each.

    Arguments as in `aggregate_interval`; `draws` counts draws of tasks and seeds together.

    Raises:
        ValueError: fewer than 100 draws, an invalid level, or an array that is not three-dimensional.
    """
    check_level(level)
    if draws < 100:
        raise ValueError(f"draws must be at least 100 for a 95 % interval, got {draws}; 2000 is usual.")
    if any(values.ndim != 3 for values in tasks):
        raise ValueError("every task must be an array of shape (k, schedulers, seeds).")
    tasks = [values for values in tasks if bool(np.isfinite(values).all(axis=0).any())]
    if not tasks:
        return UNDEFINED
    whole = [float(statistic(values, np.ones((1, values.shape[2])))[0]) for values in tasks]
    estimate = float(_nan_mean(np.array([whole]))[0])
    drawn = rng.integers(len(tasks), size=(draws, len(tasks)))
    means = bootstrap_means(tasks, drawn, rng, statistic)
    means = means[np.isfinite(means)]
    if means.size < 0.9 * draws:
        return Interval(estimate, float("nan"), float("nan"))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))


def bootstrap_means(
    tasks: Sequence[Floats], drawn: NDArray[np.int64], rng: np.random.Generator, statistic: Statistic
) -> Floats:
    """The statistic of every bootstrap draw.

    Args:
        tasks: as in `hierarchical_bootstrap`.
        drawn: shape (draws, slots), index of the task in each slot.
        rng: Draws the seeds, task by task in order, one multinomial vector of counts per slot.
        statistic: as in `hierarchical_bootstrap`.

    Returns:
        shape (draws,).
    """
    slots = np.full(drawn.shape, np.nan)
    for index, values in enumerate(tasks):
        here = drawn == index
        seeds = values.shape[2]
        counts = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=int(here.sum())).astype(np.float64)
        slots[here] = statistic(values, counts)
    return _nan_mean(slots)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result


def _nan_mean(values: Floats) -> Floats:
    """Mean over the last axis of the finite entries; NaN, without a warning, where there is none."""
    finite = np.isfinite(values)
    return _divide(np.where(finite, values, 0.0).sum(axis=-1), finite.sum(axis=-1).astype(np.float64))

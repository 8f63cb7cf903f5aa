"""Is the final score no worse? In the typical pair, and in the mean.

Two questions about the paired relative differences d (method minus baseline), both at level 1 - alpha, both
of which must be answered with yes:

    typical pair  pseudo-median (Hodges-Lehmann) above -margin: signed-rank test of d + margin
    mean          mean above -margin: sign-flip permutation test of d + margin

The ranks see a small loss in most pairs that one large gain hides from a mean; the mean sees a large loss in
two of thirty pairs, which ranks count as two. Each test is exact where d is symmetric about its centre, and
each bound is the inversion of its test: the test rejects exactly where the bound lies above the margin. A
difference at the margin counts as a loss. The p value of both together is the larger one (an
intersection-union test), so the level needs no correction.

A gain never speaks against a method, as it does with Student's t, where it widens the interval:

    >>> import numpy as np
    >>> d = np.append(np.zeros(29), 0.5)
    >>> score_bounds(d, 0.05).not_worse(0.002), float(d.mean() - 1.7 * d.std(ddof=1) / 30**0.5) > -0.002
    (True, False)

Neither sees a loss that did not happen in the pairs there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from hypernudge.evidence.statistics.effects import hodges_lehmann
from hypernudge.evidence.statistics.intervals import UNDEFINED, Interval, check_level, mean_interval
from hypernudge.evidence.statistics.signed_rank import EXACT_LIMIT, untied_lower_tail
from hypernudge.random import stream

Floats = NDArray[np.float64]

SUBSETS = 4095
"""Subsets of the pairs whose means are taken: all of them up to twelve pairs, as many random ones beyond."""

TOLERANCE = 1e-12
"""A difference this close to the margin is at the margin: .998 - 1 is not -.002 in floating point."""


@dataclass(frozen=True)
class Relative:
    """Paired differences of a score on a scale that is never near zero.

    Attributes:
        values: shape (n,), (method - baseline) / scale.
        scale: Score that a difference of 100 % is worth.
        of: What the scale is, in words.
    """

    values: Floats
    scale: float
    of: str

    @property
    def near_zero(self) -> bool:
        """Whether a share of the score misleads, so small is the score beside its differences."""
        return self.of != _LEVEL or bool(np.any(np.abs(self.values) > 1))

    def shown(self, share: float) -> str:
        """A difference for people: a signed percentage, or in units of the score where that is near zero."""
        return f"{share * self.scale:+.3g} abs." if self.near_zero else percent(share)


def percent(share: float) -> str:
    """A share as a signed percentage with two decimals."""
    return f"{100 * share:+.2f} %".replace("-0.00 %", "+0.00 %")


_LEVEL = "median final score of the baseline"


def relative(method: Floats, baseline: Floats) -> Relative:
    """Differences relative to the baseline's median score, or to a usual difference where that is larger.

    A score such as R^2 or a log likelihood may have its median next to zero, where a share of it says
    nothing; then 100 % is the median size of the differences that are not zero. Medians, not means: one
    diverged run among the baseline's would make every loss look small.

    Args:
        method: shape (n,).
        baseline: shape (n,).
    """
    difference = method - baseline
    other = np.abs(difference[difference != 0])
    usual = float(np.median(other)) if other.size else 0.0
    level = abs(float(np.median(baseline))) if baseline.size else 0.0
    if level >= usual:
        # Both zero: there is no difference, and nothing to divide by.
        return Relative(difference / (level or 1.0), level, _LEVEL)
    return Relative(difference / usual, usual, "median difference, as the baseline's score is near zero")


@dataclass(frozen=True)
class ScoreBounds:
    """One-sided bounds of the relative difference of the final score, each at level 1 - alpha.

    Attributes:
        typical: Pseudo-median, with its lower and its upper bound.
        mean: Mean, with its lower and its upper bound.
        worst: The most negative difference.
        best: The most positive one.
    """

    typical: Interval
    mean: Interval
    worst: float
    best: float

    def not_worse(self, margin: float) -> bool:
        """Whether typical pair and mean are both shown to lose less than the margin."""
        return all(part.low > TOLERANCE - margin for part in (self.typical, self.mean))

    def not_better(self, margin: float) -> bool:
        """The mirror: whether both are shown to gain less than the margin."""
        return self.mirrored().not_worse(margin)

    def worse(self, margin: float) -> bool:
        """Whether typical pair or mean is shown to lose more than the margin."""
        return any(part.high < -TOLERANCE - margin for part in (self.typical, self.mean))

    def mirrored(self) -> ScoreBounds:
        """The bounds with the sides exchanged."""
        typical, mean = (Interval(-i.estimate, -i.high, -i.low) for i in (self.typical, self.mean))
        return ScoreBounds(typical, mean, -self.best, -self.worst)


def score_bounds(differences: Floats, alpha: float) -> ScoreBounds:
    """Both bounds on both sides; NaN where so few pairs have none (fewer than five at alpha .05).

    Args:
        differences: shape (n,).
        alpha: Level of each one-sided bound; none exists from one half on.
    """
    if not differences.size or alpha >= 0.5 or not bool(np.all(np.isfinite(differences))):
        return ScoreBounds(UNDEFINED, UNDEFINED, math.nan, math.nan)
    # Two one-sided bounds at 1 - alpha are the limits of a two-sided interval at 1 - 2 alpha.
    level = 1 - 2 * alpha
    return ScoreBounds(
        hodges_lehmann(differences, level),
        subset_mean_interval(differences, level),
        float(differences.min()),
        float(differences.max()),
    )


def not_worse_p(differences: Floats, margin: float) -> tuple[float, float]:
    """One-sided p values of the two tests, typical pair and mean; the larger one is that of the rule.

    Args:
        differences: shape (n,).
        margin: Loss that is still not worse, positive.

    Returns:
        (1, 1) without pairs, or where a difference is not finite.
    """
    n = differences.size
    if not n or not bool(np.all(np.isfinite(differences))):
        return 1.0, 1.0
    shifted = differences + margin
    against = walsh_at_most(shifted, TOLERANCE)
    if n <= EXACT_LIMIT:
        typical = untied_lower_tail(n, against)
    else:
        middle, sd = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        typical = float(ndtr((against + 0.5 - middle) / sd))
    if n > EXACT_LIMIT:
        sd = float(np.std(shifted, ddof=1)) / math.sqrt(n)
        mean = float(ndtr(-float(np.mean(shifted)) / sd)) if sd else float(shifted[0] <= TOLERANCE)
    else:
        means = subset_means(shifted)
        # The empty subset, which is not among them, always counts against.
        mean = (1 + int(np.sum(means <= TOLERANCE))) / (means.size + 1)
    return typical, mean


def walsh_at_most(values: Floats, limit: float) -> int:
    """How many of the averages of two values, each with itself included, are at most `limit`.

    Args:
        values: shape (n,).
        limit: A number.
    """
    ordered = np.sort(values)
    beyond = np.searchsorted(ordered, 2 * limit - ordered, side="right")
    return int((int(beyond.sum()) + int(np.sum(ordered <= limit))) // 2)


def subset_mean_interval(values: Floats, level: float = 0.95) -> Interval:
    """Interval of a mean that inverts the sign-flip permutation test: quantiles of means of random subsets.

    The subsets are fixed for a number of values, so the same values always have the same interval. Beyond
    `EXACT_LIMIT` values it is Student's.

    Args:
        values: shape (n,). No interval (NaN) where 2^-n exceeds half of 1 - level: fewer than six values at
            .95.
        level: Confidence level.

    Source: Hartigan (1969), "Using subsample values as typical values", J. Am. Stat. Assoc. 64, 1303-1317.
    """
    check_level(level)
    n = int(np.size(values))
    if n == 0 or n > EXACT_LIMIT:
        return mean_interval(values, level)
    means = subset_means(np.asarray(values, dtype=np.float64))
    estimate = float(np.mean(values))
    # A little more, so that .05 * 4096 in floating point never loses a whole one.
    cut = math.floor((1 - level) / 2 * (means.size + 1) + 1e-9)
    if cut < 1:
        return Interval(estimate, math.nan, math.nan)
    means.partition((cut - 1, means.size - cut))
    return Interval(estimate, float(means[cut - 1]), float(means[means.size - cut]))


def subset_mean_or_student(values: Floats, level: float = 0.95) -> Interval:
    """As `subset_mean_interval`; Student's where so few values, a handful of tasks, have none."""
    found = subset_mean_interval(values, level)
    return found if math.isfinite(found.low) else mean_interval(values, level)


def subset_means(values: Floats) -> Floats:
    """Means of the subsets of the values; shape (subsets,)."""
    members, sizes = _subsets(values.size)
    # Not BLAS, which would start threads for it.
    return np.asarray(np.einsum("ij,j->i", members, values) / sizes)


@lru_cache(maxsize=8)
def _subsets(n: int) -> tuple[Floats, Floats]:
    """Membership, shape (subsets, n), and sizes, shape (subsets,), of subsets that are not empty."""
    if 2**n - 1 <= SUBSETS:
        members = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1
    else:
        rng = stream(0, "subset means", n)
        members = rng.integers(2, size=(SUBSETS, n))
        empty = np.flatnonzero(members.sum(axis=1) == 0)
        members[empty, rng.integers(n, size=empty.size)] = 1
    result = members.astype(np.float64)
    return result, result.sum(axis=1)

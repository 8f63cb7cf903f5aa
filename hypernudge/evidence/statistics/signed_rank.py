"""The exact two-sided Wilcoxon signed-rank test, ties included.

Three pairs, all in favour of the method, cannot be significant; six can:

    >>> import numpy as np
    >>> signed_rank_test(np.array([1, 1, 1]), np.array([1.0, 2.0, 3.0])).p_value
    0.25
    >>> signed_rank_test(np.ones(6, dtype=int), np.arange(1.0, 7.0)).p_value
    0.03125

The test is conditional on the observed ranks: under the null hypothesis every pattern of signs is equally
likely, so the distribution of the rank sum is a convolution of two-point distributions (Wilcoxon 1945; Pratt
1959 discusses zeros). With ties the mid-ranks are multiples of one half; doubled they are integers, and
dynamic programming over them is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

EXACT_LIMIT = 400
"""Largest number of untied pairs for which the null distribution is computed exactly (about 30 ms at the
limit)."""

_TIE_TOLERANCE = 1e-12


@dataclass(frozen=True)
class SignedRank:
    """Result of a signed-rank test.

    Attributes:
        p_value: Two-sided p, 1.0 when every pair is tied.
        w_plus: Rank sum of the pairs with sign +1.
        w_minus: Rank sum of the pairs with sign -1.
        n: Pairs that entered the test (ties of the pair itself left out).
        method: "exact", or "normal" above `EXACT_LIMIT` pairs.
    """

    p_value: float
    w_plus: float
    w_minus: float
    n: int
    method: Literal["exact", "normal"]


def midranks(magnitudes: NDArray[np.float64], tiers: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Rank magnitudes 1..n within ascending tiers; equal ones share the mean of their ranks.

    Magnitudes closer than 1e-12 of the largest finite one in their tier are equal: `log(4) - log(2)` and
    `log(2) - log(1)` must tie although floating point says otherwise.

    Args:
        magnitudes: shape (n,), non-negative; `inf` is allowed and ranks last in its tier.
        tiers: shape (n,); every member of a higher tier ranks above every member of a lower one.

    Returns:
        shape (n,), mid-ranks starting at 1.

    Raises:
        ValueError: a magnitude is NaN or negative, or the shapes differ.
    """
    magnitudes = np.asarray(magnitudes, dtype=np.float64)
    tiers = np.zeros(magnitudes.shape, dtype=np.int64) if tiers is None else np.asarray(tiers, dtype=np.int64)
    if magnitudes.ndim != 1 or tiers.shape != magnitudes.shape:
        raise ValueError(
            "magnitudes and tiers must be one-dimensional and of equal length, got shapes "
            f"{magnitudes.shape} and {tiers.shape}; pass one entry per pair."
        )
    if bool(np.any(np.isnan(magnitudes) | (magnitudes < 0))):
        raise ValueError(
            "magnitudes must be non-negative and not NaN; pass absolute differences, missing pairs left out."
        )
    if magnitudes.size == 0:
        return np.zeros(0)
    order = np.lexsort((magnitudes, tiers))
    tier, size = tiers[order], magnitudes[order]
    new_group = np.ones(order.size, dtype=bool)
    for name in np.unique(tier):
        members = np.flatnonzero(tier == name)
        finite = size[members][np.isfinite(size[members])]
        tolerance = _TIE_TOLERANCE * float(finite[-1]) if finite.size else 0.0
        # Infinities are compared for equality: their difference would be NaN.
        previous, current = size[members[:-1]], size[members[1:]]
        with np.errstate(invalid="ignore"):
            new_group[members[1:]] = (current != previous) & ~(current - previous <= tolerance)
    starts = np.flatnonzero(new_group)
    sizes = np.diff(np.append(starts, order.size))
    ranks = np.empty(order.size)
    ranks[order] = np.repeat(starts + (sizes + 1) / 2.0, sizes)
    return ranks


def _patterns(steps: Sequence[int], last: int) -> NDArray[np.float64]:
    """How many subsets of the steps have each sum from 0 to `last`; shape (last + 1,).

    Counts are whole numbers below 2^EXACT_LIMIT, so doubles hold them without overflow, to sixteen digits.
    """
    counts, following = np.zeros(last + 1), np.zeros(last + 1)
    counts[0] = 1.0
    reach = 0
    for step in steps:
        if step > last:
            continue
        reach = min(reach + step, last)
        following[:step] = counts[:step]
        np.add(counts[step : reach + 1], counts[: reach + 1 - step], out=following[step : reach + 1])
        counts, following = following, counts
    return counts


@lru_cache(maxsize=64)
def _untied(n: int) -> NDArray[np.float64]:
    """P(W <= w) for the ranks 1..n, by w."""
    below = np.ldexp(np.cumsum(_patterns(range(1, n + 1), n * (n + 1) // 2)), -n)
    below.flags.writeable = False
    return below


def untied_lower_tail(n: int, w: int) -> float:
    """P(W <= w) of the rank sum of n untied pairs, for n up to `EXACT_LIMIT`."""
    return float(_untied(n)[w]) if w >= 0 else 0.0


def _lower_tail(doubled: NDArray[np.int64], low: int) -> float:
    """P(W <= low), both in doubled ranks, ascending.

    Untied ranks are the same in every study of this size, so their distribution is kept. Patterns of ties
    hardly ever repeat: for them the ranks are dealt into two halves, whose sums need half the room each, and
    P(A + B <= low) is the sum over a of P(A = a) P(B <= low - a).
    """
    if bool(np.array_equal(doubled, 2 * np.arange(1, doubled.size + 1))):
        return float(_untied(doubled.size)[low // 2])
    unit = int(np.gcd.reduce(doubled))
    last = low // unit
    steps = (doubled // unit).tolist()
    first, second = (_patterns(steps[start::2], last) for start in (0, 1))
    # Not np.dot: at this length BLAS would start threads, which cost more than they give.
    total = float(np.einsum("i,i->", first, np.cumsum(second)[::-1]))
    return math.ldexp(total, -doubled.size)


def _check(signs: NDArray[np.int64], ranks: NDArray[np.float64]) -> None:
    if signs.shape != ranks.shape or signs.ndim != 1:
        raise ValueError(
            "signs and ranks must be one-dimensional and of equal length, got shapes "
            f"{signs.shape} and {ranks.shape}; pass one entry per untied pair."
        )
    if bool(np.any((signs != 1) & (signs != -1))):
        raise ValueError("signs must be +1 or -1; remove the tied pairs (sign 0) before ranking.")


def signed_rank_test(signs: NDArray[np.int64], ranks: NDArray[np.float64]) -> SignedRank:
    """Exact two-sided test that the signs are exchangeable, given the ranks.

    `p = min(1, 2 min(P(W <= w), P(W >= w)))`, as SciPy defines it where it is exact. Costs O(n^3) additions.

    Args:
        signs: shape (n,), +1 or -1.
        ranks: shape (n,), mid-ranks (multiples of one half).

    Raises:
        ValueError: shapes differ or a sign is neither +1 nor -1.
    """
    signs, ranks = np.asarray(signs), np.asarray(ranks, dtype=np.float64)
    _check(signs, ranks)
    w_plus, w_minus = float(ranks[signs > 0].sum()), float(ranks[signs < 0].sum())
    n = int(signs.size)
    if n == 0:
        return SignedRank(1.0, 0.0, 0.0, 0, "exact")
    if n > EXACT_LIMIT:
        # The tie-corrected variance is sum(rank^2) / 4; no continuity correction, as the lattice is fine at
        # this size.
        z = (w_plus - w_minus) / (2.0 * float(np.sqrt(np.sum(ranks**2) / 4.0)))
        return SignedRank(float(2.0 * ndtr(-abs(z))), w_plus, w_minus, n, "normal")
    doubled = np.rint(2 * ranks).astype(np.int64)
    low = round(2 * min(w_plus, w_minus))
    # The distribution is symmetric, so the smaller rank sum's lower tail is the smaller of the two tails.
    return SignedRank(min(1.0, 2.0 * _lower_tail(np.sort(doubled), low)), w_plus, w_minus, n, "exact")


def least_p_value(n: int) -> float:
    """Smallest two-sided p that n pairs can give: all signs equal, 2^(1-n).

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"n must be at least 0, got {n}; pass a number of pairs.")
    return min(1.0, 2.0 ** (1 - n))

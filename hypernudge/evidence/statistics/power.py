"""What a plan can show before it is run: the least achievable p, and simulated power."""

from __future__ import annotations

import math

import numpy as np

from hypernudge.evidence.statistics.multiplicity import holm
from hypernudge.evidence.statistics.signed_rank import least_p_value, signed_rank_test


def least_adjusted_p(pairs: int, comparisons: int = 1) -> float:
    """Smallest Holm-adjusted p of the first rejection among `comparisons`, each with `pairs` pairs.

    >>> least_adjusted_p(6)
    0.03125
    >>> least_adjusted_p(10, 24) < 0.05 < least_adjusted_p(9, 24)
    True

    Raises:
        ValueError: comparisons below 1 or pairs negative.
    """
    if comparisons < 1:
        raise ValueError(f"comparisons must be at least 1, got {comparisons}; count the tests of the family.")
    return min(1.0, comparisons * least_p_value(pairs))


def best_case_adjusted_p(pairs_of_family: list[int]) -> list[float]:
    """Adjusted p of every member of a family if each had the best result its pairs allow.

    A comparison whose best case is not below alpha cannot be rejected whatever the data say: it is unpowered.
    """
    return [float(p) for p in holm([least_p_value(n) for n in pairs_of_family])]


def pairs_needed(alpha: float = 0.05, comparisons: int = 1) -> int:
    """Fewest pairs with which the first rejection of the family is possible.

    Raises:
        ValueError: alpha outside (0, 1) or comparisons below 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1 (exclusive), got {alpha}; 0.05 is usual.")
    n = 1
    while least_adjusted_p(n, comparisons) >= alpha:
        n += 1
    return n


def simulated_power(
    pairs: int,
    ratio: float,
    log_sd: float,
    rng: np.random.Generator,
    *,
    alpha: float = 0.05,
    comparisons: int = 1,
    simulations: int = 2000,
) -> float:
    """Share of simulated studies in which the test rejects at alpha / comparisons.

    Log ratios are drawn from a normal distribution with mean log(ratio). Dividing alpha by the size of the
    family is Holm's first step, so this is the power in the worst case; a family with other true effects does
    better.

    Args:
        pairs: Paired seeds per study.
        ratio: True geometric-mean ratio of times (method over baseline).
        log_sd: Standard deviation of the paired log ratio, positive.
        rng: Source of randomness.
        alpha: Family-wise level.
        comparisons: Size of the family.
        simulations: Simulated studies; the standard error is at most 0.5 / sqrt(simulations).

    Raises:
        ValueError: ratio or log_sd not positive, or pairs, comparisons or simulations below 1.
    """
    if ratio <= 0 or log_sd <= 0:
        raise ValueError(f"ratio and log_sd must be positive, got ratio={ratio}, log_sd={log_sd}.")
    if min(pairs, comparisons, simulations) < 1:
        raise ValueError(
            f"pairs, comparisons and simulations must be at least 1, got {pairs=}, {comparisons=}, "
            f"{simulations=}."
        )
    draws = rng.normal(math.log(ratio), log_sd, size=(simulations, pairs))
    ranks = np.argsort(np.argsort(np.abs(draws), axis=1), axis=1) + 1.0
    signs = np.where(draws > 0, 1, -1)
    limit = alpha / comparisons
    # Without ties every study shares one null distribution, which signed_rank_test caches.
    p_values = [signed_rank_test(s, r).p_value for s, r in zip(signs, ranks, strict=True)]
    rejected = sum(p < limit for p in p_values)
    return rejected / simulations

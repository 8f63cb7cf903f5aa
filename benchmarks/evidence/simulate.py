"""Simulated studies: paired times to target with known truth, censoring and ties.

Log times are normal, with a part that the two sides of a pair share (the seed). The budget is the quantile of
the baseline's time that gives the wanted share of misses; rounding times to a fiftieth of the budget gives
ties, as rungs do. A final score falls with the (uncensored) time, so that a late cell also ends lower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from hypernudge.evidence.statistics.paired import TimePairs

Floats = NDArray[np.float64]

SHARED, OWN = 0.35, 0.3
"""Standard deviations of the log time: what a pair shares, and what each side has of its own."""

UNCENSORED = 4.0
"""Budget in standard deviations above the mean where nothing is to be censored."""


@dataclass(frozen=True)
class World:
    """The truth that studies are drawn from.

    Attributes:
        censoring: Share of the baseline's cells that miss the target.
        ties: Whether times lie on a grid and scores on 1/360.
        ratio: True ratio of times, method over baseline.
    """

    censoring: float
    ties: bool
    ratio: float = 1.0

    @property
    def name(self) -> str:
        """`30%` or `30% ties`."""
        return f"{100 * self.censoring:.0f}%" + (" ties" if self.ties else "")

    @property
    def log_budget(self) -> float:
        """Log of the budget, the median time of the baseline being 1."""
        z = UNCENSORED if self.censoring == 0 else float(ndtri(1 - self.censoring))
        return z * math.hypot(SHARED, OWN)


def draw(world: World, pairs: int, rng: np.random.Generator) -> tuple[TimePairs, Floats]:
    """One study, and the paired difference of the areas under its incumbents (method minus baseline)."""
    shared = SHARED * rng.normal(size=pairs)
    budget = math.exp(world.log_budget)
    sides = []
    for shift in (0.0, math.log(world.ratio)):
        log_time = shift + shared + OWN * rng.normal(size=pairs)
        final = 0.9 - 0.03 * log_time + 0.01 * rng.normal(size=pairs)
        time = np.exp(log_time)
        if world.ties:
            time = budget / 50 * np.ceil(50 * time / budget)
            final = np.round(360 * final) / 360
        # Without censoring the one in thirty thousand beyond the budget counts as reached, at the budget.
        reached = (time <= budget) | (world.censoring == 0)
        time = np.minimum(time, budget)
        sides.append((time, reached, final, final - 0.5 * time / budget))
    (bt, br, bf, ba), (mt, mr, mf, ma) = sides
    return TimePairs(bt, br, bf, mt, mr, mf), ma - ba

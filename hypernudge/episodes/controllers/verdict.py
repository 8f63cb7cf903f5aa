"""From evidence to a verdict: by what factor the rate changes, or that it stays."""

import math
from typing import NamedTuple

from hypernudge.episodes.controllers.evidence import Evidence
from hypernudge.episodes.controllers.overall import Overall
from hypernudge.episodes.controllers.step_bounds import StepBounds
from hypernudge.episodes.controllers.thresholds import Thresholds


class Verdict(NamedTuple):
    """What an episode came to.

    Attributes:
        factor: By which the multiplier changes; 1 if it stays.
        is_test: Whether a test came to it, and not the size of an update alone.
    """

    factor: float
    is_test: bool

    @property
    def falls(self) -> bool:
        """Whether a test lowers the rate."""
        return self.is_test and self.factor < 1.0


class Judge:
    """Comes to verdicts.

    Args:
        thresholds: Of the test.
        bounds: On the relative size of updates; None for none.
        up: Factor of growth.
        down: Factor of shrinking.
    """

    def __init__(self, thresholds: Thresholds, bounds: StepBounds | None, up: float, down: float) -> None:
        self.thresholds, self.bounds = thresholds, bounds
        self._up, self._down = up, down

    def hardly_moves(self, evidence: Evidence, overall: Overall) -> bool:
        """Whether updates are small by the bounds, and no verdict was negative yet."""
        size = evidence.size
        if self.bounds is None or overall.fell or size is None:
            return False
        return size < self.bounds.small_of(self.usual(overall))

    def usual(self, overall: Overall) -> float:
        """Return the usual relative size of updates at a peak; infinite without bounds."""
        if self.bounds is None:
            return math.inf
        return self.bounds.usual(overall.agreement, overall.squares, overall.judged)

    def limit(self, multiplier: float, fell: bool) -> int:
        """Return after how many probes an undecided test gives up, small updates aside."""
        if self.bounds is not None and self.thresholds.is_warming_up(multiplier, fell):
            return self.thresholds.samples  # there the size says what is small, and not the multiplier
        return self.thresholds.limit(multiplier, fell)

    def of_size(self, size: float, *, fell: bool, is_first: bool) -> Verdict | None:
        """Return what the last update's size alone says, None where a test is needed.

        Args:
            size: Relative size, 0 where it is not known.
            fell: Whether a verdict was negative before.
            is_first: Whether no test has come to a verdict yet.
        """
        if self.bounds is None or fell:
            return None
        factor = self.bounds.lowered(size) if is_first else None
        factor = factor if factor is not None else self.bounds.raised(size, self._up)
        return None if factor is None else Verdict(factor, is_test=False)

    def of_test(self, evidence: Evidence, multiplier: float, overall: Overall) -> Verdict | None:
        """Return the verdict of the test, None while it is undecided."""
        if evidence.read < self.thresholds.min_samples:
            return None
        fell = overall.fell
        rise, fall = self.thresholds.of(multiplier, fell)
        limit, gives_up = self.limit(multiplier, fell), self.thresholds.is_warming_up(multiplier, fell)
        if self.bounds is not None:
            gives_up = self.hardly_moves(evidence, overall)
            if gives_up:
                fall, limit = self.bounds.z_small, min(limit, self.thresholds.warmup_samples)
        z = evidence.z
        if z < -fall:
            return Verdict(self._down, is_test=True)
        decided = z > rise
        if not decided and evidence.read < limit:
            return None
        grows = decided or (gives_up and z > self.thresholds.z_warmup)
        size = evidence.size
        if self.bounds is not None and size is not None:
            grows = grows and size * self._up <= self.bounds.most_of(self.usual(overall))
        return Verdict(self._up if grows else 1.0, is_test=True)

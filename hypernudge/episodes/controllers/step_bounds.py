"""How large an update may be beside the parameters it changes."""

import math
from dataclasses import astuple, dataclass
from typing import Any

from hypernudge.episodes import checks

DRAWN, DRAWN_EARLY, EARLY = 4.0, 2.0, 30
"""Largest factor, either way, by which a peak is drawn towards the usual size; the same before so many
probes."""
SMALL, MOST = 0.5, 1.5
"""Shares of the usual size at a peak: below the one updates are small, beyond the other no growth leads."""
SIGNAL = 0.25
"""A mean agreement below so many times the root mean square of its cosines is not told from noise."""
LEAST_AGREEMENT = 1e-3
"""No mean is taken for less."""


@dataclass(frozen=True)
class StepBounds:
    """Bounds on the relative size of an update, `|u| / |theta|`, for the search of a rate.

    The test on agreement says little where the network hardly moves, since what it sees there is the noise of
    the batches, and comes too late where one step may destroy a network (units that never fire again). The
    relative size says so at once, whatever the unit of the rate. It is what LARS holds constant (You et al.
    2017); here it bounds a search.

    How large a good peak is depends on how far batches agree: the mean cosine between an update and the
    descent direction of the next batch tells what share of a step is signal. Where batches agree about
    little, from noisy labels or in a large network, steps have to be smaller. The *usual size* is
    `per_agreement` times that mean over the search (measured, see benchmarks/results/episodes_ends).

    Attributes:
        least: Below half of it, and before the first shrinking, the multiplier is raised to reach it,
            without a test.
        small: Below it or half of the usual size, whichever is less, and before the first shrinking, only
            strong disagreement counts, and an undecided test is settled as during the warm-up.
        most: No growth leads beyond it or 1.5 times the usual size, whichever is less.
        leap: Largest factor by which the multiplier is raised without a test.
        z_small: Threshold of a negative verdict below `small`.
        first: Above twice as much, and before the first verdict of a test, the multiplier is lowered to reach
            it: a search begins with small steps, however large the rate.
        per_agreement: Usual relative size of updates at a peak, over the mean agreement.
        expected: Mean agreement that is expected before any probe.
        expected_probes: How many probes weigh as much as that.
        weight: Of the usual size in the peak, in [0, 1]; 0 trusts the search alone.

    Raises:
        ValueError: Not `0 < least <= small <= most`, `leap` is not above 1, `weight` not in [0, 1],
            `expected_probes` below 0, or another not above 0.
    """

    least: float = 3e-4
    small: float = 7e-3
    most: float = 0.05
    leap: float = 100.0
    z_small: float = 2.5
    first: float = 1e-3
    per_agreement: float = 0.25
    expected: float = 0.12
    expected_probes: float = 10.0
    weight: float = 0.85

    def __post_init__(self) -> None:
        """Refuse what bounds nothing."""
        for name in ("least", "small", "most", "leap", "z_small", "first", "per_agreement", "expected"):
            object.__setattr__(self, name, checks.positive(name, getattr(self, name)))
        for name in ("expected_probes", "weight"):
            object.__setattr__(self, name, checks.not_negative(name, getattr(self, name)))
        if self.weight > 1:
            checks.refuse("weight", "must lie in [0, 1]", self.weight, "pass for example 0.85")
        if not self.least <= self.small <= self.most:
            given = (self.least, self.small, self.most)
            checks.refuse("least, small, most", "must not fall", given, "pass for example 3e-4, 7e-3, 0.05")
        if not self.leap > 1:
            checks.refuse("leap", "must be above 1", self.leap, "pass for example 100")

    def raised(self, size: float, up: float) -> float | None:
        """Return the factor that takes an update of relative `size` to `least`; None where a test decides.

        Args:
            size: Relative size of the last update.
            up: Factor of growth by tests: what is nearer to `least` than that is left to them.
        """
        return min(self.leap, self.least / size) if 0.0 < size < self.least / up else None

    def lowered(self, size: float) -> float | None:
        """Return the factor that takes a first update of relative `size` to `first`; None if it is small."""
        return self.first / size if size > 2.0 * self.first else None

    def usual(self, agreement: float, squares: float, probes: int) -> float:
        """Return the usual relative size of updates at a peak.

        Args:
            agreement: Sum of the cosines of updates and the descent directions after them.
            squares: Sum of their squares.
            probes: How many there were.
        """
        count = probes + self.expected_probes
        mean = (agreement + self.expected * self.expected_probes) / count if count else self.expected
        noise = math.sqrt(squares / probes) if probes else 0.0
        return self.per_agreement * max(mean, SIGNAL * noise, LEAST_AGREEMENT)

    def small_of(self, usual: float) -> float:
        """Return the size below which updates are small, where the usual one is `usual`."""
        return min(self.small, SMALL * usual)

    def most_of(self, usual: float) -> float:
        """Return the size beyond which no growth leads, where the usual one is `usual`."""
        return min(self.most, MOST * usual)

    def drawn(self, size: float, usual: float, probes: int) -> float:
        """Return the factor by which a peak of relative `size` is drawn towards the usual one.

        What comes of it is their geometric mean, in which the usual size has `weight`, and `most` at most.
        The factor is at most `DRAWN` either way, since nothing has tested where it leads, and at most
        `DRAWN_EARLY` where few probes have spoken.
        """
        bound = DRAWN if probes >= EARLY else DRAWN_EARLY
        factor = min(max(float((usual / size) ** self.weight), 1.0 / bound), bound)
        return max(min(factor, self.most / size), 1.0 / bound)

    def fingerprint(self) -> list[Any]:
        """Return the settings in plain types."""
        return list(astuple(self))

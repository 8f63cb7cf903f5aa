"""How large an update may be beside the parameters it changes."""

from dataclasses import astuple, dataclass
from typing import Any

from hypernudge.episodes import checks

DRAWN = 2.0
"""Largest factor, either way, by which a peak is drawn towards the usual size."""


@dataclass(frozen=True)
class StepBounds:
    """Bounds on the relative size of an update, `|u| / |theta|`, for the search of a rate.

    The test on agreement says little where the network hardly moves, since what it sees there is the noise of
    the batches, and comes too late where one step may destroy a network (units that never fire again). The
    relative size says so at once, whatever the unit of the rate. It is what LARS holds constant (You et al.
    2017); here it bounds a search, and says what is usual where the search has decided little.

    Attributes:
        least: Below half of it, and before the first shrinking, the multiplier is raised to reach it,
            without a test.
        small: Below it, and before the first shrinking, only strong disagreement counts, and an undecided
            test is settled as during the warm-up.
        most: No growth leads beyond it.
        leap: Largest factor by which the multiplier is raised without a test.
        z_small: Threshold of a negative verdict below `small`.
        first: Above twice as much, and before the first verdict of a test, the multiplier is lowered to reach
            it: a search begins with small steps, however large the rate.
        peak: What an annealing is expected to begin with, before anything is known.
        doubt: How many decided verdicts weigh as much as that; 0 trusts the search alone.

    Raises:
        ValueError: Not `0 < least <= small <= most`, `leap` is not above 1, `z_small`, `first` or `peak`
            not above 0, or `doubt` below 0.
    """

    least: float = 3e-4
    small: float = 7e-3
    most: float = 0.05
    leap: float = 100.0
    z_small: float = 2.5
    first: float = 1e-3
    peak: float = 0.018
    doubt: float = 4.0

    def __post_init__(self) -> None:
        """Refuse what bounds nothing."""
        for name in ("least", "small", "most", "leap", "z_small", "first", "peak"):
            object.__setattr__(self, name, checks.positive(name, getattr(self, name)))
        object.__setattr__(self, "doubt", checks.not_negative("doubt", self.doubt))
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

    def drawn(self, size: float, decided: int) -> float:
        """Return the factor by which a peak of relative `size` is drawn towards the usual one.

        The logarithm of the right size is thought normal around that of `peak`; each decided verdict says
        as much as the `doubt`-th part of that. The factor is at most `DRAWN` either way: nothing has tested
        where it leads.

        Args:
            size: Relative size of the updates at the peak that was found.
            decided: How many verdicts the search came to.
        """
        if self.doubt == 0:
            return 1.0
        factor = float((self.peak / size) ** (self.doubt / (self.doubt + decided)))
        return min(max(factor, 1.0 / DRAWN), DRAWN)

    def fingerprint(self) -> list[Any]:
        """Return the settings in plain types."""
        return list(astuple(self))

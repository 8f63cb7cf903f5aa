"""How large an update may be beside the parameters it changes."""

from dataclasses import dataclass
from typing import Any

from hypernudge.episodes import checks


@dataclass(frozen=True)
class StepBounds:
    """Bounds on the relative size of an update, `|u| / |theta|`, for the search of a rate.

    The test on agreement says little where the network hardly moves, since what it sees there is the noise of
    the batches, and comes too late where one step may destroy a network (units that never fire again). The
    relative size says so at once, whatever the unit of the rate. It is what LARS holds constant (You et al.
    2017); here it only bounds a search.

    Attributes:
        least: Below half of it, and before the first shrinking, the multiplier is raised to reach it,
            without a test.
        small: Below it, and before the first shrinking, only strong disagreement counts, and an undecided
            test is settled as during the warm-up.
        most: No growth leads beyond it.
        leap: Largest factor by which the multiplier is raised without a test.
        z_small: Threshold of a negative verdict below `small`.

    Raises:
        ValueError: Not `0 < least <= small <= most`, `leap` is not above 1 or `z_small` not above 0.
    """

    least: float = 3e-4
    small: float = 7e-3
    most: float = 0.05
    leap: float = 100.0
    z_small: float = 2.5

    def __post_init__(self) -> None:
        """Refuse what bounds nothing."""
        for name in ("least", "small", "most", "leap", "z_small"):
            object.__setattr__(self, name, checks.positive(name, getattr(self, name)))
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

    def fingerprint(self) -> list[Any]:
        """Return the settings in plain types."""
        return [self.least, self.small, self.most, self.leap, self.z_small]

"""What the probes of all episodes together say: how large updates are, and how far batches agree."""

import math
from typing import Any

from hypernudge.episodes import checks
from hypernudge.episodes.controllers.evidence import Evidence

NEWEST = 0.15  # weight of a size in the running mean: of about the last ten


class Overall:
    """Running means over the episodes of a search.

    Attributes:
        fell: Whether a verdict was ever negative.
        tested: How many verdicts were those of a test.
        agreement: Sum of the cosines of updates and the descent directions after them.
        squares: Sum of their squares.
        judged: How many those were.
    """

    def __init__(self) -> None:
        self.fell = False
        self.tested = 0
        self.agreement, self.squares, self.judged = 0.0, 0.0, 0
        self._unit: float | None = None  # logarithm of the size of updates at multiplier 1, a running mean

    def add(self, evidence: Evidence, multiplier: float) -> None:
        """Take in what the last rows brought, of updates at `multiplier`."""
        for size in evidence.new_sizes:
            unit = math.log(size / multiplier)
            self._unit = unit if self._unit is None else self._unit + NEWEST * (unit - self._unit)
        for cosine in evidence.new_cosines:
            self.agreement += cosine
            self.squares += cosine * cosine
        self.judged += len(evidence.new_cosines)

    def size_at(self, multiplier: float) -> float | None:
        """Return the relative size that updates would have at a multiplier; None where none is known."""
        return None if self._unit is None else math.exp(self._unit) * multiplier

    def state_dict(self) -> dict[str, Any]:
        """Return everything in plain types."""
        return {
            "fell": self.fell,
            "tested": self.tested,
            "unit": self._unit,
            "agreement": self.agreement,
            "squares": self.squares,
            "judged": self.judged,
        }

    @classmethod
    def of_state(cls, state: Any) -> "Overall":
        """Return what `state` was taken of."""
        keys = ("fell", "tested", "unit", "agreement", "squares", "judged")
        checks.state(state, keys, "overall state of Alignment")
        found = cls()
        found.fell = bool(checks.flag("fell", state["fell"]))
        found.tested, found.judged = (checks.at_least(key, state[key], 0) for key in ("tested", "judged"))
        found._unit = None if state["unit"] is None else checks.number("unit", state["unit"])
        found.agreement = checks.number("agreement", state["agreement"])
        found.squares = checks.not_negative("squares", state["squares"])
        return found

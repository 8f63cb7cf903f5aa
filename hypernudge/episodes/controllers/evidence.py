"""What the probes of one episode have told so far."""

import math
from typing import Any

from hypernudge.episodes import checks
from hypernudge.episodes.controllers.agreement import Row


class Evidence:
    """Sums over the probes that have arrived.

    Attributes:
        read: How many.
        last_size: Relative size of the last update, 0 where that is not known.
        new_sizes: Relative sizes of the updates that came with the last rows, where they are known.
        new_cosines: The cosines that came with them, likewise.
    """

    def __init__(self) -> None:
        self.read = 0
        self.last_size = 0.0
        self.new_sizes: list[float] = []
        self.new_cosines: list[float] = []
        self._sum = self._square = 0.0
        self._sized, self._log_size = 0, 0.0  # updates whose relative size is known, and its logarithm

    def add(self, rows: list[Row]) -> None:
        """Take in rows of an `AgreementProbe`; those that are not finite, or zero, count without a weight."""
        self.new_sizes, self.new_cosines = [], []
        for dot, gradients, updates, *parameters in rows:
            self.last_size = 0.0
            if math.isfinite(dot) and gradients * updates > 0:
                cosine = -dot / math.sqrt(gradients * updates)
                self._sum += cosine
                self._square += cosine * cosine
                self.new_cosines.append(cosine)
            if parameters and 0 < updates < math.inf and parameters[0] > 0:
                self.last_size = math.sqrt(updates / parameters[0])
                self._sized += 1
                self._log_size += math.log(self.last_size)
                self.new_sizes.append(self.last_size)
        self.read += len(rows)

    @property
    def z(self) -> float:
        """The test statistic, about standard normal if the rate is right; 0 before the first cosine."""
        return self._sum / math.sqrt(self._square) if self._square > 0 else 0.0

    @property
    def size(self) -> float | None:
        """The geometric mean of the relative sizes of the updates, None before the first."""
        return math.exp(self._log_size / self._sized) if self._sized else None

    def state(self) -> list[Any]:
        """Return the sums in plain types."""
        return [self.read, self._sum, self._square, self._sized, self._log_size]

    @classmethod
    def of_state(cls, state: Any) -> "Evidence":
        """Return what `state` was taken of."""
        found = cls()
        found.read, found._sum, found._square, found._sized, found._log_size = checks.state_list(
            "read", state, 5
        )
        return found

"""The trend context: is the loss falling, flat or rising from episode to episode."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypernudge.episodes import checks

TREND_BUCKETS = ("improving", "stable", "worsening")


@dataclass(frozen=True)
class TrendContext:
    """Sorts the last losses of closed episodes into three buckets by their mean slope.

    The rule is absolute: `epsilon` is in units of the loss, so it means something else on another scale.

    Attributes:
        window: Closed episodes looked at, at least 1 (1 is always `stable`).
        epsilon: Slope per episode, in units of the loss, up to which the trend counts as flat.

    Raises:
        ValueError: An argument is out of range.
    """

    window: int = 3
    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        checks.at_least("window", self.window, 1)
        checks.not_negative("epsilon", self.epsilon)

    def bucket(self, history: Sequence[float]) -> str:
        """Return the bucket of `history`, the raw last loss of every closed episode in order."""
        recent = history[-self.window :]
        if len(recent) < 2:
            return "stable"
        slope = (recent[-1] - recent[0]) / (len(recent) - 1)
        if slope < -self.epsilon:
            return "improving"
        if slope > self.epsilon:
            return "worsening"
        return "stable"

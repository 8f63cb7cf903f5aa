"""Relative improvement of the smoothed loss within an episode."""

import math
from collections.abc import Sequence
from typing import Any

from hypernudge.episodes import checks
from hypernudge.episodes.rewards.base import RewardDetails
from hypernudge.errors import InvalidArgumentError


class EmaLogReward:
    """`ln(e_1) - ln(e_n)` of an exponential moving average that restarts with each episode.

    An optional penalty subtracts `instability_weight` times the losses' variance over their squared
    mean. The result is clipped. With a smoothing of 0.1 the end value keeps a weight of `0.9^(n-1)`
    on the first loss: 39 % for 10 steps, so short episodes see a damped improvement. An episode of
    one step earns exactly 0.

    Args:
        epsilon: Added to both averages before the logarithm and to the squared mean, above 0.
        instability_weight: Weight of the penalty, 0 or above.
        clip_min: Smallest reward; may be infinite.
        clip_max: Largest reward, at least `clip_min`; may be infinite.
        smoothing: Weight of the newest loss in the average, in (0, 1].

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        epsilon: float = 1e-8,
        instability_weight: float = 0.0,
        clip_min: float = -1.0,
        clip_max: float = 1.0,
        smoothing: float = 0.1,
    ) -> None:
        self.epsilon = checks.positive("epsilon", epsilon)
        self.instability_weight = checks.not_negative("instability_weight", instability_weight)
        self.clip_min, self.clip_max = checks.ordered("clip_min", clip_min, "clip_max", clip_max)
        self.smoothing = checks.in_unit_interval("smoothing", smoothing)

    @property
    def worst(self) -> float:
        """The reward of an episode that failed."""
        return self.clip_min

    def __call__(self, losses: Sequence[float]) -> RewardDetails:
        """Return the reward of `losses`.

        Raises:
            ValueError: A smoothed loss plus `epsilon` is not above 0, so it has no logarithm.
        """
        start = losses[0]
        end = self.smooth(losses)
        self.check_smoothed(start)
        self.check_smoothed(end)
        # Two logarithms subtracted, not one of the ratio: the last bit differs.
        base = math.log(start + self.epsilon) - math.log(end + self.epsilon)
        mean = sum(losses) / len(losses)
        variance = sum((loss - mean) ** 2 for loss in losses) / len(losses)
        instability = variance / (mean * mean + self.epsilon)
        penalty = self.instability_weight * instability
        raw = base - penalty
        value = min(max(raw, self.clip_min), self.clip_max)
        return RewardDetails(value, base, instability, penalty, raw, start, end)

    def smooth(self, losses: Sequence[float]) -> float:
        """Return the moving average after the last of `losses`."""
        average = losses[0]
        for loss in losses[1:]:
            average = self.smoothing * loss + (1.0 - self.smoothing) * average
        return average

    def check_smoothed(self, average: float) -> None:
        """Refuse an average without a logarithm.

        Raises:
            ValueError: `average + epsilon` is not above 0.
        """
        if average + self.epsilon <= 0:
            raise InvalidArgumentError(
                "loss: must stay positive for the logarithmic reward, but its moving average is "
                f"{average!r}; add a constant to the loss you report, or use another reward"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types."""
        return {
            "kind": "ema_log",
            "epsilon": self.epsilon,
            "instability_weight": self.instability_weight,
            "clip": [self.clip_min, self.clip_max],
            "smoothing": self.smoothing,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: each episode is judged alone."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Accept the empty state."""
        checks.state(state, (), "state of EmaLogReward")

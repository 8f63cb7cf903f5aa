"""What every reward answers to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class RewardDetails:
    """A reward and its parts.

    Attributes:
        value: What the bandit learns from.
        base: Improvement before any penalty.
        instability: Relative variance of the losses of the episode.
        penalty: What was subtracted for it.
        unclipped: `base - penalty`, before clipping and standardising.
        ema_start: Smoothed loss at the start of the episode.
        ema_end: Smoothed loss at its end.
    """

    value: float
    base: float
    instability: float
    penalty: float
    unclipped: float
    ema_start: float
    ema_end: float


class Reward(Protocol):
    """Turns the losses of an episode into one number; may remember earlier episodes."""

    @property
    def worst(self) -> float:
        """The reward of an episode that failed."""
        ...

    def __call__(self, losses: Sequence[float]) -> RewardDetails:
        """Return the reward of finite `losses`, in the order of their steps, at least one.

        Raises:
            ValueError: The reward is not defined for these losses.
        """
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types; a checkpoint refuses other settings."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered from earlier episodes, in plain types."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...

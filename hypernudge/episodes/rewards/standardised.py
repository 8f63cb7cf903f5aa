"""Rewards relative to their recent level and spread."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypernudge.episodes import checks
from hypernudge.episodes.rewards.base import Reward, RewardDetails


class StandardisedReward:
    """Another reward, minus its trend, over its recent spread, scaled into [-1, 1].

    Early episodes improve the loss more than late ones whatever the arm, and a reward of 0.02 means much
    in one task and nothing in another. The level and slope of the raw reward follow a discounted
    straight line over episodes (Holt's double smoothing); the residual is divided by its own discounted
    root mean square and by `clip`, and limited to [-1, 1]. The first episode earns 0.

    Args:
        inner: Reward whose unclipped value is standardised.
        memory: Episodes over which level and spread are averaged, above 1.
        clip: Residuals beyond this many standard deviations count as this many, above 0.

    Raises:
        ValueError: An argument is out of range.
    """

    worst = -1.0

    def __init__(self, inner: Reward, *, memory: float = 10.0, clip: float = 3.0) -> None:
        members = ("worst", "__call__", "fingerprint", "state_dict", "load_state_dict")
        self.inner: Reward = checks.instance_with("inner", inner, members, "pass for example EmaLogReward()")
        self.memory = checks.number("memory", memory)
        if not self.memory > 1:
            checks.refuse("memory", "must be above 1 episode", memory, "pass for example 10")
        self.clip = checks.positive("clip", clip)
        self._seen = 0
        self._level = 0.0
        self._slope = 0.0
        self._square = 0.0

    def __call__(self, losses: Sequence[float]) -> RewardDetails:
        """Return the standardised reward and take it into the running statistics.

        Raises:
            ValueError: The inner reward is not defined for these losses.
        """
        details = self.inner(losses)
        raw = checks.finite("reward", details.unclipped)
        if self._seen == 0:
            self._level, self._seen = raw, 1
            return replace(details, value=0.0)
        expected = self._level + self._slope
        residual = raw - expected
        # The young average uses 1/n weights, so the first episodes are not drowned by the zero start.
        gain = max(1.0 / self.memory, 1.0 / (self._seen + 1))
        spread_gain = max(1.0 / self.memory, 1.0 / self._seen)
        self._level = expected + gain * residual
        # The critically damped partner of the final gain, from the start: a slope learned from the first
        # few noisy rewards would bias the residuals for the next fifty.
        self._slope += 0.25 / self.memory**2 * residual
        self._square += spread_gain * (residual * residual - self._square)
        self._seen += 1
        spread = math.sqrt(self._square)
        score = residual / spread / self.clip if spread > 0 else 0.0
        return replace(details, value=min(max(score, -1.0), 1.0))

    def fingerprint(self) -> dict[str, Any]:
        """Return the settings in plain types."""
        return {
            "kind": "standardised",
            "inner": self.inner.fingerprint(),
            "memory": self.memory,
            "clip": self.clip,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the running statistics in plain types."""
        return {
            "inner": self.inner.state_dict(),
            "seen": self._seen,
            "level": self._level,
            "slope": self._slope,
            "square": self._square,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        names = ("level", "slope", "square")
        checks.state(state, ("inner", "seen", *names), "state of StandardisedReward")
        seen = checks.at_least("seen", state["seen"], 0)
        level, slope, square = (checks.number(name, state[name]) for name in names)
        self.inner.load_state_dict(state["inner"])
        self._seen, self._level, self._slope, self._square = seen, level, slope, square

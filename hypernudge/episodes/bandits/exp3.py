"""EXP3 with a share term, for rewards that follow no distribution at all."""

import math

from hypernudge.episodes import checks
from hypernudge.episodes.bandits.base import SeededBandit, check_play


class Exp3(SeededBandit):
    """Exponential weights on importance-weighted rewards (EXP3.S of Auer et al. 2002, section 8).

    The share term keeps every weight alive, so the bandit follows a best arm that changes.

    Args:
        n_arms: Number of arms, at least 1.
        mix: Probability mass spread uniformly (`gamma` in the paper), in (0, 1].
        rate: Step on the log weights per importance-weighted gain, above 0. The paper ties it to
            `mix`, which learns too slowly for a run of a few hundred episodes.
        share: Weight share (`alpha` in the paper), 0 or above.
        low: Reward mapped to 0; rewards below are clipped to it.
        high: Reward mapped to 1; rewards above are clipped to it.
        seed: Seed of the generator; None seeds it from the operating system.

    Raises:
        ValueError: An argument is out of range.
    """

    kind = "exp3"
    statistics = ("log_weights",)

    def __init__(
        self,
        n_arms: int,
        *,
        mix: float = 0.1,
        rate: float = 0.5,
        share: float = 0.001,
        low: float = -1.0,
        high: float = 1.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(n_arms, seed)
        self.mix = checks.in_unit_interval("mix", mix)
        self.rate = checks.positive("rate", rate)
        self.share = checks.not_negative("share", share)
        self.low, self.high = checks.number("low", low), checks.number("high", high)
        if not self.low < self.high:
            checks.refuse("low", f"must be below high ({high!r})", low, "swap them")
        self._log_weights = [0.0] * n_arms

    def probabilities(self) -> list[float]:
        """Return the probability of every arm."""
        top = max(self._log_weights)
        weights = [math.exp(value - top) for value in self._log_weights]
        total = sum(weights)
        return [(1.0 - self.mix) * weight / total + self.mix / self.n_arms for weight in weights]

    def select(self) -> int:
        """Draw an arm from `probabilities`."""
        point = self._rng.random()
        for arm, probability in enumerate(self.probabilities()):
            point -= probability
            if point < 0.0:
                return arm
        return self.n_arms - 1  # rounding left a sliver above the last arm

    def update(self, arm: int, reward: float) -> None:
        """Raise the weight of `arm` by its importance-weighted reward, then share.

        Raises:
            ValueError: `arm` is out of range or `reward` is not finite.
        """
        check_play(self.n_arms, arm, reward)
        gain = (min(max(reward, self.low), self.high) - self.low) / (self.high - self.low)
        step = self.rate * gain / (self.probabilities()[arm] * self.n_arms)
        top = max(self._log_weights)
        mean = math.e * self.share / self.n_arms * sum(math.exp(w - top) for w in self._log_weights)
        self._log_weights[arm] += step
        peak = max(self._log_weights)
        shared = [math.exp(w - peak) + mean * math.exp(top - peak) for w in self._log_weights]
        # Only ratios matter; storing logs relative to the largest keeps them bounded for ever.
        largest = max(shared)
        self._log_weights = [math.log(max(value / largest, 1e-300)) for value in shared]

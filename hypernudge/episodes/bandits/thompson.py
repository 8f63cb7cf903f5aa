"""Gaussian Thompson sampling with discounted statistics (Raj and Kalyani 2017 for the discounting)."""

import math

from hypernudge.episodes import checks
from hypernudge.episodes.bandits.base import SeededBandit, check_play


class ThompsonSampling(SeededBandit):
    """Plays the arm whose sampled mean reward is highest.

    Each arm's mean and variance have a normal-inverse-gamma posterior from discounted sums, so the width of
    the draws follows the rewards' own noise and needs no exploration constant.

    Args:
        n_arms: Number of arms, at least 1.
        discount: Forgetting factor in (0, 1] applied to every arm at each update.
        prior_count: Pseudo-observations of the prior mean 0, above 0.
        prior_std: Prior guess of the reward's standard deviation, above 0, in units of the reward.
        seed: Seed of the generator; None seeds it from the operating system.

    Raises:
        ValueError: An argument is out of range.
    """

    kind = "thompson_sampling"
    statistics = ("counts", "sums", "squares")

    def __init__(
        self,
        n_arms: int,
        *,
        discount: float = 0.95,
        prior_count: float = 0.1,
        prior_std: float = 0.3,
        seed: int | None = None,
    ) -> None:
        super().__init__(n_arms, seed)
        self.discount = checks.in_unit_interval("discount", discount)
        self.prior_count = checks.positive("prior_count", prior_count)
        self.prior_std = checks.positive("prior_std", prior_std)
        self._counts = [0.0] * n_arms
        self._sums = [0.0] * n_arms
        self._squares = [0.0] * n_arms

    def select(self) -> int:
        """Sample every arm's mean and return the best arm."""
        draws = [self._draw(arm) for arm in range(self.n_arms)]
        return max(range(self.n_arms), key=draws.__getitem__)

    def update(self, arm: int, reward: float) -> None:
        """Discount every arm, then add the reward to `arm`.

        Raises:
            ValueError: `arm` is out of range or `reward` is not finite.
        """
        check_play(self.n_arms, arm, reward)
        for sums in (self._counts, self._sums, self._squares):
            for other in range(self.n_arms):
                sums[other] *= self.discount
        self._counts[arm] += 1.0
        self._sums[arm] += reward
        self._squares[arm] += reward * reward

    def _draw(self, arm: int) -> float:
        # Normal-inverse-gamma update (Murphy 2007, section 3) with prior mean 0 and shape 1.
        count, total = self._counts[arm], self._sums[arm]
        weight = self.prior_count + count
        mean = total / weight
        shape = 1.0 + 0.5 * count
        scatter = max(self._squares[arm] - total * mean, 0.0)
        scale = self.prior_std**2 + 0.5 * scatter
        precision = self._rng.gammavariate(shape, 1.0 / scale)
        return self._rng.gauss(mean, 1.0 / math.sqrt(max(precision, 1e-300) * weight))

"""Discounted UCB (Kocsis and Szepesvari 2006; Garivier and Moulines 2011)."""

import math

from hypernudge.episodes import checks
from hypernudge.episodes.bandits.base import SeededBandit, check_play

COUNT_FLOOR = 1e-12
TIE = 1e-12


class DiscountedUCB(SeededBandit):
    """Upper confidence bounds on exponentially discounted means, for rewards that drift.

    Index of arm `a`: `S_a / N_a + c * sqrt(ln(sum(N) + 1) / N_a)`, where `N` and `S` are
    counts and reward sums discounted by `gamma` at every update. With `c = 1` and rewards that
    differ by less than about 0.3 the bonus dominates and arms are pulled nearly uniformly; choose `c`
    near the spread of the rewards.

    Args:
        n_arms: Number of arms, at least 1.
        exploration: `c`, 0 or above, in units of the reward.
        discount: `gamma` in (0, 1]; the memory is about `1 / (1 - gamma)` episodes.
        warmup_rounds: Undiscounted pulls every arm gets before the index is used.
        seed: Seed of the tie-breaking generator; None seeds it from the operating system.

    Raises:
        ValueError: An argument is out of range.
    """

    kind = "discounted_ucb"
    statistics = ("counts", "sums", "pulls")

    def __init__(
        self,
        n_arms: int,
        *,
        exploration: float = 1.0,
        discount: float = 0.95,
        warmup_rounds: int = 1,
        seed: int | None = None,
    ) -> None:
        super().__init__(n_arms, seed)
        self.exploration = checks.not_negative("exploration", exploration)
        self.discount = checks.in_unit_interval("discount", discount)
        self.warmup_rounds = checks.at_least("warmup_rounds", warmup_rounds, 0)
        self._counts = [0.0] * n_arms
        self._sums = [0.0] * n_arms
        self._pulls = [0] * n_arms

    def select(self) -> int:
        """Return the arm with the highest index; ties within 1e-12 are broken at random."""
        waiting = [arm for arm in range(self.n_arms) if self._pulls[arm] < self.warmup_rounds]
        if waiting:
            fewest = min(self._pulls[arm] for arm in waiting)
            tied = [arm for arm in waiting if self._pulls[arm] == fewest]
        else:
            indices = self.indices()
            best = max(indices)
            tied = [arm for arm, index in enumerate(indices) if abs(index - best) <= TIE]
        # Drawn even when one arm is left: the published implementation spends random bits here too.
        return self._rng.choice(tied)

    def indices(self) -> list[float]:
        """Return the upper confidence bound of every arm."""
        growth = math.log(sum(self._counts) + 1.0)
        bounds = []
        for count, total in zip(self._counts, self._sums, strict=True):
            floored = max(count, COUNT_FLOOR)
            bounds.append(total / floored + self.exploration * math.sqrt(growth / floored))
        return bounds

    def update(self, arm: int, reward: float) -> None:
        """Discount every arm, then add the reward to `arm`.

        Raises:
            ValueError: `arm` is out of range or `reward` is not finite.
        """
        check_play(self.n_arms, arm, reward)
        for other in range(self.n_arms):
            self._counts[other] *= self.discount
            self._sums[other] *= self.discount
        self._counts[arm] += 1.0
        self._sums[arm] += reward
        self._pulls[arm] += 1

    def copy_statistics(self, other: "DiscountedUCB") -> None:
        """Take over the statistics of `other`, but keep the own random generator."""
        self._counts = list(other._counts)
        self._sums = list(other._sums)
        self._pulls = list(other._pulls)

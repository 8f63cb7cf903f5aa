"""Arms at random: the control every bandit has to beat."""

from hypernudge.episodes.bandits.base import SeededBandit, check_play


class UniformBandit(SeededBandit):
    """Chooses uniformly at random and learns nothing.

    Args:
        n_arms: Number of arms, at least 1.
        seed: Seed of the generator; None seeds it from the operating system.

    Raises:
        ValueError: `n_arms` is below 1.
    """

    kind = "uniform"

    def __init__(self, n_arms: int, *, seed: int | None = None) -> None:
        super().__init__(n_arms, seed)

    def select(self) -> int:
        """Return a uniformly random arm."""
        return self._rng.randrange(self.n_arms)

    def update(self, arm: int, reward: float) -> None:
        """Check the arguments and forget them.

        Raises:
            ValueError: `arm` is out of range or `reward` is not finite.
        """
        check_play(self.n_arms, arm, reward)

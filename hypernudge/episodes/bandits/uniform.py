"""Arms at random: the control every bandit has to beat."""

import random
from typing import Any

from hypernudge.episodes import checks
from hypernudge.episodes.bandits.base import check_play, rng_from_plain, rng_to_plain


class UniformBandit:
    """Chooses uniformly at random and learns nothing.

    Args:
        n_arms: Number of arms, at least 1.
        seed: Seed of the generator; None seeds it from the operating system.

    Raises:
        ValueError: ``n_arms`` is below 1.
    """

    def __init__(self, n_arms: int, *, seed: int | None = None) -> None:
        self.n_arms = checks.at_least("n_arms", n_arms, 1)
        self._rng = random.Random(seed)

    def select(self) -> int:
        """Return a uniformly random arm."""
        return self._rng.randrange(self.n_arms)

    def update(self, arm: int, reward: float) -> None:
        """Check the arguments and forget them.

        Raises:
            ValueError: ``arm`` is out of range or ``reward`` is not finite.
        """
        check_play(self.n_arms, arm, reward)

    def state_dict(self) -> dict[str, Any]:
        """Return the generator state in plain types."""
        return {"rng": rng_to_plain(self._rng.getstate())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._rng.setstate(rng_from_plain(state["rng"]))

"""What every bandit answers to."""

import random
from typing import Any, ClassVar, Protocol

from hypernudge.episodes import checks


class Bandit(Protocol):
    """Chooses one of `n_arms` arms and learns from rewards.

    `select` may advance the bandit's own random generator and nothing else; `update` is the only
    place where statistics change, so an episode that is dropped leaves no trace in them.
    """

    n_arms: int

    def select(self) -> int:
        """Return the arm to play next, in `range(n_arms)`."""
        ...

    def update(self, arm: int, reward: float) -> None:
        """Learn from one reward.

        Raises:
            ValueError: `arm` is out of range or `reward` is not finite.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state in plain types."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class ContextualBandit(Bandit, Protocol):
    """A bandit told in which context it decides."""

    def set_context(self, bucket: str) -> None:
        """Make `bucket` the context of the following `select` and `update` calls."""
        ...


class BanditFactory(Protocol):
    """Builds a bandit; the classes of this package with their options bound are factories."""

    def __call__(self, n_arms: int, *, seed: int | None = None) -> Bandit:
        """Return a fresh bandit of `n_arms` arms whose draws follow from `seed`."""
        ...


class SeededBandit:
    """What the bandits share: arms, a random generator of their own, and statistics as lists in checkpoints.

    Args:
        n_arms: Number of arms, at least 1.
        seed: Seed of the generator; None seeds it from the operating system.

    Raises:
        ValueError: `n_arms` is no whole number of at least 1, or `seed` no seed.
    """

    statistics: ClassVar[tuple[str, ...]] = ()
    """Names of the lists that make up the state; `counts` is the attribute `_counts`."""

    def __init__(self, n_arms: int, seed: int | None) -> None:
        self.n_arms = checks.at_least("n_arms", n_arms, 1)
        # Twice the user's limit: a bandit's seed may be another's plus an offset.
        self._rng = random.Random(checks.seed(seed, limit=2 * checks.SEED_LIMIT))

    def state_dict(self) -> dict[str, Any]:
        """Return statistics and generator state in plain types."""
        lists = {name: list(getattr(self, f"_{name}")) for name in self.statistics}
        return {**lists, "rng": rng_to_plain(self._rng.getstate())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.state(state, (*self.statistics, "rng"), f"state of {type(self).__name__}")
        lists = {name: checks.state_list(name, state[name], self.n_arms) for name in self.statistics}
        rng = rng_from_plain(state["rng"])
        for name, values in lists.items():
            setattr(self, f"_{name}", values)
        self._rng = rng


def check_play(n_arms: int, arm: int, reward: float) -> None:
    """Refuse an impossible update before it touches any statistic.

    Raises:
        ValueError: `arm` is out of range or `reward` is not finite.
    """
    if not 0 <= arm < n_arms:
        checks.refuse("arm", f"must lie in range({n_arms})", arm, "pass what select() returned")
    checks.finite("reward", reward)


def rng_to_plain(state: tuple[Any, ...]) -> list[Any]:
    """Turn `random.Random.getstate()` into nested lists."""
    version, words, gauss = state
    return [version, list(words), gauss]


def rng_from_plain(plain: list[Any]) -> random.Random:
    """Rebuild the generator whose state `rng_to_plain` returned.

    Raises:
        ValueError: It is no such state.
    """
    rng = random.Random()
    try:
        version, words, gauss = plain
        rng.setstate((version, tuple(words), gauss))
    except (TypeError, ValueError, OverflowError):
        checks.refuse("rng", "must be the state of a generator", plain, "load what state_dict() returned")
    return rng

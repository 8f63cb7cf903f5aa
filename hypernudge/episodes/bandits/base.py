"""What every bandit answers to."""

import random
from typing import Any, ClassVar, Protocol

from hypernudge.episodes import checks


class Bandit(Protocol):
    """Chooses one of ``n_arms`` arms and learns from rewards.

    ``select`` may advance the bandit's own random generator and nothing else; ``update`` is the only
    place where statistics change, so an episode that is dropped leaves no trace in them.
    """

    n_arms: int

    def select(self) -> int:
        """Return the arm to play next, in ``range(n_arms)``."""
        ...

    def update(self, arm: int, reward: float) -> None:
        """Learn from one reward.

        Raises:
            ValueError: ``arm`` is out of range or ``reward`` is not finite.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state in plain types."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...


class ContextualBandit(Bandit, Protocol):
    """A bandit told in which context it decides."""

    def set_context(self, bucket: str) -> None:
        """Make ``bucket`` the context of the following ``select`` and ``update`` calls."""
        ...


class BanditFactory(Protocol):
    """Builds a bandit; the classes of this package with their options bound are factories."""

    def __call__(self, n_arms: int, *, seed: int | None = None) -> Bandit:
        """Return a fresh bandit of ``n_arms`` arms whose draws follow from ``seed``."""
        ...


class SeededBandit:
    """What the bandits share: arms, a random generator of their own, and statistics as lists in checkpoints.

    Args:
        n_arms: Number of arms, at least 1.
        seed: Seed of the generator; None seeds it from the operating system.

    Raises:
        ValueError: ``n_arms`` is below 1.
    """

    statistics: ClassVar[tuple[str, ...]] = ()
    """Names of the lists that make up the state; ``counts`` is the attribute ``_counts``."""

    def __init__(self, n_arms: int, seed: int | None) -> None:
        self.n_arms = checks.at_least("n_arms", n_arms, 1)
        self._rng = random.Random(seed)

    def state_dict(self) -> dict[str, Any]:
        """Return statistics and generator state in plain types."""
        lists = {name: list(getattr(self, f"_{name}")) for name in self.statistics}
        return {**lists, "rng": rng_to_plain(self._rng.getstate())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name in self.statistics:
            setattr(self, f"_{name}", list(state[name]))
        self._rng.setstate(rng_from_plain(state["rng"]))


def check_play(n_arms: int, arm: int, reward: float) -> None:
    """Refuse an impossible update before it touches any statistic.

    Raises:
        ValueError: ``arm`` is out of range or ``reward`` is not finite.
    """
    if not 0 <= arm < n_arms:
        raise ValueError(f"arm must lie in range({n_arms}), but got {arm!r}.")
    checks.finite("reward", reward)


def rng_to_plain(state: tuple[Any, ...]) -> list[Any]:
    """Turn ``random.Random.getstate()`` into nested lists."""
    version, words, gauss = state
    return [version, list(words), gauss]


def rng_from_plain(plain: list[Any]) -> tuple[Any, ...]:
    """Turn :func:`rng_to_plain`'s lists back into what ``setstate`` wants."""
    version, words, gauss = plain
    return version, tuple(words), gauss

"""The bandits of the published implementation, seeded as it seeds them."""

from collections.abc import Sequence

from hypernudge.episodes.axes.base import Axis
from hypernudge.episodes.bandits import BucketedUCB, DiscountedUCB, UniformBandit
from hypernudge.episodes.bandits.base import Bandit
from hypernudge.episodes.context import TREND_BUCKETS
from hypernudge.episodes.controllers.bandit_controller import Slots

NOISE_SEED_OFFSET = 101


def family_bandit(family: str, n_arms: int, *, seed: int | None, exploration: float = 1.0) -> Bandit:
    """Build a bandit of the family `random`, `trend` or `none` (discounted UCB)."""
    if family == "random":
        return UniformBandit(n_arms, seed=seed)
    if family == "trend":
        return BucketedUCB(n_arms, buckets=TREND_BUCKETS, exploration=exploration, seed=seed)
    return DiscountedUCB(n_arms, exploration=exploration, seed=seed)


def published_slots(axes: Sequence[Axis], family: str, *, conditional: bool, seed: int | None) -> Slots:
    """Seed the bandits as the published implementation does: rate `seed`, noise `seed + 101 + arm`."""
    rates, noises = (len(axis.candidates) for axis in axes)
    rate_slot: tuple[Bandit, ...] = (family_bandit(family, rates, seed=seed),) if rates > 1 else ()
    copies = rates if conditional else 1
    noise_slot = tuple(
        family_bandit(family, noises, seed=None if seed is None else seed + NOISE_SEED_OFFSET + copy)
        for copy in range(copies if noises > 1 else 0)
    )
    return rate_slot, noise_slot

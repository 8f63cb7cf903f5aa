"""One discounted UCB per context bucket, each starting from what all buckets learned together."""

from collections.abc import Sequence
from typing import Any

from hypernudge.episodes import checks
from hypernudge.episodes.bandits.ucb import DiscountedUCB

BUCKET_SEED_OFFSET = 1000


class BucketedUCB:
    """A global discounted UCB and, per context bucket, one that begins as a copy of it.

    A bucket is created the first time it becomes active, with the statistics the global bandit has
    at that moment; arms tried in any bucket are therefore not warmed up again. An update goes to the
    global bandit and to the active bucket; the other buckets are not discounted.

    Args:
        n_arms: Number of arms, at least 1.
        buckets: Names of all buckets; their order fixes the seeds.
        exploration: See `DiscountedUCB`.
        discount: See `DiscountedUCB`.
        warmup_rounds: See `DiscountedUCB`.
        seed: Bucket `i` breaks ties with `seed + 1000 + i`; None seeds from the operating system.

    Raises:
        ValueError: An argument is out of range or `buckets` is empty.
    """

    kind = "bucketed_ucb"

    def __init__(
        self,
        n_arms: int,
        *,
        buckets: Sequence[str],
        exploration: float = 1.0,
        discount: float = 0.95,
        warmup_rounds: int = 1,
        seed: int | None = None,
    ) -> None:
        self.n_arms = checks.at_least("n_arms", n_arms, 1)
        if isinstance(buckets, str) or not all(isinstance(name, str) for name in buckets) or not buckets:
            checks.refuse("buckets", "must be a list of at least one name", buckets, "pass TREND_BUCKETS")
        self.buckets = tuple(buckets)
        if len(set(self.buckets)) < len(self.buckets):
            checks.refuse("buckets", "must all differ", self.buckets, "keep one of each")
        self._options: dict[str, Any] = {
            "exploration": exploration,
            "discount": discount,
            "warmup_rounds": warmup_rounds,
        }
        self._seed = checks.seed(seed)
        self._global = DiscountedUCB(n_arms, seed=seed, **self._options)
        self._local: dict[str, DiscountedUCB] = {}
        self._active: str | None = None

    def set_context(self, bucket: str) -> None:
        """Make `bucket` active, creating it from the global statistics if it is new.

        Raises:
            ValueError: `bucket` is not one of the names given at construction.
        """
        checks.choice("bucket", bucket, self.buckets)
        if bucket not in self._local:
            self._local[bucket] = self._make(bucket, self._seed)
            self._local[bucket].copy_statistics(self._global)
        self._active = bucket

    def select(self) -> int:
        """Return the choice of the active bucket.

        Raises:
            RuntimeError: No context was set yet.
        """
        return self._current().select()

    def update(self, arm: int, reward: float) -> None:
        """Update the global bandit, then the active bucket.

        Raises:
            RuntimeError: No context was set yet.
            ValueError: `arm` is out of range or `reward` is not finite.
        """
        local = self._current()
        self._global.update(arm, reward)
        local.update(arm, reward)

    def state_dict(self) -> dict[str, Any]:
        """Return every bucket's state in plain types."""
        return {
            "global": self._global.state_dict(),
            "local": {name: bandit.state_dict() for name, bandit in self._local.items()},
            "active": self._active,
            "seed": self._seed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        checks.state(state, ("global", "local", "active", "seed"), "state of BucketedUCB")
        seed = checks.seed(state["seed"])
        local: dict[str, DiscountedUCB] = {}
        for name, saved in state["local"].items():
            local[name] = self._make(checks.choice("bucket", name, self.buckets), seed)
            local[name].load_state_dict(saved)
        active = state["active"]
        if active is not None:
            checks.choice("active", active, list(local))
        self._global.load_state_dict(state["global"])
        self._seed, self._local, self._active = seed, local, active

    def _make(self, bucket: str, seed: int | None) -> DiscountedUCB:
        offset = BUCKET_SEED_OFFSET + self.buckets.index(bucket)
        return DiscountedUCB(self.n_arms, seed=None if seed is None else seed + offset, **self._options)

    def _current(self) -> DiscountedUCB:
        if self._active is None:
            raise RuntimeError("No context is active; call set_context(bucket) before select or update")
        return self._local[self._active]

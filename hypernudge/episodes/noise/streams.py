"""The random streams of a noise source: made when they are first needed, and restorable."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from hypernudge.episodes import checks


class NoiseStreams:
    """One generator per name; what the noise sources share.

    Args:
        seed: Seed of all streams, or None where the subclass allows it.
    """

    seedless: ClassVar[bool] = False
    """Whether there may be no seed."""

    def __init__(self, seed: int | None) -> None:
        self._seed = self._checked(seed)
        self._generators: dict[str, torch.Generator] = {}
        self._waiting: dict[str, Tensor] = {}  # loaded states of streams not needed yet

    def seed_of(self, key: str) -> int | None:
        """Return the seed of a stream; None keeps torch's default."""
        raise NotImplementedError

    def generator(self, key: str, device: torch.device) -> torch.Generator:
        """Return the generator of a stream, where it was when it was last used or saved."""
        found = self._generators.get(key)
        if found is None:
            found = self._generators[key] = torch.Generator(device=device)
            seed = self.seed_of(key)
            if seed is not None:
                found.manual_seed(seed)
            if key in self._waiting:
                found.set_state(self._waiting.pop(key))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the seed and the generator states by name."""
        drawn = {key: generator.get_state() for key, generator in self._generators.items()}
        return {"seed": self._seed, "streams": {**self._waiting, **drawn}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; devices are touched when a stream is first used."""
        found = checks.state(state, ("seed", "streams"), "state of the noise")
        streams = found["streams"]
        if not isinstance(streams, Mapping) or not all(isinstance(item, Tensor) for item in streams.values()):
            checks.refuse("streams", "must be a dict of tensors", streams, "load what state_dict() returned")
        self._seed = self._checked(found["seed"])
        self._waiting = {key: item.cpu() for key, item in streams.items()}
        self._generators = {}

    def _checked(self, seed: Any) -> int | None:
        return checks.seed(seed) if self.seedless else checks.whole_seed(seed)

"""Gradient noise as the published implementation draws it."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.noise.gradients import dense_values


class KeyedNoise:
    """The noise of the published implementation, number for number.

    One generator per (group, parameter), seeded `seed + 1009 * group + parameter`; without a seed they keep
    torch's default seed, so equal shapes get equal noise. Kept for exact reproduction only.

    Args:
        seed: Seed of all streams, or None.
    """

    kind = "keyed"

    def __init__(self, seed: int | None) -> None:
        self._seed = checks.seed(seed)
        self._generators: dict[str, torch.Generator] = {}
        self._waiting: dict[str, Tensor] = {}

    def add(self, optimizer: Optimizer, std: float) -> None:
        """Add noise to every gradient of `optimizer`, in place."""
        scale = getattr(optimizer, "grad_scale", None)
        with torch.no_grad():
            for group_index, group in enumerate(optimizer.param_groups):
                for index, parameter in enumerate(group["params"]):
                    if parameter.grad is None:
                        continue
                    gradient = dense_values(parameter)
                    key = f"{gradient.device.type}:{group_index}:{index}"
                    offset = 1009 * group_index + index
                    noise = torch.randn(
                        gradient.shape,
                        generator=self._generator(key, gradient.device, offset),
                        device=gradient.device,
                        dtype=gradient.dtype,
                    )
                    # Rounded product first, then the sum: `alpha=` may fuse the two.
                    noise.mul_(std)
                    if scale is not None:
                        noise.mul_(scale.to(device=noise.device, dtype=noise.dtype))
                    gradient.add_(noise)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed and the generator states by key."""
        drawn = {key: generator.get_state() for key, generator in self._generators.items()}
        return {"seed": self._seed, "streams": {**self._waiting, **drawn}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._seed, self._waiting = checks.noise_state(state)
        self._generators = {}

    def _generator(self, key: str, device: torch.device, offset: int) -> torch.Generator:
        generator = self._generators.get(key)
        if generator is None:
            generator = torch.Generator(device=device)
            if self._seed is not None:
                generator.manual_seed(self._seed + offset)
            if key in self._waiting:
                generator.set_state(self._waiting.pop(key))
            self._generators[key] = generator
        return generator

"""Gradient noise as the published implementation draws it."""

import torch
from torch.optim import Optimizer

from hypernudge.episodes.noise.gradients import dense_values
from hypernudge.episodes.noise.streams import NoiseStreams


class KeyedNoise(NoiseStreams):
    """The noise of the published implementation, number for number.

    One generator per (group, parameter), seeded `seed + 1009 * group + parameter`; without a seed they keep
    torch's default seed, so equal shapes get equal noise. Kept for exact reproduction only.

    Args:
        seed: Seed of all streams, or None.
    """

    kind = "keyed"
    seedless = True

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
                    noise = torch.randn(
                        gradient.shape,
                        generator=self.generator(key, gradient.device),
                        device=gradient.device,
                        dtype=gradient.dtype,
                    )
                    # Rounded product first, then the sum: `alpha=` may fuse the two.
                    noise.mul_(std)
                    if scale is not None:
                        noise.mul_(scale.to(device=noise.device, dtype=noise.dtype))
                    gradient.add_(noise)

    def seed_of(self, key: str) -> int | None:
        """Return the seed of a parameter's stream."""
        _, group, index = key.split(":")
        return None if self._seed is None else self._seed + 1009 * int(group) + int(index)

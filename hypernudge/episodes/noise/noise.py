"""Gaussian gradient noise from independent, chunked, restorable random streams."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.noise.gaussian import GaussianBuffer
from hypernudge.episodes.noise.gradients import by_stream, flat_alias
from hypernudge.episodes.noise.streams import NoiseStreams
from hypernudge.random import integer

TABLE_FROM = 1 << 17
CPU_CHUNK = 1 << 15  # fits the second-level cache with its tables, where drawing and adding cost half
DEVICE_CHUNK = 1 << 22
ALIGN = 16  # a CPU draws whole words; whole blocks of them make a chunked draw equal a single one


class StreamedNoise(NoiseStreams):
    """One random stream per device, dtype and shard, cut into consecutive pieces along the parameters.

    Every parameter and every step gets its own piece of a stream, so no two share numbers, and streams of
    different seeds are unrelated. Memory is one chunk (32,768 numbers on a CPU, 4 million elsewhere)
    whatever the model. Replicated parameters get equal noise on all ranks, shards their own.

    Args:
        seed: Seed of all streams.
        chunk: Numbers drawn at a time, or None for the defaults; on a CPU the noise does not depend on it.
    """

    kind = "streamed"

    def __init__(self, seed: int, *, chunk: int | None = None) -> None:
        super().__init__(seed)
        self._chunk = None if chunk is None else checks.at_least("chunk", chunk, 1)
        self._buffers: dict[str, GaussianBuffer] = {}
        self._repeat: _Repeat | None = None

    def add(self, optimizer: Optimizer, std: float) -> None:
        """Add noise to every gradient of `optimizer`, in place.

        While a gradient scaler lets a fused optimizer unscale inside its kernel, gradients are still
        multiplied by `optimizer.grad_scale` here; the noise then is too, on the device.
        """
        scale = getattr(optimizer, "grad_scale", None)
        with torch.no_grad():
            if scale is None and self._repeat is not None and self._repeat.add(optimizer, std):
                return
            for key, gradients in by_stream(optimizer).items():
                if len(gradients) > 1 and self._fits(gradients):
                    self._add_at_once(key, gradients, std, scale)
                else:
                    self._add_in_chunks(key, [flat_alias(gradient) for gradient in gradients], std, scale)

    def add_relative(self, optimizer: Optimizer, factor: float) -> None:
        """Add noise of `factor` times the root mean square of each gradient, in place; it reads no device.

        The numbers drawn are those of `add`. A gradient scaler changes nothing: the spread is scaled with the
        gradient.
        """
        with torch.no_grad():
            for key, gradients in by_stream(optimizer).items():
                aliases = [flat_alias(gradient) for gradient in gradients]
                sizes = [alias.numel() ** -0.5 for alias in aliases]
                spreads = [
                    norm * size for norm, size in zip(torch._foreach_norm(aliases), sizes, strict=True)
                ]
                self._add_in_chunks(key, aliases, factor, None, spreads)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; devices are touched when a stream is first used."""
        super().load_state_dict(state)
        self._repeat = None

    def seed_of(self, key: str) -> int:
        """Return the seed of a stream."""
        return integer(checks.whole_seed(self._seed), "noise", key)

    def _fits(self, gradients: list[Tensor]) -> bool:
        size = self._chunk_size(gradients[0].device)
        return sum(gradient.numel() for gradient in gradients) <= size and all(
            gradient.is_contiguous() for gradient in gradients
        )

    def _add_at_once(self, key: str, gradients: list[Tensor], std: float, scale: Tensor | None) -> None:
        """Add one chunk to many small gradients by one call; numbers as `_add_in_chunks` draws them."""
        sizes = [gradient.numel() for gradient in gradients]
        total = sum(sizes)
        buffer = self._buffer(key, gradients[0], total, total)
        generator = self.generator(key, gradients[0].device)
        pieces = torch.split(buffer.values[:total], sizes)
        views = [piece.view(gradient.shape) for piece, gradient in zip(pieces, gradients, strict=True)]
        drawn = buffer.fill(_aligned(total), generator)
        if scale is not None:
            drawn.mul_(scale.to(device=drawn.device, dtype=drawn.dtype))
        torch._foreach_add_(gradients, views, alpha=std)
        self._repeat = _Repeat(gradients, buffer, generator, views)

    def _chunk_size(self, device: torch.device) -> int:
        return self._chunk or (CPU_CHUNK if device.type == "cpu" else DEVICE_CHUNK)

    def _buffer(self, key: str, like: Tensor, size: int, total: int) -> GaussianBuffer:
        key = f"{key}{'table' if total >= TABLE_FROM else ''}"
        buffer = self._buffers.get(key)
        if buffer is None or buffer.values.numel() < size:
            buffer = GaussianBuffer(_aligned(size), like.device, like.dtype, tabulated=total >= TABLE_FROM)
            self._buffers[key] = buffer
            self._repeat = None
        return buffer

    def _add_in_chunks(
        self,
        key: str,
        gradients: list[Tensor],
        std: float,
        scale: Tensor | None,
        spreads: list[Tensor] | None = None,
    ) -> None:
        device = gradients[0].device
        generator = self.generator(key, device)
        left = sum(gradient.numel() for gradient in gradients)
        size = _aligned(min(self._chunk_size(device), left))
        buffer = self._buffer(key, gradients[0], size, left)
        at = end = 0
        for index, gradient in enumerate(gradients):
            start = 0
            total = gradient.numel()
            while start < total:
                if at == end:
                    at, end = 0, min(size, left)
                    drawn = buffer.fill(_aligned(end), generator)
                    left -= end
                    if scale is not None:
                        drawn.mul_(scale.to(device=device, dtype=drawn.dtype))
                take = min(total - start, end - at)
                piece = gradient if take == total else gradient[start : start + take]
                if spreads is None:
                    piece.add_(buffer.values[at : at + take], alpha=std)
                else:
                    piece.addcmul_(buffer.values[at : at + take], spreads[index], value=std)
                start += take
                at += take


def _aligned(count: int) -> int:
    return -(-count // ALIGN) * ALIGN


class _Repeat:
    """What the last step of a small model did, to be done again without looking everything up.

    On a model of some thousand parameters the look-ups cost as much as the noise.
    """

    def __init__(
        self,
        gradients: list[Tensor],
        buffer: GaussianBuffer,
        generator: torch.Generator,
        views: list[Tensor],
    ) -> None:
        self._kinds = [_kind(gradient) for gradient in gradients]
        self._count = _aligned(sum(gradient.numel() for gradient in gradients))
        self._buffer = buffer
        self._generator = generator
        self._views = views

    def add(self, optimizer: Optimizer, std: float) -> bool:
        """Add noise if the gradients are of the same kinds as last time; return whether they were."""
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if [_kind(gradient) for gradient in gradients] != self._kinds:
            return False
        self._buffer.fill(self._count, self._generator)
        torch._foreach_add_(gradients, self._views, alpha=std)
        return True


def _kind(gradient: Tensor) -> tuple[object, ...]:
    return (type(gradient), gradient.shape, gradient.dtype, gradient.device, gradient.layout)

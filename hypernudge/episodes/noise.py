"""Gaussian gradient noise from independent, chunked, restorable random streams."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes.seeds import derive_seed

CPU_CHUNK = 1 << 16  # fits the second-level cache, where drawing and adding cost half as much
DEVICE_CHUNK = 1 << 22
ALIGN = 16  # torch's CPU kernel draws blocks of 16; whole blocks make a chunked draw equal a single one


def local_tensor(tensor: Tensor) -> Tensor:
    """Return the part of a sharded tensor that lives on this rank, or the tensor itself."""
    to_local = getattr(tensor, "_local_tensor", None)
    return to_local if isinstance(to_local, Tensor) else tensor


def shard_address(tensor: Tensor) -> str:
    """Name the shard that this rank holds: equal on ranks that hold the same data, else different."""
    placements = getattr(tensor, "placements", None)
    mesh = getattr(tensor, "device_mesh", None)
    if placements is None or mesh is None:
        return ""
    coordinate = mesh.get_coordinate() or ()
    return "/".join(str(at) for at, place in zip(coordinate, placements, strict=False) if place.is_shard())


class StreamedNoise:
    """One random stream per device, dtype and shard, cut into consecutive pieces along the parameters.

    Every parameter and every step gets its own piece of a stream, so no two share numbers, and streams of
    different seeds are unrelated. Memory is one chunk (65,536 numbers on a CPU, 4 million elsewhere)
    whatever the model. Replicated parameters get equal noise on all ranks, shards their own.

    Args:
        seed: Seed of all streams.
        chunk: Numbers drawn at a time, or None for the defaults; on a CPU the noise does not depend on it.
    """

    def __init__(self, seed: int, *, chunk: int | None = None) -> None:
        self._seed = seed
        self._chunk = chunk
        self._generators: dict[str, torch.Generator] = {}
        self._waiting: dict[str, Tensor] = {}  # loaded states of streams not needed yet
        self._buffers: dict[str, Tensor] = {}

    def add(self, optimizer: Optimizer, std: float) -> None:
        """Add noise to every gradient of ``optimizer``, in place.

        While a gradient scaler lets a fused optimizer unscale inside its kernel, gradients are still
        multiplied by ``optimizer.grad_scale`` here; the noise then is too, on the device.
        """
        scale = getattr(optimizer, "grad_scale", None)
        streams: dict[str, list[Tensor]] = {}
        with torch.no_grad():
            for flat, key in _flat_gradients(optimizer):
                streams.setdefault(key, []).append(flat)
            for key, gradients in streams.items():
                self._add_stream(key, gradients, std, scale)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed and the generator states by stream name."""
        drawn = {key: generator.get_state() for key, generator in self._generators.items()}
        return {"seed": self._seed, "streams": {**self._waiting, **drawn}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; devices are touched when a stream is first used."""
        self._generators = {}
        self._seed = state["seed"]
        self._waiting = {key: value.cpu() for key, value in state["streams"].items()}

    def _add_stream(self, key: str, gradients: list[Tensor], std: float, scale: Tensor | None) -> None:
        device = gradients[0].device
        generator = self._generator(key, device)
        left = sum(gradient.numel() for gradient in gradients)
        size = self._chunk or (CPU_CHUNK if device.type == "cpu" else DEVICE_CHUNK)
        size = _aligned(min(size, left))
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[key] = torch.empty(size, device=device, dtype=gradients[0].dtype)
        at = end = 0
        for gradient in gradients:
            start = 0
            total = gradient.numel()
            while start < total:
                if at == end:
                    at, end = 0, min(size, left)
                    drawn = buffer[: _aligned(end)].normal_(generator=generator)
                    left -= end
                    if scale is not None:
                        drawn.mul_(scale.to(device=device, dtype=drawn.dtype))
                take = min(total - start, end - at)
                piece = gradient if take == total else gradient[start : start + take]
                piece.add_(buffer[at : at + take], alpha=std)
                start += take
                at += take

    def _generator(self, key: str, device: torch.device) -> torch.Generator:
        generator = self._generators.get(key)
        if generator is None:
            generator = torch.Generator(device=device)
            generator.manual_seed(derive_seed(self._seed, "noise", key))
            if key in self._waiting:
                generator.set_state(self._waiting.pop(key))
            self._generators[key] = generator
        return generator


class KeyedNoise:
    """The noise of the published implementation, number for number.

    One generator per (group, parameter), seeded ``seed + 1009 * group + parameter``; without a seed they keep
    torch's default seed, so equal shapes get equal noise. Kept for exact reproduction only.

    Args:
        seed: Seed of all streams, or None.
    """

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._generators: dict[str, torch.Generator] = {}
        self._waiting: dict[str, Tensor] = {}

    def add(self, optimizer: Optimizer, std: float) -> None:
        """Add noise to every gradient of ``optimizer``, in place."""
        scale = getattr(optimizer, "grad_scale", None)
        with torch.no_grad():
            for group_index, group in enumerate(optimizer.param_groups):
                for index, parameter in enumerate(group["params"]):
                    if parameter.grad is None:
                        continue
                    gradient = _dense_values(parameter)
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
        """Restore what :meth:`state_dict` returned."""
        self._generators = {}
        self._seed = state["seed"]
        self._waiting = {key: value.cpu() for key, value in state["streams"].items()}

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


def _aligned(count: int) -> int:
    return -(-count // ALIGN) * ALIGN


def _dense_values(parameter: Tensor) -> Tensor:
    """Return the dense tensor whose change changes the gradient: for sparse ones, the stored rows."""
    gradient = parameter.grad
    if gradient is None:
        raise ValueError("parameter has no gradient; skip it before asking for its values.")
    gradient = local_tensor(gradient)
    if gradient.layout is torch.sparse_coo:
        if not gradient.is_coalesced():
            # Duplicate rows would each get noise, and their sum too much of it.
            gradient = parameter.grad = gradient.coalesce()
        return gradient._values()
    return gradient


def _flat_gradients(optimizer: Optimizer) -> Iterator[tuple[Tensor, str]]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            values = _dense_values(parameter)
            if values.numel() == 0:
                continue
            if not values.is_contiguous():
                values = _flattened(values)
            key = f"{values.device}:{values.dtype}:{shard_address(parameter.grad)}"
            yield values.view(-1), key


def _flattened(values: Tensor) -> Tensor:
    """Return a contiguous alias of a dense permuted tensor (channels-last gradients, for example)."""
    order = sorted(range(values.dim()), key=values.stride, reverse=True)
    permuted = values.permute(order)
    if permuted.is_contiguous():
        return permuted
    raise ValueError(
        f"gradient of shape {tuple(values.shape)} and strides {values.stride()} overlaps or has holes; "
        "make it contiguous before optimizer.step()."
    )

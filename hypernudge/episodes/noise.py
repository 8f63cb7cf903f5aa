"""Gaussian gradient noise from independent, chunked, restorable random streams."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes.gaussian import GaussianBuffer
from hypernudge.episodes.seeds import derive_seed

CPU_CHUNK = 1 << 15  # fits the second-level cache with its tables, where drawing and adding cost half
DEVICE_CHUNK = 1 << 22
ALIGN = 16  # a CPU draws whole words; whole blocks of them make a chunked draw equal a single one


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
    different seeds are unrelated. Memory is one chunk (32,768 numbers on a CPU, 4 million elsewhere)
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
        self._buffers: dict[str, GaussianBuffer] = {}
        self._plans: dict[str, tuple[list[torch.Size], GaussianBuffer, list[Tensor]]] = {}

    def add(self, optimizer: Optimizer, std: float) -> None:
        """Add noise to every gradient of ``optimizer``, in place.

        While a gradient scaler lets a fused optimizer unscale inside its kernel, gradients are still
        multiplied by ``optimizer.grad_scale`` here; the noise then is too, on the device.
        """
        scale = getattr(optimizer, "grad_scale", None)
        with torch.no_grad():
            for key, gradients in _by_stream(optimizer).items():
                if len(gradients) > 1 and self._fits(gradients):
                    self._add_at_once(key, gradients, std, scale)
                else:
                    self._add_in_chunks(key, [flat_alias(gradient) for gradient in gradients], std, scale)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed and the generator states by stream name."""
        drawn = {key: generator.get_state() for key, generator in self._generators.items()}
        return {"seed": self._seed, "streams": {**self._waiting, **drawn}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; devices are touched when a stream is first used."""
        self._generators = {}
        self._seed = state["seed"]
        self._waiting = {key: value.cpu() for key, value in state["streams"].items()}

    def _fits(self, gradients: list[Tensor]) -> bool:
        size = self._chunk_size(gradients[0].device)
        return sum(gradient.numel() for gradient in gradients) <= size and all(
            gradient.is_contiguous() for gradient in gradients
        )

    def _add_at_once(self, key: str, gradients: list[Tensor], std: float, scale: Tensor | None) -> None:
        """Add one chunk to many small gradients by one call; numbers as :meth:`_add_in_chunks` draws them."""
        shapes = [gradient.shape for gradient in gradients]
        plan = self._plans.get(key)
        if plan is None or plan[0] != shapes:
            sizes = [gradient.numel() for gradient in gradients]
            buffer = self._buffer(key, gradients[0], sum(sizes))
            pieces = torch.split(buffer.values[: sum(sizes)], sizes)
            views = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
            plan = self._plans[key] = (shapes, buffer, views)
        _, buffer, views = plan
        total = sum(gradient.numel() for gradient in gradients)
        drawn = buffer.fill(_aligned(total), self._generator(key, gradients[0].device))
        if scale is not None:
            drawn.mul_(scale.to(device=drawn.device, dtype=drawn.dtype))
        torch._foreach_add_(gradients, views, alpha=std)

    def _chunk_size(self, device: torch.device) -> int:
        return self._chunk or (CPU_CHUNK if device.type == "cpu" else DEVICE_CHUNK)

    def _buffer(self, key: str, like: Tensor, size: int) -> GaussianBuffer:
        buffer = self._buffers.get(key)
        if buffer is None or buffer.values.numel() < size:
            buffer = GaussianBuffer(_aligned(size), like.device, like.dtype)
            self._buffers[key] = buffer
            self._plans.pop(key, None)
        return buffer

    def _add_in_chunks(self, key: str, gradients: list[Tensor], std: float, scale: Tensor | None) -> None:
        device = gradients[0].device
        generator = self._generator(key, device)
        left = sum(gradient.numel() for gradient in gradients)
        size = _aligned(min(self._chunk_size(device), left))
        buffer = self._buffer(key, gradients[0], size)
        at = end = 0
        for gradient in gradients:
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
                piece.add_(buffer.values[at : at + take], alpha=std)
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


def _by_stream(optimizer: Optimizer) -> dict[str, list[Tensor]]:
    """Collect the dense local gradients by stream, in the order of the parameters."""
    streams: dict[str, list[Tensor]] = {}
    names: dict[tuple[torch.device, torch.dtype], str] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                continue
            shard = ""
            if type(gradient) is not Tensor or gradient.layout is not torch.strided:
                shard = shard_address(gradient)
                gradient = _dense_values(parameter)
            if gradient.numel() == 0:
                continue
            kind = (gradient.device, gradient.dtype)
            name = names.get(kind)
            if name is None:
                name = names[kind] = f"{gradient.device}:{gradient.dtype}:"
            streams.setdefault(name + shard, []).append(gradient)
    return streams


def flat_alias(values: Tensor) -> Tensor:
    """Return a one-dimensional alias of a dense tensor, also of a permuted one (channels-last, for example).

    Raises:
        ValueError: Elements overlap or have holes between them.
    """
    if values.is_contiguous():
        return values.view(-1)
    order = sorted(range(values.dim()), key=values.stride, reverse=True)
    permuted = values.permute(order)
    if permuted.is_contiguous():
        return permuted.view(-1)
    raise ValueError(
        f"gradient of shape {tuple(values.shape)} and strides {values.stride()} overlaps or has holes; "
        "make it contiguous before optimizer.step()."
    )

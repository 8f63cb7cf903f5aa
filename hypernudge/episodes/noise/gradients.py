"""Finding the memory of gradients: dense, sparse, sharded, permuted."""

import torch
from torch import Tensor
from torch.optim import Optimizer


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


def dense_values(parameter: Tensor) -> Tensor:
    """Return the dense tensor whose change changes the gradient: for sparse ones, the stored rows."""
    gradient = parameter.grad
    if gradient is None:
        raise ValueError("parameter: has no gradient; skip it before asking for its values")
    gradient = local_tensor(gradient)
    if gradient.layout is torch.sparse_coo:
        if not gradient.is_coalesced():
            # Duplicate rows would each get noise, and their sum too much of it.
            gradient = parameter.grad = gradient.coalesce()
        return gradient._values()
    return gradient


def by_stream(optimizer: Optimizer) -> dict[str, list[Tensor]]:
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
                gradient = dense_values(parameter)
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
        f"gradient: must lie in one piece, but that of shape {tuple(values.shape)} and strides "
        f"{values.stride()} overlaps or has holes; make it contiguous before optimizer.step()"
    )

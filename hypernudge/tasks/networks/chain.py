"""Which networks are plain chains of layers, so that they can be evaluated without their modules."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn


def chain(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers in their order, each with the prefix of its parameters' names, for example `"0."`.

    `nn.Sequential` is a chain, and so is a module that says so (`is_chain`) and holds its layers in `layers`.
    Any other module is a layer by itself; whether it is known is for the caller to say.
    """
    return list(_walk(network, ""))


def _walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    inner = getattr(module, "layers", None)
    if isinstance(inner, nn.Sequential) and getattr(module, "is_chain", False):
        yield from _walk(inner, f"{prefix}layers.")
    elif isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            yield from _walk(child, f"{prefix}{name}.")
    else:
        yield prefix, module


def flattens_samples(module: nn.Module) -> bool:
    """Whether `module` makes each sample a vector, and does nothing else."""
    return isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim == -1

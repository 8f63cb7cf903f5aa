"""A network as a function of its parameters, without the cost of swapping them in and out of modules.

`torch.func.functional_call` costs about as much as a small network's forward pass. A plain chain of layers
needs none of it: each layer is called as the function it is. Anything else goes through `functional_call`,
which is also the reference implementation.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn
from torch.func import functional_call

from hypernudge.optimizers import Params
from hypernudge.tasks.networks.chain import chain, flattens_samples

Layer = Callable[[Params, Tensor], Tensor]


def as_function(network: nn.Module) -> Callable[[Params, Tensor], Tensor]:
    """Return `f(params, x)` equal to `network(x)` with the parameters `params`, named as in the module."""
    found = [_leaf(module, prefix) for prefix, module in chain(network)]
    layers = [layer for layer in found if layer is not None]
    if len(layers) < len(found):
        return lambda params, x: functional_call(network, params, (x,))

    def call(params: Params, x: Tensor) -> Tensor:
        for layer in layers:
            x = layer(params, x)
        return x

    return call


def _leaf(module: nn.Module, prefix: str) -> Layer | None:
    """Return the layer as a function, or None if it is not a known one."""
    weight, bias = f"{prefix}weight", f"{prefix}bias"
    if isinstance(module, nn.Linear):
        return lambda params, x: F.linear(x, params[weight], params.get(bias))
    if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
        stride, padding, dilation, groups = module.stride, module.padding, module.dilation, module.groups
        return lambda params, x: F.conv2d(
            x, params[weight], params.get(bias), stride, padding, dilation, groups
        )
    if isinstance(module, nn.ReLU):
        return lambda params, x: F.relu(x)
    return (lambda params, x: x.flatten(1)) if flattens_samples(module) else None

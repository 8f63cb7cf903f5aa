"""The loss of one trial and its gradient without autograd, for plain chains of linear layers: for probes.

On small networks the graph takes longer than the arithmetic. The operations are those that autograd calls for
`SupervisedTask.loss`, one by one and on the same layouts, so the result has the same bits; differentiating
that loss is the reference implementation. Convolutions are left to autograd: theirs takes most of the time.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from hypernudge.optimizers import Params
from hypernudge.tasks.networks.chain import chain, flattens_samples

Layer = tuple[str, str | None] | str
"""Names of weight and bias of a linear layer; `"relu"` or `"flatten"`."""


class LinearChain:
    """A network of linear layers and rectifiers with its gradient; made by `linear_chain`."""

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = layers
        self._lowest = next(i for i, layer in enumerate(layers) if isinstance(layer, tuple))

    @torch.no_grad()
    def loss_and_gradient(
        self, params: Params, x: Tensor, y: Tensor, smoothing: float
    ) -> tuple[Tensor, Params]:
        """Return the label-smoothed cross-entropy, a scalar, and its gradient.

        Args:
            params: Weights and biases by name.
            x: Inputs, `(n, *sample)`.
            y: Labels, `(n,)`.
            smoothing: Of the labels.
        """
        kept: list[Tensor] = []
        for layer in self._layers:
            before = x
            if isinstance(layer, tuple):
                weight, bias = params[layer[0]], layer[1]
                x = torch.mm(x, weight.t()) if bias is None else torch.addmm(params[bias], x, weight.t())
                kept.append(before)
            else:
                x = x.relu() if layer == "relu" else x.flatten(1)
                kept.append(x if layer == "relu" else before)
        log_p, index = torch.log_softmax(x, -1), y.unsqueeze(-1)
        hit = -log_p.gather(-1, index).sum() / len(y)
        loss = (1.0 - smoothing) * hit - smoothing * log_p.mean()
        elsewhere, at_label = _slopes(smoothing, len(y), log_p.numel(), log_p.dtype)
        slope = torch.full_like(log_p, elsewhere).scatter_(1, index, at_label)
        out = torch.ops.aten._log_softmax_backward_data(slope, log_p, 1, log_p.dtype)
        return loss, self._backward(params, kept, out)

    def _backward(self, params: Params, kept: list[Tensor], out: Tensor) -> Params:
        grads: Params = {}
        for i in range(len(self._layers) - 1, self._lowest - 1, -1):
            layer = self._layers[i]
            if isinstance(layer, tuple):
                weight, bias = layer
                grads[weight] = torch.mm(out.t(), kept[i])
                if bias is not None:
                    grads[bias] = out.sum(0)
                if i > self._lowest:
                    out = torch.mm(out, params[weight])
            elif layer == "relu":
                out = torch.ops.aten.threshold_backward(out, kept[i], 0)
            else:
                out = out.reshape(kept[i].shape)
        return {name: grads[name] for name in params}


def linear_chain(network: nn.Module) -> LinearChain | None:
    """Return the network, or None if it is not a plain chain of linear layers, rectifiers and flattening."""
    layers: list[Layer] = []
    for prefix, module in chain(network):
        if isinstance(module, nn.Linear):
            layers.append((f"{prefix}weight", None if module.bias is None else f"{prefix}bias"))
        elif isinstance(module, nn.ReLU):
            layers.append("relu")
        elif flattens_samples(module):
            layers.append("flatten")
        else:
            return None
    return LinearChain(layers) if any(isinstance(layer, tuple) for layer in layers) else None


@lru_cache(maxsize=64)
def _slopes(smoothing: float, n: int, count: int, dtype: torch.dtype) -> tuple[float, float]:
    """Return the loss's derivative with respect to a log-probability: of another class, and of the label.

    Args:
        smoothing: Of the labels.
        n: Samples.
        count: Log-probabilities, of all samples and classes.
        dtype: In whose precision they are computed, step by step as autograd does.
    """
    one, zero = torch.ones((), dtype=dtype), torch.zeros((), dtype=dtype)
    elsewhere = zero + -one * smoothing / count
    return elsewhere.item(), (elsewhere + -(one * (1.0 - smoothing) / n)).item()

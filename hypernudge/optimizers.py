"""Update rules as pure functions, so that a hyper-gradient can flow through a step of training.

Each rule exists twice: `update` is pure and differentiable in parameters, gradients and hyper-parameters;
`update_` does the same in place, as fast as PyTorch's own optimizers, and is what trials are trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Params = dict[str, Tensor]


class Optimizer(Protocol):
    """An update rule that reads its hyper-parameters from the trial's configuration."""

    def init(self, params: Params) -> Params:
        """Return the state before the first step."""
        ...

    def update(
        self, params: Params, grads: Params, state: Params, hp: Mapping[str, Any]
    ) -> tuple[Params, Params]:
        """Return new parameters and state; pure and differentiable."""
        ...

    def update_(self, params: Params, grads: Params, state: Params, hp: Mapping[str, float]) -> None:
        """Do the same in place, without a graph."""
        ...


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with heavy-ball momentum and weight decay, as in `torch.optim.SGD`.

    `v <- momentum * v + (g + weight_decay * w); w <- w - lr * v`. With `decoupled=True` the decay leaves the
    momentum buffer alone: `w <- w - lr * v - lr * weight_decay * w` (Loshchilov and Hutter 2019, SGDW).

    Reads `lr`, and `momentum` and `weight_decay` where the configuration has them (0 otherwise).
    """

    decoupled: bool = False

    def init(self, params: Params) -> Params:
        """Return zero momentum buffers."""
        return {name: torch.zeros_like(value) for name, value in params.items()}

    def update(
        self, params: Params, grads: Params, state: Params, hp: Mapping[str, Any]
    ) -> tuple[Params, Params]:
        """Return new parameters and momentum buffers; pure and differentiable."""
        lr, momentum, decay = hp["lr"], hp.get("momentum", 0.0), hp.get("weight_decay", 0.0)
        new_params, new_state = {}, {}
        for name, w in params.items():
            g = grads[name] if self.decoupled else grads[name] + decay * w
            v = momentum * state[name] + g
            new_state[name] = v
            new_params[name] = w - lr * v - (lr * decay * w if self.decoupled else 0.0)
        return new_params, new_state

    @torch.no_grad()
    def update_(self, params: Params, grads: Params, state: Params, hp: Mapping[str, float]) -> None:
        """Do the same in place with fused multi-tensor operations."""
        lr, momentum, decay = hp["lr"], hp.get("momentum", 0.0), hp.get("weight_decay", 0.0)
        w, g = list(params.values()), list(grads.values())
        v = [state[name] for name in params]
        torch._foreach_mul_(v, momentum)
        torch._foreach_add_(v, g)
        if self.decoupled:
            torch._foreach_mul_(w, 1.0 - lr * decay)
        else:
            torch._foreach_add_(v, w, alpha=decay)
        torch._foreach_add_(w, v, alpha=-lr)

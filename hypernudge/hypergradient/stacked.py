"""Hyper-gradients and curvature of many trials at once: their parameters, batches and values stacked.

A `Stack` has the loss of a task, summed over members. No member's loss depends on another's values, so the
gradient of the sum holds everybody's own gradient, and the objectives of `objectives` serve as they are.
The reference implementation measures one trial after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hypernudge.hypergradient.differentiate import Gradient
from hypernudge.hypergradient.objectives import Objective, gather_batch
from hypernudge.optimizers import Params
from hypernudge.space import Config, Real, Value
from hypernudge.task import Batch, GradientTask


class Stack:
    """Trials of one task as one: `loss` takes stacked tensors, `(members, ...)`, and returns a sum.

    Args:
        task: Whose loss consists of tensor operations without branches on values.
        shared: Values of the hyper-parameters that are not continuous, equal for all.
    """

    extra_dimensions = 1  # of every tensor: the members

    def __init__(self, task: GradientTask, shared: Mapping[str, Value]) -> None:
        def one(params: Params, batch: Batch, hp: dict[str, Any]) -> Tensor:
            return task.loss(params, batch, {**shared, **hp})

        self.optimizer = task.optimizer
        self._losses = torch.vmap(one)

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the sum of the members' losses."""
        continuous = {name: value for name, value in hp.items() if isinstance(value, Tensor)}
        total: Tensor = self._losses(params, batch, continuous).sum()
        return total


def stacked_params(task: GradientTask, seeds: Sequence[int]) -> Params:
    """Return the initial parameters that belong to `seeds`, stacked and detached."""
    members = [task.trained(task.init(seed)) for seed in seeds]
    return {name: torch.stack([member[name].detach() for member in members]) for name in members[0]}


def stacked_batch(task: GradientTask, seeds: Sequence[int], first_step: int, size: int) -> Batch:
    """Return `gather_batch` of every one of `seeds`, stacked."""
    members = [gather_batch(task, seed, first_step, size) for seed in seeds]
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}


def stacked_config(configs: Sequence[Config], dtype: torch.dtype) -> dict[str, Any]:
    """Return the values of `configs` by name: continuous ones `(members,)`, of others the first's."""
    return {
        name: torch.tensor([config[name] for config in configs], dtype=dtype)
        if isinstance(value, float)
        else value
        for name, value in configs[0].items()
    }


def reverse_many(
    objective: Objective, configs: Sequence[Config], parameters: Sequence[Real], dtype: torch.dtype
) -> list[Gradient]:
    """Return the gradient for each of `configs` in warped coordinates, as `reverse` does for one.

    Raises:
        RuntimeError: If a layer on the way has no second derivative.
    """
    psi = {
        p.name: torch.tensor([p.warp(float(config[p.name])) for config in configs], dtype=dtype)
        for p in parameters
    }
    for value in psi.values():
        value.requires_grad_(True)
    moved = {p.name: p.unwarp(psi[p.name]) for p in parameters}
    # Not `torch.autograd.grad`, for the reason given in `reverse`.
    objective({**stacked_config(configs, dtype), **moved}).backward()  # type: ignore[no-untyped-call]
    columns = [[0.0] * len(configs) if value.grad is None else value.grad.tolist() for value in psi.values()]
    return [dict(zip(psi, row, strict=True)) for row in zip(*columns, strict=True)] or [{} for _ in configs]

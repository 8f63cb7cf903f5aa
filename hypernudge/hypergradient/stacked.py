"""Hyper-gradients of many trials at once: their parameters, batches and values stacked.

The loss of a `VmapTask` is a sum over its members, none of which depends on another's values. So the gradient
of the sum holds everybody's own gradient, and the objectives of `objectives` serve as they are. The reference
implementation measures one trial after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hypernudge.batching import shared_values, stacked_values
from hypernudge.hypergradient.differentiate import Gradient
from hypernudge.hypergradient.objectives import Objective, gather_batch
from hypernudge.optimizers import Params
from hypernudge.space import Config, Real
from hypernudge.task import Batch, GradientTask


def stacked_params(task: GradientTask, seeds: Sequence[int]) -> Params:
    """Return the initial parameters that belong to `seeds`, stacked and detached."""
    members = [task.trained(task.init(seed)) for seed in seeds]
    return {name: torch.stack([member[name].detach() for member in members]) for name in members[0]}


def stacked_batch(task: GradientTask, seeds: Sequence[int], first_step: int, size: int) -> Batch:
    """Return `gather_batch` of every one of `seeds`, stacked."""
    members = [gather_batch(task, seed, first_step, size) for seed in seeds]
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}


def reverse_many(
    objective: Objective, configs: Sequence[Config], parameters: Sequence[Real], like: Tensor
) -> list[Gradient]:
    """Return the gradient for each of `configs` in warped coordinates, as `reverse` does for one.

    Values are of the type of `like`, one of the parameters, and on its device.

    Raises:
        RuntimeError: If a layer on the way has no second derivative.
    """
    psi = {
        p.name: torch.tensor(
            [p.warp(float(config[p.name])) for config in configs], dtype=like.dtype, device=like.device
        )
        for p in parameters
    }
    for value in psi.values():
        value.requires_grad_(True)
    moved = {p.name: p.unwarp(psi[p.name]) for p in parameters}
    # Not `torch.autograd.grad`, for the reason given in `reverse`.
    others = {**shared_values(configs[0]), **stacked_values(configs, like.dtype, like.device)}
    objective({**others, **moved}).backward()  # type: ignore[no-untyped-call]
    columns = [[0.0] * len(configs) if value.grad is None else value.grad.tolist() for value in psi.values()]
    return [dict(zip(psi, row, strict=True)) for row in zip(*columns, strict=True)] or [{} for _ in configs]

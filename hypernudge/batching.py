"""Trials in batches: which may be computed together, their values stacked, any task through `torch.vmap`.

Engines train so, and warm starts measure so. A `BatchedTask` answers for many trials what the task answers
for one. `VmapTask` serves every task; a task that knows better returns its own from `GradientTask.batched`.
The two must agree, and a law test holds them together.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Any

import torch
from torch import Tensor

from hypernudge.optimizers import Params
from hypernudge.parameters import hashable
from hypernudge.space import Value
from hypernudge.task import Batch, GradientTask, Split
from hypernudge.workspace import Workspace

CPU = torch.device("cpu")
DATA_BYTES = 64 * 2**20  # mini-batches of a cohort that are held at a time


def batch_key(config: Mapping[str, Value]) -> Hashable:
    """Return what configurations have in common that can be computed together.

    They hold the same names, and equal values of everything that is not continuous.
    """
    return tuple((n, float if isinstance(value, float) else hashable(value)) for n, value in config.items())


def batch_groups(configs: Iterable[Mapping[str, Value]]) -> list[list[int]]:
    """Return groups of positions in `configs` that can be computed together."""
    groups: dict[Hashable, list[int]] = {}
    for i, config in enumerate(configs):
        groups.setdefault(batch_key(config), []).append(i)
    return list(groups.values())


def shared_values(config: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values that all configurations like `config` share: those that are not continuous."""
    return {name: value for name, value in config.items() if not isinstance(value, float)}


def stacked_values(
    configs: Sequence[Mapping[str, Value]],
    dtype: torch.dtype,
    device: torch.device = CPU,
    kinds: type | UnionType = float,
) -> Params:
    """Return the values of `configs` that are of `kinds`, by name, `(members,)`."""
    return {
        name: torch.tensor([config[name] for config in configs], dtype=torch.float64).to(device, dtype)
        for name, value in configs[0].items()
        if isinstance(value, kinds)
    }


class VmapTask:
    """Any task whose loss consists of tensor operations without branches on values, through `torch.vmap`.

    Scores are computed member by member, for `score` returns a float and may do anything. With `loss`, a sum
    over members, many trials are one task for the objectives of hyper-gradients.

    Args:
        task: What is trained.
        device: Where its tensors are.
        shared: Values of the hyper-parameters that are not continuous, equal for all members.
    """

    extra_dimensions = 1  # of every tensor: the members

    def __init__(self, task: GradientTask, device: torch.device, shared: Mapping[str, Value]) -> None:
        self.task, self.device, self.shared = task, device, dict(shared)
        self.optimizer = task.optimizer

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the sum of the members' losses: each gets its own gradient, for none depends on the others.

        All tensors are stacked, `(members, ...)`; of `hp` only tensors are read.
        """
        return self.losses(params, batch, hp).sum()

    def losses(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the members' losses, `(members,)`; arguments as of `loss`."""

        def one(params: Params, batch: Batch, hp: dict[str, Any]) -> Tensor:
            return self.task.loss(params, batch, {**self.shared, **hp})

        continuous = {name: value for name, value in hp.items() if isinstance(value, Tensor)}
        losses: Tensor = torch.vmap(one)(params, batch, continuous)
        return losses

    def batches(
        self,
        seeds: Sequence[int],
        steps: Sequence[int],
        count: int,
        hp: Mapping[str, Tensor],
        work: Workspace,
    ) -> Iterator[Batch]:
        """Yield stacked mini-batches. They are asked for member by member, as a task's cache may expect."""
        del hp, work
        done = 0
        width = 1
        while done < count:
            here = range(done, min(done + width, count))
            asked = [
                [self.task.batch(seed, step + k) for k in here]
                for seed, step in zip(seeds, steps, strict=True)
            ]
            for k in range(len(here)):
                yield {
                    name: torch.stack([member[k][name] for member in asked]).to(self.device)
                    for name in asked[0][k]
                }
            done += len(here)
            size = sum(value.nbytes for value in asked[0][0].values())
            width = max(1, DATA_BYTES // max(size * len(seeds), 1))

    def gradients(
        self, params: Params, buffers: Params, batch: Batch, hp: Mapping[str, Tensor], work: Workspace
    ) -> tuple[Tensor, Params, Params]:
        """Return losses, gradients by autograd, and new buffers; a member alone is spared `torch.vmap`."""
        del work
        leaves = {name: value.detach().requires_grad_(True) for name, value in params.items()}
        everything = {**leaves, **buffers}

        def one(params: Params, batch: Batch, hp: dict[str, Tensor]) -> tuple[Tensor, Params]:
            return self.task.loss_and_buffers(params, batch, {**self.shared, **hp})

        if len(next(iter(leaves.values()))) == 1:
            loss, changed = one(*(_squeezed(part) for part in (everything, batch, hp)))
            losses, changed = loss.unsqueeze(0), {n: value.unsqueeze(0) for n, value in changed.items()}
        else:
            losses, changed = torch.vmap(one)(everything, batch, dict(hp))
        grads = torch.autograd.grad(losses.sum(), list(leaves.values()), allow_unused=True)
        used = {name: grad for name, grad in zip(leaves, grads, strict=True) if grad is not None}
        return losses.detach(), used, changed

    def scores(self, params: Params, split: Split, work: Workspace) -> list[float]:
        """Return the scores one by one."""
        del work
        members = next(iter(params.values())).shape[0]
        return [
            float(self.task.score({name: value[i] for name, value in params.items()}, split))
            for i in range(members)
        ]

    def member_bytes(self, params: Params) -> int:
        """Guess: parameters five times over, and a mini-batch with thirty times its size in activations."""
        batch = sum(value.nbytes for value in self.task.batch(0, 0).values())
        return 5 * sum(value.nbytes for value in params.values()) + 30 * batch


def _squeezed(stacked: Mapping[str, Tensor]) -> Params:
    return {name: value[0] for name, value in stacked.items()}

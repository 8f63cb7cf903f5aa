"""A walk of a few throw-away steps, and its FLOPs without the time that counting them takes.

Counting slows a run down about threefold, which a study of seconds feels. A walk consists of gradients and
losses on mini-batches. What both cost is known from the training step, which a study counts anyway, where the
batches are the training's or cost grows with samples. `counted_walk`, which counts all of it, is the
reference implementation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hypernudge.hypergradient import gather_batch
from hypernudge.hypergradient.curvature import loss_difference, moved
from hypernudge.hypergradient.objectives import HasLoss
from hypernudge.optimizers import Params
from hypernudge.task import Batch, GradientTask

Walked = tuple[list[float], float]
"""`log10 lr*` before each step, as far as it was finite; and the FLOPs of it all."""


def walk(task: GradientTask, config: Mapping[str, Any], seed: int, steps: int, batch_size: int) -> Walked:
    """Return `log10 lr*` before each of `steps` steps of half of it, and the FLOPs.

    It ends where one is not finite. The inputs are not augmented: the augmentation is a property of the
    trial, the scale one of the study.
    """
    at = task.at(config)
    parts = at.step_parts(batch_size)
    if parts is None:
        return counted_walk(task, config, seed, steps, batch_size)
    tally = _Tally()
    found = _steps(task, tally, config, seed, steps, batch_size)
    loss, backward = parts
    return found, tally.losses * loss + tally.gradients * backward


def counted_walk(
    task: GradientTask, config: Mapping[str, Any], seed: int, steps: int, batch_size: int
) -> Walked:
    """Return what `walk` does; the whole of it is counted, the first time for each shape."""
    return task.at(config).counted(
        f"probe of {steps} x {batch_size}", lambda: _steps(task, _Tally(), config, seed, steps, batch_size)
    )


class _Tally:
    """How often the loss was evaluated and how often differentiated."""

    def __init__(self) -> None:
        self.losses = self.gradients = 0


class _Tallied:
    """The loss of a task, evaluations tallied."""

    def __init__(self, task: GradientTask, tally: _Tally) -> None:
        self.optimizer, self._tally = task.optimizer, tally
        self._loss, self._by_hand = task.loss, task.by_hand

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the training loss, a scalar."""
        self._tally.losses += 1
        return self._loss(params, batch, hp)

    def by_hand(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> tuple[Tensor, Params] | None:
        """Return the loss and its gradient where the task computes them without a graph."""
        found = self._by_hand(params, batch, hp)
        self._tally.losses += found is not None
        return found


def _steps(
    task: GradientTask, tally: _Tally, config: Mapping[str, Any], seed: int, steps: int, batch_size: int
) -> list[float]:
    strength = config.get("augmentation")
    hp = {**config, "augmentation": 0.0} if isinstance(strength, int | float) else dict(config)
    task = task.at(config)
    params = {name: value.detach() for name, value in task.trained(task.init(seed)).items()}
    plain = batch_size <= task.batch_size and not hp.get("augmentation")
    used = math.ceil(batch_size / task.batch_size)
    measured: HasLoss = _Tallied(task, tally)
    found: list[float] = []
    for index in range(steps):
        if plain:
            batch = {name: value[:batch_size] for name, value in task.plain_batch(seed, index).items()}
        else:
            batch = gather_batch(task, seed, index * used, batch_size)
        tally.gradients += 1
        curvature, direction = loss_difference(measured, params, batch, hp)
        lr_star = curvature.lr_star
        if not lr_star > 0:
            break
        found.append(math.log10(lr_star))
        if index + 1 < steps:
            with torch.no_grad():
                params = moved(params, direction, 0.5 * lr_star)
    return found

"""An ordinary PyTorch training, as far as a warm start must know it: a model, its data and its loss.

    training = ModuleLoss(
        model=lambda hp: MLP(width=hp["width"]),
        data=train_loader,
        loss=lambda model, batch, hp: cross_entropy(model(batch[0]), batch[1]),
    )

Nothing else of the training loop is needed, and nothing of it changes: the measurement builds a throw-away
model, reads its own mini-batches, and leaves the global random number generators of Python, NumPy and PyTorch
as it found them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from hypernudge.errors import is_whole, require
from hypernudge.optimizers import Optimizer, rule_from
from hypernudge.space import SearchSpace
from hypernudge.task import GradientTask
from hypernudge.tasks.module.measuring import Loss, MeasuredTask, Names, Recipe, check_functions
from hypernudge.tasks.module.mini_batches import MiniBatches


class ModuleLoss:
    """The mini-batch loss of a PyTorch module, for warm starts inside other tuners.

    `ModuleTask` trains it as well, for a tuner of this library.

    Args:
        model: Builds the model for a configuration (a mapping of names to values), as training would. It is
            called under a seed of its own.
        data: A `DataLoader` over a map-style data set, one that Accelerate prepared included (its data set,
            batch size and `collate_fn` are used, not its order), such a `Dataset`, a tuple of tensors with
            equal first dimension, or a function of `(seed, step)` that returns a batch. A batch is a tensor,
            a tuple of tensors or a mapping to tensors, each with the batch dimension first. With
            `batch_size=None` in the loader, an element of its data set is a batch.
        loss: `loss(model, batch, hp)`, a scalar tensor: what training differentiates. Hyper-parameters that
            enter it (label smoothing, say) must do so through tensor operations.
        batch_size: Samples per mini-batch; those of the `DataLoader` where None, else 128.
        optimizer: The update rule that training uses: `"sgd"`, `"adamw"`, one of `hypernudge.optimizers`, or
            PyTorch's class, `torch.optim.SGD` or `torch.optim.AdamW`.
        steps_per_unit: Optimizer steps between two reported scores; those of an epoch where None; where
            `data` is a function, nobody knows. A policy with a prior weighs weight decay by them.

    Raises:
        InvalidArgumentError: `data` is none of these or empty, `model` or `loss` no such function,
            `optimizer` unknown, a count below 1, or a batch size that nobody says.
    """

    def __init__(
        self,
        model: Callable[[Mapping[str, Any]], nn.Module],
        data: Any,
        loss: Loss,
        *,
        batch_size: int | None = None,
        optimizer: str | Mapping[str, Any] | Optimizer | type[torch.optim.Optimizer] = "sgd",
        steps_per_unit: int | None = None,
    ) -> None:
        check_functions(model, loss)
        self.model, self.loss, self.optimizer = model, loss, rule_from(optimizer)
        self.recipe = Recipe(model, loss, self.optimizer)
        for name, count in (("batch_size", batch_size), ("steps_per_unit", steps_per_unit)):
            require(
                count is None or is_whole(count),
                name,
                "must be a whole number",
                count,
                "leave it out, or give one",
            )
        ok = steps_per_unit is None or steps_per_unit >= 1
        remedy = "leave it out for the steps of an epoch"
        require(ok, "steps_per_unit", "must be at least 1", steps_per_unit, remedy)
        self._batches = MiniBatches(data, batch_size)
        self.batch_size = self._batches.batch_size
        self.steps_per_unit = self._batches.steps_per_epoch if steps_per_unit is None else steps_per_unit

    def read(self, seed: int, step: int) -> Any:
        """Return the mini-batch of `step` under `seed`, as training would get it."""
        return self._batches.read(seed, step)

    def task(self, space: SearchSpace, values: Mapping[str, Any], names: Names) -> GradientTask:
        """Return the gradient task at one configuration; it can be measured, not scored.

        Args:
            space: What is tuned.
            values: The configuration under the user's own names, with whatever is constant in it.
            names: Names in `space` to the user's own, where they differ.
        """
        return MeasuredTask(
            self.recipe, self._batches, space, values, names, steps_per_unit=self.steps_per_unit
        )

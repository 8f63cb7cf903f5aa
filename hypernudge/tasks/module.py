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
from torch import Tensor, nn
from torch.func import functional_call

from hypernudge.errors import require
from hypernudge.optimizers import Optimizer, Params, rule_from
from hypernudge.registry import takes
from hypernudge.space import SearchSpace
from hypernudge.task import Batch, GradientTask, Split
from hypernudge.tasks.mini_batches import MiniBatches, flattened
from hypernudge.tasks.seeded import seeded

Names = Mapping[str, str]
Loss = Callable[[nn.Module, Any, Mapping[str, Any]], Tensor]


class ModuleLoss:
    """The mini-batch loss of a PyTorch module, for warm starts inside other tuners.

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
        _check_functions(model, loss)
        self.model = model
        self.loss = loss
        self.optimizer = rule_from(optimizer)
        for name, count in (("batch_size", batch_size), ("steps_per_unit", steps_per_unit)):
            whole = count is None or (isinstance(count, int) and not isinstance(count, bool))
            require(whole, name, "must be a whole number", count, "leave it out, or give one")
        ok = steps_per_unit is None or steps_per_unit >= 1
        remedy = "leave it out for the steps of an epoch"
        require(ok, "steps_per_unit", "must be at least 1", steps_per_unit, remedy)
        self._batches = MiniBatches(data, batch_size)
        self.batch_size = self._batches.batch_size
        self.steps_per_unit = self._batches.steps_per_epoch if steps_per_unit is None else steps_per_unit

    def read(self, seed: int, step: int) -> Any:
        """Return the mini-batch of `step`, as training would get it."""
        return self._batches.read(seed, step)

    def task(self, space: SearchSpace, values: Mapping[str, Any], names: Names) -> GradientTask:
        """Return the gradient task at one configuration.

        Args:
            space: What is tuned.
            values: The configuration under the user's own names, with whatever is constant in it.
            names: Names in `space` to the user's own, where they differ.
        """
        return _ModuleTask(self, space, values, names)


def _check_functions(model: object, loss: object) -> None:
    """Refuse what looks like a model or a loss, and cannot be called as one is here."""
    builds = callable(model) and not isinstance(model, nn.Module) and takes(model, 1)
    rule, remedy = "must be a function of the configuration that builds the model", "write lambda hp: Net()"
    require(builds, "model", rule, model, remedy)
    bare = isinstance(loss, nn.Module | type) or getattr(loss, "__module__", "") == "torch.nn.functional"
    rule, remedy = "must be a function of (model, batch, hp)", "write lambda model, batch, hp: ..."
    require(callable(loss) and not bare and takes(loss, 3), "loss", rule, loss, remedy)


class _Closed(nn.Module):
    """A model and its loss as one module, so that a functional call swaps the model's parameters."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any, hp: Mapping[str, Any]) -> Tensor:
        """Return the loss of one batch."""
        return self.loss(self.model, batch, hp)


class _ModuleTask(GradientTask):
    """A `ModuleLoss` at one configuration; it can be measured, not scored."""

    name = "module"

    def __init__(
        self, source: ModuleLoss, space: SearchSpace, values: Mapping[str, Any], names: Names
    ) -> None:
        self.space = space
        self.batch_size = source.batch_size
        if source.steps_per_unit is not None:
            self.steps_per_unit = source.steps_per_unit
        self.optimizer = source.optimizer
        self._source = source
        self._values = dict(values)
        self._names = names
        self._closed: _Closed | None = None
        self._seed = 0
        self._pack: Callable[[Batch], Any] = dict

    def init(self, seed: int) -> Params:
        """Return the trainable parameters of a fresh model; frozen ones and buffers stay inside it."""
        with seeded(seed):
            self._closed = _Closed(self._source.model(self._values), self._source.loss)
        self._seed = seed
        params = {name: p.detach().clone() for name, p in self._closed.named_parameters() if p.requires_grad}
        require(bool(params), "model", "must have trainable parameters", self._source.model, "unfreeze some")
        return params

    def batch(self, seed: int, step: int) -> Batch:
        """Return the mini-batch of `step`, flat."""
        flat, self._pack = flattened(self._source.read(seed, step))
        return flat

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the user's loss; equal random numbers (dropout) at every call."""
        assert self._closed is not None, "init comes first"
        device = next(iter(params.values())).device
        on_device = self._pack({name: value.to(device) for name, value in batch.items()})
        own = self._values | {self._names.get(name, name): value for name, value in hp.items()}
        with seeded(self._seed):
            result: Tensor = functional_call(self._closed, params, (on_device, own))
        ok = isinstance(result, Tensor) and result.dim() == 0
        require(ok, "loss", "must return a scalar tensor", result, "take the mean over the batch")
        return result

    def score(self, params: Params, split: Split) -> float:
        """Refuse: only the tool that runs the training scores it."""
        raise NotImplementedError("a ModuleLoss has no score")

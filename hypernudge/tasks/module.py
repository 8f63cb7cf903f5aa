"""An ordinary PyTorch training, as far as a warm start must know it: a model, its data and its loss.

    training = ModuleLoss(
        model=lambda hp: MLP(width=hp["width"]),
        data=train_loader,
        loss=lambda model, batch, hp: cross_entropy(model(batch[0]), batch[1]),
    )

Nothing else of the training loop is needed, and nothing of it changes: the measurement builds a throw-away
model, reads its own mini-batches and leaves the global random number generator as it found it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.optimizers import Optimizer, Params
from hypernudge.random import stream
from hypernudge.registry import build
from hypernudge.space import SearchSpace
from hypernudge.task import Batch, GradientTask, Split

Names = Mapping[str, str]
Loss = Callable[[nn.Module, Any, Mapping[str, Any]], Tensor]


class ModuleLoss:
    """The mini-batch loss of a PyTorch module, for warm starts inside other tuners.

    Args:
        model: Builds the model for a configuration (a mapping of names to values), as training would. It is
            called under a seed of its own.
        data: A `DataLoader` over a map-style data set (its data set, batch size and `collate_fn` are used,
            not its order), such a `Dataset`, a tuple of tensors with equal first dimension, or a function
            of `(seed, step)` that returns a batch. A batch is a tensor, a tuple of tensors or a mapping to
            tensors, each with the batch dimension first.
        loss: `loss(model, batch, hp)`, a scalar tensor: what training differentiates. Hyper-parameters that
            enter it (label smoothing, say) must do so through tensor operations.
        batch_size: Samples per mini-batch; those of the `DataLoader` where None, else 128.
        optimizer: The update rule that training uses: `"sgd"`, `"adamw"`, or one of `hypernudge.optimizers`.
        steps_per_unit: Optimizer steps between two reported scores; those of an epoch where None; where
            `data` is a function, nobody knows. A policy with a prior weighs weight decay by them.

    Raises:
        InvalidArgumentError: `data` is none of these or empty, `optimizer` unknown, or a count below 1.
    """

    def __init__(
        self,
        model: Callable[[Mapping[str, Any]], nn.Module],
        data: Any,
        loss: Loss,
        *,
        batch_size: int | None = None,
        optimizer: str | Optimizer = "sgd",
        steps_per_unit: int | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer: Optimizer = (
            build("optimizer", {"name": optimizer}) if isinstance(optimizer, str) else optimizer
        )
        ok = steps_per_unit is None or steps_per_unit >= 1
        remedy = "leave it out for the steps of an epoch"
        require(ok, "steps_per_unit", "must be at least 1", steps_per_unit, remedy)
        self._collate: Callable[[list[Any]], Any] = default_collate
        loader: DataLoader[Any] | None = None
        if isinstance(data, DataLoader):
            loader = data
            self._collate = data.collate_fn
            batch_size = batch_size or data.batch_size
            data = data.dataset
        elif isinstance(data, tuple) and _tensors(data):
            require(
                len({len(part) for part in data}) == 1,
                "data",
                "tensors must have equal first dimension",
                [tuple(part.shape) for part in data],
                "give as many targets as inputs",
            )
            data = TensorDataset(*data)
        # A list of tensors may be samples, or inputs and targets: only a loader makes it clear.
        unclear = loader is None and isinstance(data, list) and len(data) > 0 and _tensors(data)
        readable = _is_map_style(data) and not unclear
        require(
            readable or (callable(data) and not isinstance(data, Dataset)),
            "data",
            "must be a DataLoader over a map-style data set, that data set, a tuple of tensors or a function",
            type(data).__name__,
            "write a function of (seed, step) that returns a batch",
        )
        require(not readable or len(data) > 0, "data", "must not be empty", data, "fill it")
        self._data, self._readable = data, readable
        self.batch_size = 128 if batch_size is None else batch_size
        require(self.batch_size >= 1, "batch_size", "must be at least 1", batch_size, "128 is usual")
        if steps_per_unit is None and readable:
            steps_per_unit = math.ceil(len(data) / self.batch_size) if loader is None else len(loader)
        self.steps_per_unit = steps_per_unit

    def read(self, seed: int, step: int) -> Any:
        """Return the mini-batch of `step`, as training would get it."""
        with seeded(seed + step):
            if not self._readable:
                return self._data(seed, step)
            n = len(self._data)
            rows = stream(seed, "batch", step).choice(n, size=min(self.batch_size, n), replace=False)
            return self._collate([self._data[int(row)] for row in rows])

    def task(self, space: SearchSpace, values: Mapping[str, Any], names: Names) -> GradientTask:
        """Return the gradient task at one configuration.

        Args:
            space: What is tuned.
            values: The configuration under the user's own names, with whatever is constant in it.
            names: Names in `space` to the user's own, where they differ.
        """
        return _ModuleTask(self, space, values, names)


def _is_map_style(data: Any) -> bool:
    """Whether `DataLoader` could index it; lists, and data sets of Hugging Face, are no `Dataset`."""
    if isinstance(data, IterableDataset | Mapping | str | tuple):
        return False
    return isinstance(data, Sized) and hasattr(data, "__getitem__")


def _tensors(data: Sequence[Any]) -> bool:
    return all(isinstance(part, Tensor) for part in data)


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
        flat, self._pack = _flattened(self._source.read(seed, step))
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


def _flattened(batch: Any) -> tuple[Batch, Callable[[Batch], Any]]:
    """Return the tensors of a batch by name, and the function that puts them back together."""
    pack: Callable[[Batch], Any]
    if isinstance(batch, Tensor):
        flat, pack = {"0": batch}, _first
    elif isinstance(batch, Mapping):
        flat, pack = dict(batch), dict
    elif isinstance(batch, Sequence):
        flat, pack = {str(index): part for index, part in enumerate(batch)}, _in_order
    else:
        flat, pack = {"0": batch}, _first
    for name, part in flat.items():
        if not (isinstance(part, Tensor) and part.dim() > 0):
            raise InvalidArgumentError(
                f"data: a batch must be a tensor, or a tuple of or a mapping to tensors, but part {name!r} "
                f"is {type(part).__name__}; leave it out with a function of (seed, step)"
            )
    return flat, pack


def _first(batch: Batch) -> Tensor:
    return batch["0"]


def _in_order(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(batch.values())


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's global generators for a while, and put them back afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield

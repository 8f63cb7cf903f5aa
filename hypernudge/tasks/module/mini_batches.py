"""Mini-batches of an ordinary PyTorch training, addressed by seed and step, not drawn in an order."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from hypernudge.errors import InvalidArgumentError, is_whole, require
from hypernudge.random import stream
from hypernudge.task import Batch
from hypernudge.tasks.module.seeded import seeded

USUAL = 128  # samples of a mini-batch, where nobody says
_KEPT_ORDERS = 2  # epochs


class MiniBatches:
    """Mini-batches of whatever training reads: a loader, a data set, tensors, or a function.

    Args:
        data: As for `ModuleLoss`. A data set may have a method `read_batch(rows, seed, step)`, which returns
            a whole mini-batch: a function of its arguments alone, for it finds no seeded generator.
        batch_size: Samples per mini-batch; those of the loader where None, else 128.
        trained_on: Whether a loader's own order counts, as it does in training: one that does not shuffle is
            read as it is, one that draws in another way is refused. What is only measured is shuffled.

    Attributes:
        batch_size: Samples per mini-batch; the last of an epoch has what is left, unless the loader drops it.
        steps_per_epoch: Mini-batches of an epoch; None where nobody knows.

    Raises:
        InvalidArgumentError: `data` is nothing of these or empty, or its loader does not say how many samples
            a batch has.
    """

    def __init__(self, data: Any, batch_size: int | None = None, *, trained_on: bool = False) -> None:
        self._collate: Callable[[list[Any]], Any] | None = default_collate
        loader: DataLoader[Any] | None = None
        if isinstance(data, DataLoader):
            loader = data
            self._collate = data.collate_fn
            data = data.dataset
        elif isinstance(data, tuple) and tensors_only(data):
            require(
                len({len(part) for part in data}) == 1,
                "data",
                "tensors must have equal first dimension",
                [tuple(part.shape) for part in data],
                "give as many targets as inputs",
            )
            data = TensorDataset(*data)
        # A list of tensors may be samples, or inputs and targets: only a loader makes it clear.
        unclear = loader is None and isinstance(data, list) and len(data) > 0 and tensors_only(data)
        readable = is_map_style(data) and not unclear
        require(
            readable or (callable(data) and not isinstance(data, Dataset)),
            "data",
            "must be a DataLoader over a map-style data set, that data set, a tuple of tensors or a function",
            kinds(data),
            "make tensors (torch.as_tensor), or write a function of (seed, step) that returns a batch",
        )
        require(not readable or len(data) > 0, "data", "must not be empty", data, "fill it")
        self._data, self._readable = data, readable
        self._reads = readable and loader is None and hasattr(data, "read_batch")
        # Without a batch sampler, an element of the data set is a batch already.
        self._whole = loader is not None and readable and loader.batch_sampler is None
        if batch_size is None and loader is not None and readable:
            batch_size = self._first_length() if self._whole else _size_of(loader)
        self.batch_size = USUAL if batch_size is None else batch_size
        require(self.batch_size >= 1, "batch_size", "must be at least 1", batch_size, "128 is usual")
        self.steps_per_epoch: int | None = None
        if readable:
            self.steps_per_epoch = (
                math.ceil(len(data) / self.batch_size) if loader is None else _epoch(loader)
            )
        self._shuffled = True
        if trained_on and loader is not None:
            self._shuffled = _shuffles(loader)
        drops = loader is not None and _drops_last(loader) and readable and len(data) >= self.batch_size
        self._steps = 1
        if readable and not self._whole:
            self._steps = len(data) // self.batch_size if drops else math.ceil(len(data) / self.batch_size)
        if trained_on and readable and not self._whole:
            self.steps_per_epoch = self._steps  # of this batch size, whatever the loader's is
        self._orders: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._loader = loader

    def read(self, seed: int, step: int) -> Any:
        """Return the mini-batch of `step`, as training would get it: a function of the arguments alone."""
        if type(self._data) is TensorDataset and self._collate is default_collate and not self._whole:
            rows = torch.from_numpy(self._rows_of(seed, step))
            return [part[rows.to(part.device)] for part in self._data.tensors]  # as `default_collate` would
        if self._reads:
            return self._data.read_batch(self._rows_of(seed, step), seed, step)
        with seeded(seed + step):
            if not self._readable:
                return self._data(seed, step)
            if self._whole:
                epoch, position = divmod(step, len(self._data))
                return self._element(int(self._order(seed, epoch)[position]))
            assert self._collate is not None
            return self._collate(self._rows([int(row) for row in self._rows_of(seed, step)]))

    def through(self, seed: int, first: int, last: int) -> Iterator[Any]:
        """Yield the mini-batches of steps `first` to `last - 1`, read ahead by the loader's workers."""
        loader = self._loader
        if loader is None or (loader.num_workers == 0 and not loader.pin_memory):
            yield from (self.read(seed, step) for step in range(first, last))
            return
        yield from DataLoader(
            _Steps(self, seed, last),
            batch_size=None,
            sampler=range(first, last),
            num_workers=loader.num_workers,
            pin_memory=loader.pin_memory,
            prefetch_factor=loader.prefetch_factor,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
            timeout=loader.timeout,
        )

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        """Return the order of the samples in an epoch, `(n,)`; those that were asked for last are kept."""
        found = self._orders.get((seed, epoch))
        if found is None:
            n = len(self._data)
            found = stream(seed, "order", epoch).permutation(n) if self._shuffled else np.arange(n)
            self._orders[seed, epoch] = found
            if len(self._orders) > _KEPT_ORDERS:
                self._orders.popitem(last=False)
        return found

    def _rows_of(self, seed: int, step: int) -> np.ndarray:
        epoch, position = divmod(step, self._steps)
        return self._order(seed, epoch)[position * self.batch_size : (position + 1) * self.batch_size]

    def _rows(self, rows: list[int]) -> list[Any]:
        """Return samples as `DataLoader` fetches them: at once, where the data set can."""
        fetch = getattr(self._data, "__getitems__", None)
        if fetch:
            found: list[Any] = fetch(rows)
            return found
        return [self._data[row] for row in rows]

    def _element(self, row: int) -> Any:
        element = self._data[row]
        return element if self._collate is None else self._collate(element)

    def _first_length(self) -> int:
        with seeded(0):
            flat, _ = flattened(self._element(0))
        return len(next(iter(flat.values())))


class _Steps(Dataset[Any]):
    """Mini-batches by step, for the workers of a loader."""

    def __init__(self, batches: MiniBatches, seed: int, steps: int) -> None:
        self._batches, self._seed, self._steps = batches, seed, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Any:
        return self._batches.read(self._seed, step)


def _shuffles(loader: DataLoader[Any]) -> bool:
    """Return whether a loader shuffles its data set.

    Raises:
        InvalidArgumentError: If it draws in another way, which cannot be addressed by seed and step.
    """
    batches = loader.batch_sampler
    sampler = loader.sampler if batches is None else getattr(batches, "sampler", None)
    ordered = batches is None or isinstance(batches, BatchSampler)
    in_turn = isinstance(sampler, SequentialSampler)
    whole = isinstance(sampler, RandomSampler) and not sampler.replacement
    whole = whole and sampler.num_samples == len(loader.dataset)  # type: ignore[arg-type, union-attr]
    require(
        ordered and (in_turn or whole),
        "data",
        "a loader to train on must go through its data set, shuffled or in turn",
        type(batches if sampler is None else sampler).__name__,
        "write a function of (seed, step) that returns a batch",
    )
    return not in_turn


def _drops_last(loader: DataLoader[Any]) -> bool:
    return bool(loader.drop_last or getattr(loader.batch_sampler, "drop_last", False))


def _size_of(loader: DataLoader[Any]) -> int:
    """Return the samples of a loader's batch; loaders that Accelerate prepared know it from their sampler.

    Raises:
        InvalidArgumentError: If neither says it, as where batches differ in length.
    """
    size = loader.batch_size
    if size is None:
        size = getattr(loader.batch_sampler, "batch_size", None)
    known = is_whole(size) and size >= 1  # type: ignore[operator]
    rule = "must be given where the loader's batch_sampler has no attribute `batch_size`"
    require(
        known, "batch_size", rule, type(loader.batch_sampler).__name__, "give the usual number of samples"
    )
    assert size is not None  # for the type checker
    return size


def _epoch(loader: DataLoader[Any]) -> int | None:
    try:
        return len(loader)
    except TypeError:  # a sampler without a length
        return None


def is_map_style(data: Any) -> bool:
    """Whether `DataLoader` could index it; lists, and data sets of Hugging Face, are no `Dataset`."""
    if isinstance(data, IterableDataset | Mapping | str | tuple):
        return False
    return isinstance(data, Sized) and hasattr(data, "__getitem__")


def tensors_only(data: Sequence[Any]) -> bool:
    """Whether everything in a sequence is a tensor."""
    return all(isinstance(part, Tensor) for part in data)


def kinds(data: Any) -> str:
    """Return what `data` is, and of what, for an error message."""
    name = type(data).__name__
    return f"{name} of {', '.join(type(part).__name__ for part in data)}" if isinstance(data, tuple) else name


def flattened(batch: Any) -> tuple[Batch, Callable[[Batch], Any]]:
    """Return the tensors of a batch by name, and the function that puts them back together.

    Raises:
        InvalidArgumentError: If a part is no tensor with a batch dimension.
    """
    pack: Callable[[Batch], Any]
    if isinstance(batch, Tensor):
        flat, pack = {"0": batch}, _first
    elif isinstance(batch, Mapping):
        flat, pack = dict(batch), dict
    elif isinstance(batch, Sequence):
        flat = {str(index): part for index, part in enumerate(batch)}
        named = hasattr(type(batch), "_make")  # a named tuple, whose fields the loss reads
        pack = partial(_named, type(batch)) if named else _in_order
    else:
        flat, pack = {"0": batch}, _first
    for name, part in flat.items():
        if not (isinstance(part, Tensor) and part.dim() > 0):
            raise InvalidArgumentError(
                f"data: a batch must be a tensor, or a tuple of or a mapping to tensors, but part {name!r} "
                f"is {type(part).__name__}; leave it out with a function of (seed, step)"
            )
    return flat, pack


def _named(kind: Any, batch: Batch) -> Any:
    return kind._make(batch.values())


def _first(batch: Batch) -> Tensor:
    return batch["0"]


def _in_order(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(batch.values())

"""Mini-batches for trials: read once, kept, and put on the model's device when they are used."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hypernudge.errors import require

MOST_BYTES = 2**29  # of tensors that are kept
RULE = "must be a DataLoader or another iterable of mini-batches"


def source(data: Any) -> Iterable[Any]:
    """Return what to iterate over: the data, or for a `DataLoader` a twin without processes of its own.

    Raises:
        InvalidArgumentError: If it is no iterable of mini-batches.
    """
    data = getattr(data, "base_dataloader", data)  # of loaders that Accelerate prepared
    remedy = "wrap it: DataLoader(data, batch_size=32, shuffle=True)"
    wrong = isinstance(data, str | bytes | Mapping | Tensor) or not hasattr(data, "__iter__")
    pair = isinstance(data, tuple) and all(isinstance(part, Tensor) for part in data)
    require(not wrong and not pair, "data", RULE, _kind(data), remedy)
    if not isinstance(data, DataLoader):
        return data  # type: ignore[no-any-return]
    twin = copy.copy(data)
    processes = {"num_workers": 0, "persistent_workers": False, "prefetch_factor": None, "timeout": 0}
    # Past the checks of `DataLoader.__setattr__`, which forbid changes once a loader is made.
    twin.__dict__.update(processes, pin_memory=False, _iterator=None)
    return twin


def _kind(data: Any) -> str:
    return f"a tuple of {len(data)} tensors" if isinstance(data, tuple) else f"a {type(data).__name__}"


def read(data: Any, most: int, seconds: float) -> list[Any]:
    """Return the first mini-batches, on the devices that the data put them.

    Args:
        data: As `source` takes it.
        most: Mini-batches at most; fewer where the data end, after half a GiB, or after `seconds`.
        seconds: Time for reading; one is read in any case.

    Raises:
        InvalidArgumentError: If there is none.
    """
    kept: list[Any] = []
    size, end = 0, time.monotonic() + seconds
    for batch in itertools.islice(source(data), most):
        kept.append(batch)
        size += sum(tensor.numel() * tensor.element_size() for tensor in tensors(batch))
        if size > MOST_BYTES or time.monotonic() > end:
            break
    require(bool(kept), "data", "must yield at least one mini-batch", 0, "check its length and drop_last")
    return kept


def tensors(batch: Any) -> Iterator[Tensor]:
    """Yield the tensors of a mini-batch."""
    found: list[Tensor] = []
    mapped(batch, found.append)
    yield from found


def moved(batch: Any, device: torch.device) -> Any:
    """Return a mini-batch on a device, its containers as they were."""
    return mapped(batch, lambda tensor: tensor.to(device))


def mapped(batch: Any, function: Callable[[Tensor], Any]) -> Any:
    """Return a mini-batch with a function applied to its tensors."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, Mapping):
        found = {key: mapped(value, function) for key, value in batch.items()}
        try:
            return type(batch)(found)  # type: ignore[call-arg]
        except TypeError:  # a mapping that is not made from one
            return found
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(mapped(part, function) for part in batch))
    if isinstance(batch, tuple | list):
        return type(batch)([mapped(part, function) for part in batch])
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        parts = {
            f.name: mapped(getattr(batch, f.name), function) for f in dataclasses.fields(batch) if f.init
        }
        return dataclasses.replace(batch, **parts)
    if hasattr(batch, "to") and callable(batch.to):  # a graph, a nested batch: all of it at once
        return function(batch)
    return batch

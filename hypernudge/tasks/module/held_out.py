"""A part of the data that is only scored: batches in their order, on the model's device."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from hypernudge.errors import require
from hypernudge.registry import takes
from hypernudge.tasks.module.measuring import Recipe
from hypernudge.tasks.module.mini_batches import flattened, is_map_style, kinds, tensors_only

LEAST = 256  # samples of a batch without gradients, where nobody says


class HeldOut:
    """What a score gets as `split`: iterating it yields batches, as often as one likes.

    Args:
        data: A `DataLoader`, a map-style data set, a tuple of tensors with equal first dimension, or a
            function without arguments that returns an iterable of batches.
        name: `"validation"` or `"test"`.
        batch_size: Samples of a batch where `data` does not say.
        recipe: Types of inputs.
        device: Where batches go.

    Raises:
        InvalidArgumentError: `data` is none of these, or empty.
    """

    def __init__(self, data: Any, name: str, batch_size: int, recipe: Recipe, device: torch.device) -> None:
        self.name, self._recipe, self._device = name, recipe, device
        where = f"data.{name}"
        rule = "must be a DataLoader, a map-style data set, a tuple of tensors or a function of nothing"
        remedy = "make tensors (torch.as_tensor), or write a function that returns an iterable of batches"
        if isinstance(data, tuple) and tensors_only(data):
            lengths = {len(part) for part in data}
            require(len(lengths) == 1, where, "tensors must have equal first dimension", sorted(lengths), "-")
            data = TensorDataset(*data)
        self._batches: Callable[[], Iterable[Any]]
        if isinstance(data, DataLoader):
            with contextlib.suppress(TypeError):  # a stream has no length
                remedy = "fill it, or keep the last batch"
                require(len(data) > 0, where, "must hold a batch", len(data), remedy)
            self._batches = lambda: data
        elif is_map_style(data) and not (isinstance(data, list) and tensors_only(data)):
            require(len(data) > 0, where, "must not be empty", data, "fill it")
            size = max(batch_size, LEAST)
            if type(data) is TensorDataset:
                self._batches = lambda: _slices(data, size)
            else:
                self._batches = lambda: DataLoader(data, batch_size=size)
        else:
            ok = callable(data) and not isinstance(data, type) and takes(data, 0)
            require(ok, where, rule, kinds(data), remedy)
            self._batches = data

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches."""
        for batch in self._batches():
            parts, pack = flattened(batch)
            yield pack({name: self._recipe.moved(part, self._device) for name, part in parts.items()})


class EnoughError(BaseException):
    """A part was read for long enough. No `Exception`: a user's score shall not catch it."""


class Beginning:
    """A part that is read for a limited time.

    Args:
        part: Of the data.
        seconds: Of the wall, after which its iterator raises `EnoughError`.
    """

    def __init__(self, part: HeldOut, seconds: float) -> None:
        self.name, self._part, self._seconds = part.name, part, seconds

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches.

        Raises:
            EnoughError: The time is up.
        """
        until = time.monotonic() + self._seconds
        for batch in self._part:
            yield batch
            if time.monotonic() >= until:
                raise EnoughError


def _slices(data: TensorDataset, size: int) -> Iterator[list[torch.Tensor]]:
    for first in range(0, len(data), size):
        yield [part[first : first + size] for part in data.tensors]

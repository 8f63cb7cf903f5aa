"""Which samples a step trains on: a function of seed, epoch and step: resuming needs no loader state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hypernudge.random import integer, stream
from hypernudge.tasks.module.seeded import seed_torch


def epoch_order(seed: int, epoch: int, size: int) -> Tensor:
    """Return a random order of the training part, int64 `(size,)`."""
    return torch.from_numpy(stream(seed, "order", epoch).permutation(size))


def batches(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Cut an order into batches; the last one may be smaller."""
    return iter(torch.split(order, batch_size))


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Number of batches of an epoch."""
    return -(-size // batch_size)


def augmentation(seed: int, step: int) -> np.random.Generator:
    """Return the generator that augments the batch of an optimizer step."""
    return stream(seed, "augmentation", step)


def seed_dropout(seed: int, step: int) -> None:
    """Seed PyTorch's own generators, which dropout draws from, for one step.

    So two methods of equal seed drop the same units, and a resumed run goes on with the masks it would have
    had. The caller has forked the generators.
    """
    seed_torch(integer(seed, "dropout", step))


def subset(size: int, wanted: int | None, what: str) -> np.ndarray:
    """Return which rows of `size` make a subset of `wanted`, ascending; the same for every run and method."""
    if wanted is None or wanted >= size:
        return np.arange(size)
    return np.sort(stream(0, "subset", what).permutation(size)[:wanted])

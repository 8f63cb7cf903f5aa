"""Looking at a fixed sample of the coordinates, and reading from a device without waiting for it."""

import math
import random
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.noise.gradients import local_tensor
from hypernudge.random import integer

MOST_TENSORS = 8


class CoordinateSample:
    """A fixed sample of coordinates, as one flat vector: contiguous rows of at most 8 parameters.

    Rows rather than scattered indices: they are views, so sampling costs one copy and no gather, and they
    mean the same coordinates for any memory layout. Few parameters, drawn in proportion to their size: on a
    network of many tensors the calls would cost more than the copies. A model of no more than
    `coordinates` coordinates in no more than 8 tensors is taken whole.

    Args:
        coordinates: About so many are taken, at least 1.
        seed: Chooses which.
    """

    def __init__(self, coordinates: int, seed: int) -> None:
        self.coordinates = checks.at_least("coordinates", coordinates, 1)
        self.seed = checks.whole_seed(seed)
        self._blocks: list[tuple[int, int, int]] = []  # index of the parameter, first row, rows
        self._chosen_for: tuple[tuple[int, int], ...] = ()
        self._seen: list[tuple[int, bool]] = []
        self._trainable: list[Tensor] = []
        self._views: list[Tensor] = []
        self._pieces: list[Tensor] = []  # the views, flat where that takes no copy

    def parameters(self) -> Tensor:
        """Return a copy of the sampled coordinates, shape `(n,)`, float32 or float64."""
        return _flat(self._pieces)

    def gradients(self) -> Tensor:
        """Return the gradients of the sampled coordinates, shape `(n,)`; absent ones are zero."""
        pieces = []
        for (index, start, length), view in zip(self._blocks, self._views, strict=True):
            gradient = self._trainable[index].grad
            if gradient is None or gradient.is_sparse:
                pieces.append(view.new_zeros(view.numel()))
            else:
                pieces.append(_flat_rows_of(local_tensor(gradient), start, length))
        return _flat(pieces)

    def fingerprint(self) -> list[Any]:
        """Return the settings in plain types."""
        return [self.coordinates, self.seed]

    def look_up(self, optimizer: Optimizer) -> None:
        """Find where the sampled coordinates lie, to be called once per step before the methods above."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # Where the numbers lie, because a parameter may be moved or frozen while it stays the same object.
        seen = [(local_tensor(p).data_ptr(), p.requires_grad) for p in parameters]
        if seen == self._seen:
            return
        self._seen = seen
        self._trainable = [p for p in parameters if p.requires_grad]
        shapes = tuple((_rows(local_tensor(p)), local_tensor(p).numel()) for p in self._trainable)
        if shapes != self._chosen_for:
            self._choose(shapes)
        self._views = [
            _rows_of(local_tensor(self._trainable[index].detach()), start, length)
            for index, start, length in self._blocks
        ]
        self._pieces = [view.view(-1) if view.is_contiguous() else view for view in self._views]

    def _choose(self, shapes: tuple[tuple[int, int], ...]) -> None:
        draw = random.Random(integer(self.seed, "block", len(shapes)))
        sized = [index for index, (_, size) in enumerate(shapes) if size]
        # Sampling without replacement in proportion to size (Efraimidis and Spirakis 2006).
        keys = {index: math.log(1.0 - draw.random()) / shapes[index][1] for index in sized}
        chosen = sorted(sorted(sized, key=keys.__getitem__, reverse=True)[:MOST_TENSORS])
        share = min(1.0, self.coordinates / max(1, sum(shapes[index][1] for index in chosen)))
        self._blocks = []
        for index in chosen:
            rows = shapes[index][0]
            length = max(1, round(rows * share))
            self._blocks.append((index, draw.randint(0, rows - length), length))
        self._chosen_for = shapes


class PendingRead:
    """A few numbers on their way to the host.

    Args:
        values: What to read, a matrix or its rows on the host; must not be changed afterwards.
        started: Step at which the transfer began.
    """

    def __init__(self, values: Tensor | list[Any], started: int) -> None:
        self.started = started
        self._event: torch.cuda.Event | None = None
        self._host: Tensor | list[Any] = values
        if isinstance(values, Tensor) and values.is_cuda:
            host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            host.copy_(values, non_blocking=True)
            self._host = host
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()

    def fetch(self) -> list[list[float]]:
        """Return the values as nested lists; waits only if the transfer is not done."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.tolist() if isinstance(self._host, Tensor) else self._host


def _rows(tensor: Tensor) -> int:
    return tensor.shape[0] if tensor.dim() else 1


def _rows_of(tensor: Tensor, start: int, length: int) -> Tensor:
    # Not flattened here: flattening copies where rows are not contiguous, and what is kept must be a view.
    return tensor.narrow(0, start, length) if tensor.dim() else tensor


def _flat_rows_of(tensor: Tensor, start: int, length: int) -> Tensor:
    if not tensor.is_contiguous():
        return _rows_of(tensor, start, length).reshape(-1)
    size = tensor.numel() // max(1, _rows(tensor))
    # One operation for two: this is done for every sampled gradient at every probe.
    return tensor.as_strided((length * size,), (1,), tensor.storage_offset() + start * size)


def _flat(pieces: list[Tensor]) -> Tensor:
    flat = torch.cat([piece if piece.dim() == 1 else piece.reshape(-1) for piece in pieces])
    return flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat

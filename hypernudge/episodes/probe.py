"""Looking at a fixed sample of the coordinates, and reading from a device without waiting for it."""

import random
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes import checks
from hypernudge.episodes.gradients import local_tensor
from hypernudge.episodes.seeds import derive_seed


class CoordinateSample:
    """A fixed contiguous block of rows of every trainable parameter, as one flat vector.

    Blocks rather than scattered indices: they are views, so sampling costs one copy and no gather, and
    they mean the same rows for any memory layout.

    Args:
        fraction: Share of the rows of each parameter, in (0, 1]; at least one row is taken.
        min_coordinates: Raise the share until about so many coordinates are taken.
        seed: Chooses the blocks.
    """

    def __init__(self, fraction: float, min_coordinates: int, seed: int) -> None:
        self.fraction = checks.in_unit_interval("fraction", fraction)
        self.min_coordinates = checks.at_least("min_coordinates", min_coordinates, 1)
        self.seed = seed
        self._blocks: list[tuple[int, int]] = []
        self._chosen_for: tuple[int, ...] = ()

    def parameters(self, optimizer: Optimizer) -> Tensor:
        """Return a copy of the sampled coordinates, shape ``(n,)``, float32 or float64."""
        return _flat([local_tensor(p.detach()) for p in self._trainable(optimizer)], self._blocks)

    def gradients(self, optimizer: Optimizer) -> Tensor:
        """Return the gradients of the sampled coordinates, shape ``(n,)``; absent ones are zero."""
        trainable = self._trainable(optimizer)
        gradients = [
            torch.zeros_like(p) if p.grad is None or p.grad.is_sparse else p.grad.detach() for p in trainable
        ]
        return _flat([local_tensor(gradient) for gradient in gradients], self._blocks)

    def fingerprint(self) -> list[Any]:
        """Return the settings in plain types."""
        return [self.fraction, self.min_coordinates, self.seed]

    def _trainable(self, optimizer: Optimizer) -> list[Tensor]:
        trainable = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        rows = tuple(_rows(local_tensor(p)) for p in trainable)
        if rows != self._chosen_for:
            self._choose(rows, sum(p.numel() for p in trainable))
        return trainable

    def _choose(self, rows: tuple[int, ...], total: int) -> None:
        share = max(self.fraction, min(1.0, self.min_coordinates / max(total, 1)))
        self._blocks = []
        for index, count in enumerate(rows):
            length = min(count, max(1, round(count * share)))
            draw = random.Random(derive_seed(self.seed, "block", index, count))
            self._blocks.append((draw.randint(0, count - length), length))
        self._chosen_for = rows


class PendingRead:
    """A small tensor on its way to the host.

    Args:
        values: What to read; must not be changed afterwards.
        started: Step at which the transfer began.
    """

    def __init__(self, values: Tensor, started: int) -> None:
        self.started = started
        self._event: torch.cuda.Event | None = None
        if values.is_cuda:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._host = values

    def fetch(self) -> Any:
        """Return the values as nested lists; waits only if the transfer is not done."""
        if self._event is not None:
            self._event.synchronize()
        return self._host.tolist()


def _rows(tensor: Tensor) -> int:
    return tensor.shape[0] if tensor.dim() else 1


def _flat(tensors: list[Tensor], blocks: list[tuple[int, int]]) -> Tensor:
    pieces = [
        (tensor.narrow(0, start, length) if tensor.dim() else tensor).reshape(-1)
        for tensor, (start, length) in zip(tensors, blocks, strict=True)
    ]
    flat = torch.cat(pieces)
    return flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat

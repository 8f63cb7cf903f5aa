"""Language models on text, with the scores that they are published with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.learning.trace import SPACE, Meter
from hypernudge.tasks.language.data import TokenPart
from hypernudge.tasks.language.task import Windows
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.module.measuring import Score
from hypernudge.tasks.networks.losses import cross_entropy

EVALUATED = 64  # windows scored at a time
MeanLoss = Callable[[nn.Module, Tensor, Tensor, int], Tensor]  # see `loss_of_logits`


def scored_windows(part: TokenPart, length: int, stride: int) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Yield windows that begin every `stride` tokens, what follows each token, and how many count.

    Of the first window all targets count, of the others the last `stride`: each token is predicted once, and
    but for the beginning from at least `length - stride` tokens before it.
    """
    tokens = np.asarray(part.tokens).astype(np.int64)
    length = min(length, len(tokens) - 1)
    yield _window(tokens, [0], length), _window(tokens, [1], length), length
    starts = list(range(stride, len(tokens) - length, stride))
    for first in range(0, len(starts), EVALUATED):
        some = starts[first : first + EVALUATED]
        yield _window(tokens, some, length), _window(tokens, [s + 1 for s in some], length), stride
    last = len(tokens) - 1 - length
    done = starts[-1] if starts else 0
    if last > done:  # what is left counts once
        yield _window(tokens, [last], length), _window(tokens, [last + 1], length), last - done


def _window(tokens: np.ndarray, starts: list[int], length: int) -> Tensor:
    return torch.from_numpy(np.stack([tokens[start : start + length] for start in starts]))


def loss_of_logits(model: nn.Module, tokens: Tensor, following: Tensor, count: int) -> Tensor:
    """Return the mean loss, nats, of a model that returns logits.

    Args:
        model: Maps `(n, length)` to `(n, length, vocabulary)`.
        tokens: int64 `(n, length)`.
        following: What follows each token, likewise.
        count: The targets of each window that count, its last ones.
    """
    return cross_entropy(model(tokens)[:, -count:], following[:, -count:])


def minus_loss(model: nn.Module, split: Any, mean_loss: MeanLoss = loss_of_logits) -> float:
    """Return minus the mean loss per token, nats, of windows with the number of targets that count."""
    total, targets = 0.0, 0
    for tokens, following, counts in split:
        count = int(counts[0])
        n = count * len(tokens)
        total += n * float(mean_loss(model, tokens, following, count).detach())
        targets += n
    return -total / targets if targets else math.nan


def language_task(
    parts: Mapping[str, TokenPart],
    model: Callable[[Any], nn.Module],
    meter: Meter,
    *,
    length: int,
    stride: int,
    batch_size: int,
    steps_per_unit: int,
    units: int,
    device: str,
    precision: str,
    schedule: dict[str, Any],
    optimizer: dict[str, Any],
    fixed: dict[str, Any],
    folder: Path,
    name: str,
    score: Score = minus_loss,
    mean_loss: MeanLoss = loss_of_logits,
) -> ModuleTask:
    """Return the training of a language model on windows at random."""

    def loss(model: nn.Module, batch: Any, hp: Any) -> Tensor:
        value = mean_loss(model, batch[0], batch[1], length)
        meter.note(model, value, batch[1])
        return value

    def held_out(part: str) -> Callable[[], Iterator[tuple[Tensor, Tensor, Tensor]]]:
        def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for tokens, following, count in scored_windows(parts[part], length, stride):
                yield tokens, following, torch.tensor([count])

        return batches

    held = [held_out(part) for part in ("validation", "test") if len(parts[part]) > 1]
    return ModuleTask(
        model,
        (Windows(parts["train"], length), *held),
        loss,
        score,
        SPACE,
        name=name,
        optimizer=optimizer,
        schedule=schedule,
        fixed=fixed,
        batch_size=batch_size,
        steps_per_unit=steps_per_unit,
        units=units,
        device=device,
        precision=precision,  # type: ignore[arg-type]
        checkpoint_dir=folder,
        keep_checkpoints=True,
    )

"""Language models on text, with the scores that they are published with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.learning.trace import SPACE, Meter
from hypernudge.tasks.language.data import TextData, TokenPart
from hypernudge.tasks.language.task import Windows
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.module.measuring import Score
from hypernudge.tasks.networks.losses import cross_entropy

EVALUATED = 64  # windows scored at a time


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


def minus_loss(model: nn.Module, split: Any) -> float:
    """Return minus the mean loss per token, nats, of windows with the number of targets that count."""
    total, targets = 0.0, 0
    for tokens, following, count in split:
        logits = model(tokens)[:, -int(count[0]) :]
        n = int(count[0]) * len(tokens)
        total += n * float(cross_entropy(logits, following[:, -int(count[0]) :]).detach())
        targets += n
    return -total / targets if targets else math.nan


def language_task(
    data: TextData,
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
    score: Score | None = None,
) -> ModuleTask:
    """Return the training of a language model on windows at random; `score` is minus the loss if absent."""

    def loss(model: nn.Module, batch: Any, hp: Any) -> Tensor:
        logits = model(batch[0])
        value = cross_entropy(logits, batch[1])
        meter.note(model, value, batch[1])
        return value

    def held_out(part: str) -> Callable[[], Iterator[tuple[Tensor, Tensor, Tensor]]]:
        def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for tokens, following, count in scored_windows(data.parts[part], length, stride):
                yield tokens, following, torch.tensor([count])

        return batches

    parts = [held_out(part) for part in ("validation", "test") if len(data.parts[part]) > 1]
    return ModuleTask(
        model,
        (Windows(data.parts["train"], length), *parts),
        loss,
        score or minus_loss,
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

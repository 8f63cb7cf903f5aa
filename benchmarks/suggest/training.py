"""Training a problem at a rate: what a suggestion is judged by."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.suggest.tasks import Problem

WARMUP = 0.05  # share of the steps, where the rate falls as a cosine


def batches(problem: Problem, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield mini-batches for ever: all rows in a random order, then again."""
    x, y = problem.data()[:2]
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(x), generator=generator)
        for rows in order[: len(x) // problem.batch_size * problem.batch_size].split(problem.batch_size):  # type: ignore[no-untyped-call]
            yield x[rows], y[rows]


def loader(problem: Problem, seed: int) -> DataLoader[Any]:
    """Return the training data as a user would hand them over."""
    generator = torch.Generator().manual_seed(seed)
    rows = TensorDataset(*problem.data()[:2])
    return DataLoader(rows, problem.batch_size, shuffle=True, drop_last=True, generator=generator)


def factor(schedule: str, step: int, steps: int) -> float:
    """Return the share of the peak rate at a step."""
    if schedule == "constant":
        return 1.0
    warm = max(1, round(WARMUP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def train(
    problem: Problem, seed: int, rate: float, steps: int | None = None, every: int = 0
) -> tuple[float, float, list[float]]:
    """Train from the seed's network; return held-out loss, mean training loss at the end, and a curve.

    A training whose loss is not finite ends; its losses are infinite. The curve has the mean training loss
    of every `every` steps.
    """
    steps = steps or problem.steps
    model = problem.build(seed)
    optimizer = problem.optimizer(model.parameters(), rate)
    source, losses = batches(problem, seed), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor(problem.schedule, step, steps)
        optimizer.zero_grad()
        loss = problem.loss(model, next(source))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return math.inf, math.inf, []
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    curve = [sum(losses[k : k + every]) / every for k in range(0, steps, every)] if every else []
    tail = losses[-max(1, steps // 10) :]
    held_out = evaluate(problem, model)
    return held_out, sum(tail) / len(tail), curve


@torch.no_grad()
def evaluate(problem: Problem, model: Any) -> float:
    """Return the held-out loss."""
    x, y = problem.data()[2:]
    model.eval()
    parts = [(x[k : k + 250], y[k : k + 250]) for k in range(0, len(x), 250)]
    value = sum(float(problem.loss(model, part)) * len(part[0]) for part in parts) / len(x)
    return value if math.isfinite(value) else math.inf

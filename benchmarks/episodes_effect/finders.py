"""Finders of a learning rate on the tasks of the study: the rate that each gives for one seed of a cell."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.episodes_effect.tasks import EMBEDDING, Data, EffectTask, noisy_labels
from benchmarks.suggest.rivals import RIVALS
from benchmarks.suggest.tasks import Problem, adamw, cross_entropy, sgd
from benchmarks.suggest.training import loader
from hypernudge import suggest

UNFOUND = 1e-3  # where a finder finds nothing: what PyTorch's AdamW and SGD take by default


class Characters(nn.Module):
    """The network of characters for one member: an embedding, then the chain of layers."""

    def __init__(self, classes: int, layers: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, EMBEDDING)
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        """Map characters `(n, context)` to logits `(n, classes)`."""
        logits: Tensor = self.layers(self.embedding(x).flatten(1))
        return logits


def member(task: EffectTask, data: Data, seed: int) -> nn.Module:
    """Return the network that the study trains under a seed, at its beginning."""
    network, params = task.network(data), task.init(data, seed, torch.float32)
    if task.model != "characters":
        network.load_state_dict(params)
        return network
    whole = Characters(data.classes, network)
    table = {"embedding.weight": params.pop("embedding")}
    whole.load_state_dict(table | {f"layers.{name}": value for name, value in params.items()})
    return whole


def problem(task: EffectTask, data: Data, optimizer: str, noise: float, seed: int) -> Problem:
    """Return one member's training as the benchmark of suggested rates has its tasks."""
    labels = noisy_labels(data.train.y, data.classes, noise, seed) if noise else data.train.y
    return Problem(
        name=task.name,
        model=lambda *_: member(task, data, seed),
        data=lambda: (data.train.x, labels, data.validation.x, data.validation.y),
        optimizer=adamw if optimizer == "adamw" else sgd(),
        rates=(),
        loss=cross_entropy,
        schedule="cosine",
        steps=task.steps,
        batch_size=task.batch,
    )


def _ours(asked: Problem, seed: int) -> float:
    return suggest(
        asked.build(seed),
        asked.loss,
        loader(asked, seed + 1000),
        lambda params: asked.optimizer(params, UNFOUND),
        steps=asked.steps,
        schedule="cosine",
        seconds=None,
        seed=seed,
    ).lr


FINDERS: dict[str, Callable[[Problem, int], float | None]] = {
    "lightning": RIVALS["lightning"],
    "torch_lr_finder": RIVALS["torch_lr_finder"],
    "suggest": _ours,
}


def find(finder: str, task: EffectTask, data: Data, optimizer: str, noise: float, seed: int) -> float | None:
    """Return the rate that a finder gives for a seed of a cell, None where it gives none.

    Args:
        finder: A key of `FINDERS`.
        task: What is trained.
        data: Its data.
        optimizer: `adamw` or `sgd`.
        noise: Share of the training labels that are wrong.
        seed: Of initialisation and label noise; the finder has batches of its own.
    """
    rate = FINDERS[finder](problem(task, data, optimizer, noise, seed), seed)
    return rate if rate is not None and math.isfinite(rate) and rate > 0 else None

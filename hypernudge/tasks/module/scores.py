"""Usual scores of a model on a split, larger is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hypernudge.errors import require
from hypernudge.registry import takes
from hypernudge.tasks.module.held_out import HeldOut
from hypernudge.tasks.module.measuring import Loss, Score

IGNORED = -100  # `ignore_index` of torch's cross entropy


def accuracy(model: nn.Module, split: Iterable[Any]) -> float:
    """Return the share of samples whose largest output is at the label; NaN if an output is not finite.

    Labels of -100, as padded tokens have, are not counted: PyTorch's losses ignore them too (`ignore_index`).

    Args:
        model: Maps inputs to outputs `(n, classes)`, or to an object with `logits`.
        split: Batches `(inputs, labels)`, or mappings to what `model` takes and to `labels`, `(n,)`.

    Raises:
        InvalidArgumentError: For shapes that are no classes and labels: comparing them would broadcast.
    """
    hits, samples, finite = torch.zeros(()), torch.zeros((), dtype=torch.long), torch.ones(())
    for batch in split:
        if isinstance(batch, Mapping):
            outputs, labels = model(**{k: v for k, v in batch.items() if k != "labels"}), batch["labels"]
        else:
            outputs, labels = model(batch[0]), batch[1]
        logits: Tensor = getattr(outputs, "logits", outputs)
        _check_classes(logits, labels)
        hits = hits.to(logits.device) + (logits.argmax(-1) == labels).sum()
        finite = finite.to(logits.device) * torch.isfinite(logits).all()
        samples = samples.to(labels.device) + (labels != IGNORED).sum()
    return float(hits) / int(samples) if samples and bool(finite) else math.nan


def _check_classes(logits: Tensor, labels: Tensor) -> None:
    classes = logits.shape[-1] if logits.dim() else 0
    rule = "'accuracy' needs outputs (n, classes), of at least two classes, and labels (n,)"
    shapes = tuple(logits.shape), tuple(labels.shape)
    remedy = "give such a model and labels, or a score of your own: lambda model, split: ..."
    require(classes > 1 and logits.shape[:-1] == labels.shape, "score", rule, shapes, remedy)


def negative_loss(loss: Loss, hp: Mapping[str, Any] | None = None) -> Callable[[nn.Module, HeldOut], float]:
    """Return the score that is minus a loss, averaged over samples.

    Args:
        loss: `loss(model, batch, hp)`.
        hp: What it gets as `hp`; nothing if absent.
    """

    def score(model: nn.Module, split: HeldOut) -> float:
        total, samples = torch.zeros((), dtype=torch.float64), 0
        for batch in split:
            part = next(iter(batch.values())) if isinstance(batch, Mapping) else batch
            size = len(part if isinstance(part, Tensor) else part[0])
            total += size * loss(model, batch, hp or {}).detach().cpu().double()
            samples += size
        return -float(total / samples)

    return score


def scoring(score: Any, loss: Loss, fixed: Mapping[str, Any]) -> tuple[Score, str, tuple[float, float]]:
    """Return the function that a score means, what it is called, and its worst and best value.

    Args:
        score: A function of model and split, `"accuracy"`, or `"loss"` for minus `loss` at `fixed` values.
        loss: Of the training.
        fixed: Values that are not tuned.

    Raises:
        InvalidArgumentError: If it is none of these.
    """
    if score == "accuracy" or score is accuracy:
        return accuracy, "accuracy", (0.0, 1.0)
    if score == "loss":
        return negative_loss(loss, fixed), "negative loss", (-math.inf, 0.0)
    ok = callable(score) and not isinstance(score, type) and takes(score, 2)
    rule = "must be a function of (model, split), 'accuracy' or 'loss'"
    require(ok, "score", rule, score, "write lambda model, split: ...")
    return score, "score", (-math.inf, math.inf)

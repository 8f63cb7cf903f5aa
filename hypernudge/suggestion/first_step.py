"""The optimizer's first step: the best rate along it, and whether it is longer where the gradient is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median_high

import torch
from torch import Tensor

from hypernudge.suggestion.copies import Training, takes_closure
from hypernudge.suggestion.trials import Recipe
from hypernudge.tasks.module.seeded import reseed

SMALL_STEP = 1e-3  # length of the step that curvature is taken along, over the weights' norm


def curvature(recipe: Recipe, parts: int = 3) -> tuple[float, float]:
    """Return `log10` of the rate that is best along the optimizer's first step, and what that should gain.

    `lr* = g'd / d'Hd` for a step of `-lr d`, with `Hd` from the gradients on either end of a short step; the
    quadratic falls by `lr* g'd / 2`. Both are medians over mini-batches, NaN where there is none.

    Raises:
        OutOfTimeError: If time is up.
    """
    found = [along for k in range(parts) if (along := _curvature(recipe, k)) is not None]
    if not found:
        return math.nan, math.nan
    return median_high(rate for rate, _ in found), median_high(gain for _, gain in found)


def _curvature(recipe: Recipe, number: int) -> tuple[float, float] | None:
    recipe.in_time()
    training = recipe.start()
    weights = training.parameters
    before = [p.detach().clone() for p in weights]
    gradient = _gradient(recipe, training, number)
    direction = _step_of(recipe, training, before)
    norm, length = _norm(before), _norm(direction)
    if not (math.isfinite(length) and length > 0):
        return None
    size = SMALL_STEP * max(norm, 1e-3) / length
    with torch.no_grad():
        for p, old, along in zip(weights, before, direction, strict=True):
            p.copy_(old - size * along)
    after = _gradient(recipe, training, number)
    slope = _dot(gradient, direction)
    bend = (slope - _dot(after, direction)) / size
    if not (slope > 0 and bend > 0 and math.isfinite(slope / bend)):
        return None
    return math.log10(slope / bend), slope * (slope / bend) / 2.0


def is_normalised(recipe: Recipe) -> bool:
    """Whether the optimizer's first step is the same for a gradient ten times as large, as Adam's is.

    Raises:
        OutOfTimeError: If time is up.
    """
    lengths = []
    for scale in (1.0, 10.0):
        recipe.in_time()
        training = recipe.start()
        before = [p.detach().clone() for p in training.parameters]
        _gradient(recipe, training, 0)
        for p in training.parameters:
            if p.grad is not None:
                p.grad.mul_(scale)
        lengths.append(_norm(_step_of(recipe, training, before)))
    return math.isfinite(lengths[1]) and lengths[1] < 3.0 * lengths[0]


def _step_of(recipe: Recipe, training: Training, before: Sequence[Tensor]) -> list[Tensor]:
    """Make a step at the rate 1 without decay of weights, and return it, downhill.

    It is the first, and so shows how the optimizer is to be called: those of other people may take no
    closure, or take one and never call it.
    """
    training.set_rate(1.0)
    for group in training.optimizer.param_groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0.0
    called: list[bool] = []

    def closure() -> float:
        called.append(True)
        return 0.0

    if takes_closure(training.optimizer):
        training.optimizer.step(closure)
    else:
        training.optimizer.step()
    recipe.closures = bool(called)
    return [old - p.detach() for old, p in zip(before, training.parameters, strict=True)]


def _gradient(recipe: Recipe, training: Training, number: int) -> list[Tensor]:
    training.optimizer.zero_grad()
    reseed(recipe.seed)
    recipe.loss_at(training, number).backward()  # type: ignore[no-untyped-call]
    recipe.gradients += 1
    weights = training.parameters
    return [torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in weights]


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return sum(float((_real(x) * _real(y)).sum()) for x, y in zip(a, b, strict=True))


def _real(a: Tensor) -> Tensor:
    """Return a tensor in float64, a complex one as its two parts."""
    return (torch.view_as_real(a) if a.is_complex() else a).double()


def _norm(a: Sequence[Tensor]) -> float:
    return math.sqrt(max(_dot(a, a), 0.0))

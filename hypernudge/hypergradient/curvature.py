"""Curvature along the optimizer's first direction, and the learning rate it suggests.

On a quadratic, a step of length `g'd / d'Hd` along `-d` reaches the minimum on that line (for `d = g`,
Cauchy's steepest descent). At initialisation this is a scale for the learning rate. Three ways to `d'Hd`:
exactly by a Hessian-vector product, by differences of gradients (no second derivatives), and by the loss
itself after a step (one more forward pass, and the curvature is that of a step worth taking).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hypernudge.hypergradient.objectives import HasLoss, gradient
from hypernudge.optimizers import Params
from hypernudge.task import Batch, GradientTask

FLOOR = 1e-3  # curvature below this counts as flat: lr* is then at most 1000 for SGD
DECREASE = 0.1  # share of the loss that `loss_difference` steps to gain


@dataclass(frozen=True)
class Curvature:
    """`gd = g'd`, `dHd = d'Hd` and `dd = d'd` of one mini-batch's loss along the first direction `d`."""

    gd: float
    dHd: float  # noqa: N815 -- the mathematics' own name
    dd: float

    @property
    def lr_star(self) -> float:
        """`g'd / max(d'Hd, 1e-3 d'd)`; NaN if the direction is zero or anything is not finite."""
        if not (math.isfinite(self.gd) and math.isfinite(self.dHd) and self.gd > 0):
            return math.nan
        return self.gd / max(self.dHd, FLOOR * self.dd)


def _dot(a: Params, b: Params) -> Tensor:
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()


def hessian_vector(task: HasLoss, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Curvature:
    """Exact, with `Hd` as the gradient of `g'd`: about two to three forward/backward equivalents.

    Raises:
        RuntimeError: If a layer has no second derivative.
    """
    g, d, Hd = _gradient_and_product(task, params, batch, hp)
    return _curvature(g, d, Hd)


def hessian_vector_many(
    stack: HasLoss, params: Params, batch: Batch, hp: Mapping[str, Any]
) -> list[Curvature]:
    """Return `hessian_vector` of every member of a `VmapTask`; all tensors are stacked, `(members, ...)`.

    Raises:
        RuntimeError: If a layer has no second derivative.
    """
    stacked = _gradient_and_product(stack, params, batch, hp)
    members = range(next(iter(stacked[0].values())).shape[0])
    return [_curvature(*({n: v[i] for n, v in part.items()} for part in stacked)) for i in members]


def _curvature(g: Params, d: Params, Hd: Params) -> Curvature:
    return Curvature(float(_dot(g, d)), float(_dot(d, Hd)), float(_dot(d, d)))


def _gradient_and_product(
    task: HasLoss, params: Params, batch: Batch, hp: Mapping[str, Any]
) -> tuple[Params, Params, Params]:
    tracked = {name: w.detach().requires_grad_(True) for name, w in params.items()}
    g = gradient(task, tracked, batch, hp)
    d = _direction(task, g)
    _dot(g, d).backward()  # type: ignore[no-untyped-call]  # `torch.autograd.grad` would not notice a missing second derivative
    Hd = {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in tracked.items()}
    return {name: value.detach() for name, value in g.items()}, d, Hd


def gradient_difference(
    task: GradientTask,
    params: Params,
    batch: Batch,
    hp: Mapping[str, Any],
    relative_step: float | None = None,
) -> Curvature:
    """Without second derivatives: `d'(g(w + e d) - g(w - e d)) / 2e`, with `e |d| = step |w|`.

    The step defaults to the square root of the machine epsilon: small, for beyond a kink of a ReLU the
    difference measures something else.
    """
    g = {name: value.detach() for name, value in gradient(task, params, batch, hp).items()}
    d = _direction(task, g)
    if relative_step is None:
        relative_step = torch.finfo(next(iter(g.values())).dtype).eps ** 0.5
    gd, dd = float(_dot(g, d)), float(_dot(d, d))
    size = math.sqrt(float(_dot(params, params)))
    if dd == 0 or not math.isfinite(dd):
        return Curvature(gd, math.nan, dd)
    e = relative_step * max(size, 1.0) / math.sqrt(dd)
    up = gradient(task, {name: w + e * d[name] for name, w in params.items()}, batch, hp)
    down = gradient(task, {name: w - e * d[name] for name, w in params.items()}, batch, hp)
    difference = {name: (up[name] - down[name]) / (2.0 * e) for name in g}
    return Curvature(gd, float(_dot(d, difference).detach()), dd)


def loss_difference(
    task: HasLoss,
    params: Params,
    batch: Batch,
    hp: Mapping[str, Any],
    decrease: float = DECREASE,
) -> tuple[Curvature, Params]:
    """Cheap: `2 (L(w - e d) - L(w) + e g'd) / e^2`, a third more than one forward/backward.

    Args:
        task: Its loss and its optimizer's direction.
        params: Trained tensors by name.
        batch: One mini-batch.
        hp: Hyper-parameters of the loss.
        decrease: `e` is chosen so that the gradient promises to lower the loss by this share of it; smaller
            steps drown in rounding, larger ones measure another place.

    Returns:
        The curvature, and the direction `d`, for those who go on along it.
    """
    own = getattr(task, "by_hand", None)  # a `GradientTask` has it
    loss, g = (own and own(params, batch, hp)) or loss_and_gradient(task, params, batch, hp)
    d = task.optimizer.direction(g)
    gd, here = float(_dot(g, d)), float(loss)
    dd = gd if d is g else float(_dot(d, d))  # SGD goes along the gradient itself
    if not (math.isfinite(gd) and math.isfinite(here) and gd > 0):
        return Curvature(gd, math.nan, dd), d
    e = decrease * max(abs(here), 1e-8) / gd
    with torch.no_grad():
        there = float(task.loss(moved(params, d, e), batch, hp))
    return Curvature(gd, 2.0 * (there - here + e * gd) / e**2, dd), d


def loss_and_gradient(
    task: HasLoss, params: Params, batch: Batch, hp: Mapping[str, Any]
) -> tuple[Tensor, Params]:
    """Return the loss and its gradient by autograd: the reference implementation of a task's `by_hand`."""
    tracked = {name: w.detach().requires_grad_(True) for name, w in params.items()}
    loss = task.loss(tracked, batch, hp)
    # A parameter that the loss does not use has gradient zero.
    grads = torch.autograd.grad(loss, list(tracked.values()), materialize_grads=True)
    return loss.detach(), dict(zip(tracked, grads, strict=True))


def moved(params: Params, direction: Params, step: float) -> Params:
    """Return `w - step * d` for all parameters, in two operations."""
    names = list(params)
    by = torch._foreach_mul([direction[name] for name in names], step)
    return dict(zip(names, torch._foreach_sub(list(params.values()), by), strict=True))


def _direction(task: HasLoss, grads: Params) -> Params:
    return task.optimizer.direction({name: g.detach() for name, g in grads.items()})

"""Curvature along the gradient, and the learning rate it suggests.

On a quadratic, a step along `-g` of length `g'g / g'Hg` reaches the minimum on that line (Cauchy's steepest
descent). At initialisation this is a scale for the learning rate that costs one Hessian-vector product.
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

FLOOR = 1e-3  # curvature below this counts as flat: lr* is then at most 1000


@dataclass(frozen=True)
class Curvature:
    """`gg = |g|^2` and `gHg = g'Hg` of one mini-batch's loss."""

    gg: float
    gHg: float  # noqa: N815 -- the mathematics' own name

    @property
    def lr_star(self) -> float:
        """`g'g / max(g'Hg, 1e-3 g'g)`; NaN if the gradient is zero or anything is not finite."""
        if not (math.isfinite(self.gg) and math.isfinite(self.gHg) and self.gg > 0):
            return math.nan
        return self.gg / max(self.gHg, FLOOR * self.gg)


def _dot(a: Params, b: Params) -> Tensor:
    return torch.stack([(a[name] * b[name]).sum() for name in a]).sum()


def hessian_vector(task: HasLoss, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Curvature:
    """Exact, with `Hg` as the gradient of `|g|^2 / 2`: about two to three forward/backward equivalents.

    Raises:
        RuntimeError: If a layer has no second derivative.
    """
    g, Hg = _gradient_and_product(task, params, batch, hp)
    return Curvature(float(_dot(g, g)), float(_dot(g, Hg)))


def hessian_vector_many(
    stack: HasLoss, params: Params, batch: Batch, hp: Mapping[str, Any]
) -> list[Curvature]:
    """Return `hessian_vector` of every member of a `Stack`; all tensors are stacked, `(members, ...)`.

    Raises:
        RuntimeError: If a layer has no second derivative.
    """
    g, Hg = _gradient_and_product(stack, params, batch, hp)
    members = range(next(iter(g.values())).shape[0])

    def of(stacked: Params, i: int) -> Params:
        return {name: value[i] for name, value in stacked.items()}

    return [Curvature(float(_dot(of(g, i), of(g, i))), float(_dot(of(g, i), of(Hg, i)))) for i in members]


def _gradient_and_product(
    task: HasLoss, params: Params, batch: Batch, hp: Mapping[str, Any]
) -> tuple[Params, Params]:
    tracked = {name: w.detach().requires_grad_(True) for name, w in params.items()}
    g = gradient(task, tracked, batch, hp)
    (0.5 * _dot(g, g)).backward()  # type: ignore[no-untyped-call]  # `torch.autograd.grad` would not notice a missing second derivative
    Hg = {name: torch.zeros_like(w) if w.grad is None else w.grad for name, w in tracked.items()}
    return {name: value.detach() for name, value in g.items()}, Hg


def gradient_difference(
    task: GradientTask,
    params: Params,
    batch: Batch,
    hp: Mapping[str, Any],
    relative_step: float | None = None,
) -> Curvature:
    """Slow twin without second derivatives: `g'(g(w + e g) - g(w - e g)) / 2e`, with `e |g| = step |w|`.

    The step defaults to the square root of the machine epsilon: small, for beyond a kink of a ReLU the
    difference measures something else.
    """
    g = {name: value.detach() for name, value in gradient(task, params, batch, hp).items()}
    if relative_step is None:
        relative_step = torch.finfo(next(iter(g.values())).dtype).eps ** 0.5
    gg = float(_dot(g, g))
    size = math.sqrt(float(_dot(params, params)))
    if gg == 0 or not math.isfinite(gg):
        return Curvature(gg, math.nan)
    e = relative_step * max(size, 1.0) / math.sqrt(gg)
    up = gradient(task, {name: w + e * g[name] for name, w in params.items()}, batch, hp)
    down = gradient(task, {name: w - e * g[name] for name, w in params.items()}, batch, hp)
    difference = {name: (up[name] - down[name]) / (2.0 * e) for name in g}
    return Curvature(gg, float(_dot(g, difference).detach()))

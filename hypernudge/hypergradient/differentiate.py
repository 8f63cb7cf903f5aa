"""Three ways to differentiate an objective with respect to warped hyper-parameters.

Warped means: the natural logarithm of what lives on a logarithmic scale, the value itself elsewhere. All
three agree in float64; a law test holds them together on every hyper-parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hypernudge.hypergradient.attention import twice_differentiable
from hypernudge.hypergradient.objectives import Objective
from hypernudge.space import Config, Real

Gradient = dict[str, float]


def _warped(config: Config, parameters: Sequence[Real], dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        p.name: torch.tensor(p.warp(float(config[p.name])), dtype=dtype)
        for p in parameters
        if p.name in config
    }


def _natural(
    objective: Objective, config: Config, parameters: Sequence[Real], psi: Mapping[str, Tensor]
) -> Tensor:
    moved = {p.name: p.unwarp(psi[p.name]) for p in parameters if p.name in psi}
    return objective({**config, **moved})


def reverse(
    objective: Objective, config: Config, parameters: Sequence[Real], dtype: torch.dtype = torch.float32
) -> Gradient:
    """Exact gradient in reverse mode: one pass for all hyper-parameters; memory grows with the steps.

    Raises:
        RuntimeError: If a layer on the way has no second derivative.
    """
    psi = {name: v.requires_grad_(True) for name, v in _warped(config, parameters, dtype).items()}
    value = _natural(objective, config, parameters, psi)
    # Not `torch.autograd.grad`: restricted to paths towards its inputs, it would pass by the node by which a
    # once-differentiable function says that it has no second derivative, and be silently wrong.
    value.backward()  # type: ignore[no-untyped-call]
    return {name: 0.0 if v.grad is None else float(v.grad) for name, v in psi.items()}


def forward(
    objective: Objective, config: Config, parameters: Sequence[Real], dtype: torch.dtype = torch.float32
) -> Gradient:
    """Exact gradient in forward mode: one pass per hyper-parameter; memory does not grow with the steps."""
    psi = _warped(config, parameters, dtype)
    result = {}
    for name in psi:
        with forward_ad.dual_level(), twice_differentiable():  # fused attention has no forward mode either
            dual = forward_ad.make_dual(psi[name], torch.ones_like(psi[name]))  # type: ignore[no-untyped-call]
            value = _natural(objective, config, parameters, {**psi, name: dual})
            tangent = forward_ad.unpack_dual(value).tangent  # type: ignore[no-untyped-call]
        result[name] = 0.0 if tangent is None else float(tangent.detach())
    return result


def finite_differences(
    objective: Objective,
    config: Config,
    parameters: Sequence[Real],
    dtype: torch.dtype = torch.float32,
    step: float | None = None,
) -> Gradient:
    """Central differences, two evaluations per hyper-parameter: the reference, and the fallback.

    Needs no derivative of the training gradient, so it serves layers without second derivatives. `step`
    defaults to the cube root of the machine epsilon, where truncation and rounding errors balance. Within
    one step of a bound the difference reaches outside the range; the objective must bear that.
    """
    h = step if step is not None else torch.finfo(dtype).eps ** (1 / 3)
    psi = _warped(config, parameters, dtype)
    result = {}
    for name in psi:
        ends = []
        for sign in (1.0, -1.0):
            moved = {key: v + sign * h if key == name else v for key, v in psi.items()}
            ends.append(float(_natural(objective, config, parameters, moved).detach()))
        result[name] = (ends[0] - ends[1]) / (2.0 * h)
    return result

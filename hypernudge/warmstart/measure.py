"""What the gradient-based policies share: one measurement at a trial's initialisation, and its price."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hypernudge.errors import require
from hypernudge.hypergradient import (
    direct,
    finite_differences,
    gather_batch,
    hessian_vector,
    lookahead,
    reverse,
)
from hypernudge.hypergradient.curvature import gradient_difference, loss_difference
from hypernudge.optimizers import Params
from hypernudge.random import Streams
from hypernudge.space import Config, Real
from hypernudge.task import GradientTask, Task
from hypernudge.trial import History

CURVATURE = "log10_lr_star"


@dataclass(frozen=True)
class Measurement:
    """A hyper-gradient in warped coordinates, its FLOPs, and whether finite differences had to serve."""

    gradient: dict[str, float]
    flops: float
    fallback: bool

    @property
    def norm(self) -> float:
        """Euclidean norm; NaN or infinite if a component is."""
        return norm(self.gradient)


def norm(gradient: Mapping[str, float]) -> float:
    """Euclidean norm; NaN or infinite if a component is."""
    return math.sqrt(sum(value * value for value in gradient.values()))


def gradient_task(task: Task, policy: str) -> GradientTask:
    """Return `task` if its loss can be differentiated.

    Raises:
        InvalidArgumentError: For a black-box task.
    """
    ok = isinstance(task, GradientTask)
    require(ok, "warm_start", f"{policy} needs a GradientTask", type(task).__name__, "use 'none'")
    assert isinstance(task, GradientTask)  # for the type checker
    return task


def selected(task: Task, config: Config, only: tuple[str, ...] | None) -> tuple[Real, ...]:
    """Return the continuous hyper-parameters that `config` holds, or those of them that `only` names.

    Raises:
        InvalidArgumentError: If `only` names something that is not continuous or not in the space.
    """
    if only is not None:
        names = [p.name for p in task.space.continuous]
        unknown = [name for name in only if name not in names]
        require(not unknown, "only", f"must name continuous hyper-parameters {names}", unknown, "drop them")
    return tuple(p for p in task.space.continuous if p.name in config and (only is None or p.name in only))


def hyper_gradient(
    task: GradientTask,
    config: Config,
    parameters: Sequence[Real],
    seed: int,
    form: str,
    batch_size: int,
    index: int = 0,
) -> Measurement:
    """Measure one hyper-gradient at the initialisation of the trial with `seed`.

    Step `index` uses the batches after those of the steps before it. Layers without second derivatives make
    reverse mode raise; finite differences then serve, and the measurement says so.
    """
    params = {name: value.detach() for name, value in task.trained(task.init(seed)).items()}
    used = math.ceil(batch_size / task.batch_size)
    dtype = _dtype_of(params)

    def work() -> tuple[dict[str, float], bool]:
        first_step = 2 * used * index
        first = gather_batch(task, seed, first_step, batch_size)
        if form == "direct":
            objective = direct(task, params, first)
        else:
            second = gather_batch(task, seed, first_step + used, batch_size)
            objective = lookahead(task, params, (first, second))
        try:
            return reverse(objective, config, parameters, dtype), False
        except (RuntimeError, NotImplementedError):
            return finite_differences(objective, config, parameters, dtype), True

    (gradient, fallback), flops = task.counted(f"{form} of {batch_size}, {len(parameters)}", work)
    return Measurement(gradient, flops, fallback)


def curvature_rate(task: GradientTask, config: Config, seed: int, batch_size: int) -> tuple[float, float]:
    """Return `lr*` at the initialisation of the trial with `seed` (NaN if not finite), and its FLOPs."""
    params = {name: value.detach() for name, value in task.trained(task.init(seed)).items()}

    def work() -> float:
        batch = gather_batch(task, seed, 0, batch_size)
        try:
            return hessian_vector(task, params, batch, config).lr_star
        except (RuntimeError, NotImplementedError):  # a layer without second derivatives
            return gradient_difference(task, params, batch, config).lr_star

    return task.counted(f"curvature of {batch_size}", work)


@dataclass(frozen=True)
class Scale:
    """`log10` of a scale of the learning rate that trials share; NaN if there is none; and what it cost."""

    value: float
    flops: float
    measurements: dict[str, float]


def shared_curvature(
    task: Task, policy: str, config: Config, history: History, streams: Streams, trials: int, batch_size: int
) -> Scale:
    """Return the mean of `log10 lr*` over the first few trials; measure it here if this is one of them.

    `lr*` varies by .1 to .2 decades between the trials of a study: it is worth sharing.
    """
    number = len(history.trials)
    known = [t.nudge.measurements[CURVATURE] for t in history.trials if CURVATURE in t.nudge.measurements]
    flops, measurements = 0.0, {}
    if number < trials:
        seed = trial_seed_of(streams, number)
        lr_star, flops = curvature_rate(gradient_task(task, policy), config, seed, batch_size)
        if lr_star > 0:
            measurements = {CURVATURE: math.log10(lr_star)}
            known.append(measurements[CURVATURE])
    return Scale(sum(known) / len(known) if known else math.nan, flops, measurements)


def walk(
    task: GradientTask, config: Mapping[str, Any], seed: int, steps: int, batch_size: int
) -> list[float]:
    """Return `log10 lr*` before each of `steps` steps of half of it; shorter if one is not finite.

    The inputs are not augmented: the augmentation is a property of the trial, the scale one of the study.
    """
    hp = {**config, "augmentation": 0.0} if "augmentation" in config else dict(config)
    params = {name: value.detach() for name, value in task.trained(task.init(seed)).items()}
    used = math.ceil(batch_size / task.batch_size)
    found: list[float] = []
    for index in range(steps):
        batch = gather_batch(task, seed, index * used, batch_size)
        curvature, direction = loss_difference(task, params, batch, hp)
        lr_star = curvature.lr_star
        if not lr_star > 0:
            break
        found.append(math.log10(lr_star))
        with torch.no_grad():
            params = {name: w - 0.5 * lr_star * direction[name] for name, w in params.items()}
    return found


def stepped(
    config: Config, parameters: Sequence[Real], gradient: Mapping[str, float], eta: float
) -> dict[str, float]:
    """Return natural values after `psi - eta * gradient` in warped coordinates, clipped to the space."""
    return {
        p.name: p.step(float(config[p.name]), -eta * gradient[p.name])
        for p in parameters
        if p.name in gradient
    }


def trial_seed_of(streams: Streams, trial: int) -> int:
    """Seed of the trial's initialisation and data order, the one the engine will train it with."""
    return streams.integer("trial", trial)


def _dtype_of(params: Params) -> torch.dtype:
    return next(value.dtype for value in params.values() if value.is_floating_point())

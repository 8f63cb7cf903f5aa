"""Hyper-gradients without gradients: central differences in the unit cube.

Each continuous hyper-parameter is moved by a step up and down, and the losses after a short training are
compared. All losses of a measurement have the same data and random numbers (common random numbers), so most
of the noise cancels. At an edge of the space the difference is one-sided. The gradient is given in warped
coordinates, as all are.

What is compared: a task that states its loss has its objective (look-ahead or direct) evaluated, all
coordinates as one computation; a task with a short training of its own (`ShortTraining`) has that; any other
is trained for one unit. The cost is that of all evaluations, two per hyper-parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from hypernudge.batching import shared_values, stacked_values
from hypernudge.hypergradient import gather_batch
from hypernudge.hypergradient.stacked import stacked_batch, stacked_params
from hypernudge.random import integer
from hypernudge.space import Config, Real
from hypernudge.task import Batch, GradientTask, ShortTraining, Task
from hypernudge.warmstart.measurement.spec import (
    HyperGradientSpec,
    Measurement,
    floating,
    selected,
    stack_of,
    used_steps,
)

TRAINED_STEP = 0.05
"""In the unit cube: trees, say, change in jumps, which a smaller step meets or misses by chance."""
Losses = Callable[[Sequence[Config]], tuple[list[float], float]]


def measured(task: Task, config: Config, seed: int, spec: HyperGradientSpec) -> Measurement:
    """Measure a hyper-gradient of a trial by central differences; not finite where a loss is not."""
    parameters = selected(task, config, spec.only)
    if isinstance(task, GradientTask):
        step, why = _stated_step(task, config, seed), "as asked for"
        losses = _stated(task, seed, spec)
    else:
        step, why = TRAINED_STEP, "no gradient"
        losses = _trained(task, seed, spec)
    config = config.replace(**{p.name: float(config[p.name]) for p in parameters})  # batched by its floats
    ends = [_ends(p, config, step) for p in parameters]
    moved = [
        task.space.nearest(config.replace(**{p.name: p.decode(end)}))  # of a table, a row
        for p, pair in zip(parameters, ends, strict=True)
        for end in pair
    ]
    found, flops = losses(moved) if moved else ([], 0.0)
    gradient = {
        p.name: (found[2 * k] - found[2 * k + 1]) / ((up - down) * p.width)
        for k, (p, (up, down)) in enumerate(zip(parameters, ends, strict=True))
    }
    return Measurement(gradient, flops, why)


def _stated_step(task: GradientTask, config: Config, seed: int) -> float:
    """Return the cube root of the machine epsilon, where truncation and rounding of a loss balance."""
    at = task.at(config)
    return float(torch.finfo(floating(at.trained(at.init(seed))).dtype).eps ** (1 / 3))


def _ends(parameter: Real, config: Config, step: float) -> tuple[float, float]:
    """Return the two places of a difference in the unit interval, the upper one first."""
    here = min(max(float(parameter.encode(float(config[parameter.name]))), 0.0), 1.0)
    return min(here + step, 1.0), max(here - step, 0.0)


def _trained(task: Task, seed: int, spec: HyperGradientSpec) -> Losses:
    """Return what trains configurations one after the other, each from the same beginning."""
    index = spec.index

    def one(config: Config) -> tuple[float, float]:
        if isinstance(task, ShortTraining):
            held_out = spec.objective == "lookahead"
            return task.short_loss(config, seed, spec.batch_size, index, held_out)
        state = task.start(integer(seed, "short training", index) if index else seed)
        finite = task.advance(state, config)
        loss = -task.evaluate(state, "validation") if finite else math.nan
        return loss, float(task.unit_flops(config))

    def losses(configs: Sequence[Config]) -> tuple[list[float], float]:
        pairs = [one(config) for config in configs]
        return [loss for loss, _ in pairs], sum(flops for _, flops in pairs)

    return losses


def _stated(task: GradientTask, seed: int, spec: HyperGradientSpec) -> Losses:
    """Return what evaluates the objective of configurations: together where `torch.vmap` can."""

    def losses(configs: Sequence[Config]) -> tuple[list[float], float]:
        at = task.at(configs[0])
        params = {name: value.detach() for name, value in at.trained(at.init(seed)).items()}

        def batch(step: int) -> Batch:
            return gather_batch(at, seed, step, spec.batch_size)

        objective = spec.objective_on(at, params, batch, used_steps(at, spec))
        name = f"{spec.objective} loss of {spec.batch_size}"
        first, flops = at.counted(name, lambda: float(objective(configs[0]).detach()))
        try:
            found = _together(at, configs, seed, spec)
        except (RuntimeError, NotImplementedError):
            found = [first, *(float(objective(config).detach()) for config in configs[1:])]
        return found, flops * len(configs)

    return losses


def _together(at: GradientTask, configs: Sequence[Config], seed: int, spec: HyperGradientSpec) -> list[float]:
    seeds = [seed] * len(configs)
    params, stack = stacked_params(at, seeds), stack_of(at, configs[0])

    def batch(step: int) -> Batch:
        return stacked_batch(at, seeds, step, spec.batch_size)

    objective = spec.objective_on(stack, params, batch, used_steps(at, spec), stack.losses)
    like = floating(params)
    values = stacked_values(configs, like.dtype, like.device)
    found: list[float] = (
        objective({**shared_values(configs[0]), **values}).detach().to(torch.float64).tolist()
    )
    return found

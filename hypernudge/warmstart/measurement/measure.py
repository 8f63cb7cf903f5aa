"""What policies measure at a trial's initialisation: hyper-gradient or curvature; and its FLOPs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from hypernudge.batching import batch_groups, shared_values, stacked_values
from hypernudge.hypergradient import (
    finite_differences,
    gather_batch,
    hessian_vector,
    hessian_vector_many,
    reverse,
    reverse_many,
)
from hypernudge.hypergradient.curvature import gradient_difference
from hypernudge.hypergradient.stacked import stacked_batch, stacked_params
from hypernudge.space import Config, Real, SearchSpace
from hypernudge.task import Batch, GradientTask, Task
from hypernudge.warmstart.measurement import differences
from hypernudge.warmstart.measurement.spec import DIFFERENCES, EXACT, floating, stack_of, used_steps
from hypernudge.warmstart.measurement.spec import HyperGradientSpec as HyperGradientSpec
from hypernudge.warmstart.measurement.spec import Measurement as Measurement
from hypernudge.warmstart.measurement.spec import selected as selected

R = TypeVar("R")


def hyper_gradients(
    task: Task, configs: Sequence[Config], seeds: Sequence[int], spec: HyperGradientSpec
) -> list[Measurement]:
    """Measure a hyper-gradient at the initialisation of every trial: those of like shape at once.

    `hyper_gradient`, trial by trial, is the reference, and serves where a task cannot be batched. Tasks
    without gradients, and all with the estimator `"finite_differences"`, are measured by differences.
    """
    if not isinstance(task, GradientTask) or spec.estimator == DIFFERENCES:
        return [differences.measured(task, c, s, spec) for c, s in zip(configs, seeds, strict=True)]

    def together(configs: Sequence[Config], seeds: Sequence[int]) -> list[Measurement]:
        parameters = selected(task, configs[0], spec.only)
        at = task.at(configs[0])
        params = stacked_params(at, seeds)

        def batch(step: int) -> Batch:
            return stacked_batch(at, seeds, step, spec.batch_size)

        flops = at.flops_of(_name(spec, parameters), lambda: hyper_gradient(task, configs[0], seeds[0], spec))
        objective = spec.objective_on(stack_of(at, configs[0]), params, batch, used_steps(at, spec))
        gradients = reverse_many(objective, configs, parameters, floating(params))
        return [Measurement(gradient, flops) for gradient in gradients]

    return _alike(configs, seeds, together, lambda config, seed: hyper_gradient(task, config, seed, spec))


def hyper_gradient(task: GradientTask, config: Config, seed: int, spec: HyperGradientSpec) -> Measurement:
    """Measure one hyper-gradient at the initialisation of the trial with `seed`.

    Layers without second derivatives make reverse mode raise; finite differences then serve, and the
    measurement says so, unless the estimator is `"exact"`.

    Raises:
        RuntimeError: A layer has no second derivative, and nothing else may serve.
    """
    parameters = selected(task, config, spec.only)
    task = task.at(config)
    params = {name: value.detach() for name, value in task.trained(task.init(seed)).items()}
    dtype = floating(params).dtype

    def batch(step: int) -> Batch:
        return gather_batch(task, seed, step, spec.batch_size)

    def work() -> tuple[dict[str, float], str]:
        objective = spec.objective_on(task, params, batch, used_steps(task, spec))
        try:
            return reverse(objective, config, parameters, dtype), ""
        except (RuntimeError, NotImplementedError):
            if spec.estimator == EXACT:
                raise
            return finite_differences(objective, config, parameters, dtype), "no second derivative"

    (gradient, why), flops = task.counted(_name(spec, parameters), work)
    return Measurement(gradient, flops, why)


def curvature_rates(
    task: GradientTask, configs: Sequence[Config], seeds: Sequence[int], batch_size: int
) -> list[tuple[float, float]]:
    """Return `lr*` at the initialisation of every trial, and its FLOPs: trials of like shape at once.

    `curvature_rate`, trial by trial, is the reference, and serves where a task cannot be batched.
    """

    def together(configs: Sequence[Config], seeds: Sequence[int]) -> list[tuple[float, float]]:
        at = task.at(configs[0])
        params = stacked_params(at, seeds)
        batch = stacked_batch(at, seeds, 0, batch_size)
        like = floating(params)
        hp = {**shared_values(configs[0]), **stacked_values(configs, like.dtype, like.device)}
        found = hessian_vector_many(stack_of(at, configs[0]), params, batch, hp)
        flops = at.flops_of(
            f"curvature of {batch_size}", lambda: curvature_rate(task, configs[0], seeds[0], batch_size)
        )
        return [(curvature.lr_star, flops) for curvature in found]

    def alone(config: Config, seed: int) -> tuple[float, float]:
        return curvature_rate(task, config, seed, batch_size)

    return _alike(configs, seeds, together, alone)


def curvature_rate(task: GradientTask, config: Config, seed: int, batch_size: int) -> tuple[float, float]:
    """Return `lr*` at the initialisation of the trial with `seed` (NaN if not finite), and its FLOPs."""
    task = task.at(config)
    params = {name: value.detach() for name, value in task.trained(task.init(seed)).items()}

    def work() -> float:
        batch = gather_batch(task, seed, 0, batch_size)
        try:
            return hessian_vector(task, params, batch, config).lr_star
        except (RuntimeError, NotImplementedError):  # a layer without second derivatives
            return gradient_difference(task, params, batch, config).lr_star

    return task.counted(f"curvature of {batch_size}", work)


def _alike(
    configs: Sequence[Config],
    seeds: Sequence[int],
    together: Callable[[Sequence[Config], Sequence[int]], list[R]],
    alone: Callable[[Config, int], R],
) -> list[R]:
    """Measure configurations with the same names and the same discrete values together.

    One is measured as a pair with itself: what a batched operation of two computes does not depend on how
    many more there are, so a measurement has the same bits in any company; a batch of one may differ.
    """
    result: dict[int, R] = {}
    for members in batch_groups(configs):
        several = members if len(members) > 1 else members * 2
        try:
            found = together([configs[i] for i in several], [seeds[i] for i in several])
        except (RuntimeError, NotImplementedError):  # no second derivative, or nothing for `torch.vmap`
            found = [alone(configs[i], seeds[i]) for i in members]
        result.update(zip(members, found, strict=False))
    return [result[i] for i in range(len(configs))]


def _name(spec: HyperGradientSpec, parameters: Sequence[Real]) -> str:
    return f"{spec.objective} of {spec.batch_size}, {len(parameters)}"


def stepped(
    space: SearchSpace, config: Config, parameters: Sequence[Real], gradient: Mapping[str, float], eta: float
) -> Config:
    """Return the configuration after `psi - eta * gradient` in warped coordinates, kept in the space."""
    moved = {
        p.name: p.step(float(config[p.name]), -eta * gradient[p.name])
        for p in parameters
        if p.name in gradient
    }
    return space.nearest(config.replace(**moved))

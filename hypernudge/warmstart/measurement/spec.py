"""Which hyper-gradient is measured, and what a measurement is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from hypernudge.batching import CPU, VmapTask, shared_values
from hypernudge.hypergradient import direct, lookahead
from hypernudge.hypergradient.objectives import HasLoss, Loss, Objective
from hypernudge.optimizers import Params
from hypernudge.space import Config, Real
from hypernudge.task import Batch, GradientTask, Task
from hypernudge.warmstart.requirements import ESTIMATORS, needs_continuous

AUTO, EXACT, DIFFERENCES = ESTIMATORS


@dataclass(frozen=True)
class Measurement:
    """A hyper-gradient in warped coordinates, its FLOPs, and why finite differences served, if they did."""

    gradient: dict[str, float]
    flops: float
    differences: str = ""

    @property
    def fallback(self) -> bool:
        """Whether it is by finite differences."""
        return bool(self.differences)

    @property
    def norm(self) -> float:
        """Euclidean norm; NaN or infinite if a component is."""
        return norm(self.gradient)


def norm(gradient: Mapping[str, float]) -> float:
    """Euclidean norm; NaN or infinite if a component is."""
    return math.sqrt(sum(value * value for value in gradient.values()))


def selected(task: Task, config: Config, only: tuple[str, ...] | None) -> tuple[Real, ...]:
    """Return the continuous hyper-parameters that `config` holds, or those of them that `only` names.

    Raises:
        InvalidArgumentError: If `only` names something that is not continuous or not in the space.
    """
    if only is not None:
        needs_continuous(task.space, "a hyper-gradient", only)
    return tuple(p for p in task.space.continuous if p.name in config and (only is None or p.name in only))


@dataclass(frozen=True)
class HyperGradientSpec:
    """Which hyper-gradient: of a `"direct"` or `"lookahead"` loss, from batches of `batch_size` samples.

    Step `index` uses the batches after those of the steps before it; `only` as in `selected`; `estimator` is
    one of `ESTIMATORS`.
    """

    objective: str
    batch_size: int
    index: int = 0
    only: tuple[str, ...] | None = None
    estimator: str = AUTO

    def objective_on(
        self,
        task: HasLoss,
        params: Params,
        batch: Callable[[int], Batch],
        used: int,
        last: Loss | None = None,
    ) -> Objective:
        """Return what is differentiated; `batch(k)` returns the samples from step `k` on, `used` steps."""
        first_step = 2 * used * self.index
        first = batch(first_step)
        if self.objective == "direct":
            return direct(task, params, first, last)
        return lookahead(task, params, (first, batch(first_step + used)), last)


def stack_of(task: GradientTask, config: Config) -> VmapTask:
    """Return many trials like `config` as one task."""
    return VmapTask(task, CPU, shared_values(config))


def used_steps(task: GradientTask, spec: HyperGradientSpec) -> int:
    """Return how many of the task's batches one of the measurement takes."""
    return math.ceil(spec.batch_size / task.batch_size)


def floating(params: Params) -> Tensor:
    """Return a parameter with the type and on the device that values are given in."""
    return next(value for value in params.values() if value.is_floating_point())

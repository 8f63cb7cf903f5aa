"""OHGW exactly as proposed: one stochastic hyper-gradient step on every continuous hyper-parameter.

`psi' = psi - eta_h * dL/dpsi` from one mini-batch at initialisation, `psi` being the logarithm of learning
rate and weight decay and the value itself elsewhere. The step is not normalised. The look-ahead loss is that
of Baydin et al. 2018. It is the reference that other policies are compared with: at `eta_h = 1e-3` it moves
the learning rate by about 1e-5, which adds cost and changes nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypernudge.errors import require, require_between, require_choice, require_names, require_whole
from hypernudge.random import Streams
from hypernudge.renamed import accepts, attributes
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import FINITE_DIFFERENCES, History, Nudge
from hypernudge.warmstart.base import MAX_SAMPLES, MAX_STEPS, measure_and_nudge
from hypernudge.warmstart.requirements import ESTIMATORS, needs_continuous, needs_measurable

if TYPE_CHECKING:
    from hypernudge.task import Task
    from hypernudge.warmstart.measurement.measure import Measurement


__getattr__ = attributes(__name__, OHGW="Literal")


@accepts(objective="form")
@dataclass(frozen=True)
class OHGW:
    """One or several hyper-gradient steps before training.

    Args:
        eta_h: Step size in warped coordinates.
        batch_size: Samples per mini-batch of the measurement.
        objective: `"lookahead"` (loss on a second batch after one step on the first) or `"direct"` (loss of
            one batch; learning rate and momentum then have gradient zero).
        steps: Number of hyper-gradient steps, each on fresh batches at the same initialisation.
        only: Names of the hyper-parameters to move; None for every continuous one.
        policy: The name under which it is recorded.
        estimator: `"auto"`: exact where the task states its loss, by central finite differences elsewhere
            (`hypernudge.warmstart.measurement.differences`); `"exact"` or `"finite_differences"` for one of
            the two. Every trial that was measured by differences is flagged.

    Raises:
        InvalidArgumentError: For a non-positive `eta_h`, `batch_size` or `steps`, or an unknown `objective`.
    """

    eta_h: float = 1e-3
    batch_size: int = 128
    objective: str = "lookahead"
    steps: int = 1
    only: tuple[str, ...] | None = None
    policy: str = "literal"
    estimator: str = "auto"

    @property
    def name(self) -> str:
        """Its name in records, as other policies have one; in YAML `name` says which policy."""
        return self.policy

    def __post_init__(self) -> None:
        require_between("eta_h", self.eta_h, 0, 1e6, remedy="it must be positive: 1e-3 is the proposal")
        require_whole("batch_size", self.batch_size, 1, MAX_SAMPLES, remedy="128 is usual")
        require_whole("steps", self.steps, 1, MAX_STEPS, remedy="1 is the proposal")
        require_choice("objective", self.objective, ("lookahead", "direct"))
        require_choice("estimator", self.estimator, ESTIMATORS)
        require(isinstance(self.policy, str), "policy", "must be a name", self.policy, "leave it out")
        if self.only is not None:
            require_names("only", self.only)
            require(len(self.only) > 0, "only", "must name at least one", self.only, "leave it out for all")
            object.__setattr__(self, "only", tuple(self.only))

    def check(self, space: SearchSpace, task: Task) -> None:
        """Refuse a space without anything continuous, and a task that cannot be measured."""
        needs_measurable(task, self.policy, self.estimator)
        needs_continuous(space, self.policy, self.only)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration after the steps; unchanged and flagged if a gradient is not finite."""
        return measure_and_nudge(self, task, sampled, history, streams)

    def measure(
        self, task: Task, configs: Sequence[Config], numbers: Sequence[int], streams: Streams
    ) -> list[Descent]:
        """Return the way of each configuration down its hyper-gradients."""
        from hypernudge.warmstart.measurement import measure

        needs_measurable(task, self.policy, self.estimator)
        seeds = [streams.trial_seed(number) for number in numbers]
        descents = [Descent(config) for config in configs]
        for index in range(self.steps):
            going = [i for i, descent in enumerate(descents) if descent.finite]
            found = measure.hyper_gradients(
                task,
                [descents[i].config for i in going],
                [seeds[i] for i in going],
                measure.HyperGradientSpec(self.objective, self.batch_size, index, self.only, self.estimator),
            )
            for i, m in zip(going, found, strict=True):
                descents[i] = descents[i].after(task, m, self.eta_h)
        return descents

    def nudge(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams, measured: Descent
    ) -> Nudge:
        """Return the end of the descent."""
        del task, number, history, streams
        if not measured.finite:
            reason = f"hyper-gradient is not finite at step {measured.steps}: left as sampled"
            flops = measured.flops
            return Nudge(sampled, self.policy, flagged=True, reason=reason, flops=flops, kind="not_finite")
        why = measured.differences
        reason = f"{self.steps} step(s) of {self.eta_h:g} against the {self.objective} hyper-gradient"
        return Nudge(
            measured.config,
            self.policy,
            changed=measured.config != sampled,
            flagged=bool(why),
            reason=reason + (f" ({FINITE_DIFFERENCES}: {why})" if why else ""),
            gradient=measured.total,
            gradient_norm=math.sqrt(sum(value * value for value in measured.total.values())),
            flops=measured.flops,
            kind="finite_differences" if why else "moved",
        )


@dataclass(frozen=True)
class Descent:
    """Hyper-gradient steps of one configuration so far, with the sum of the gradients."""

    config: Config
    total: Mapping[str, float] = field(default_factory=dict)
    flops: float = 0.0
    steps: int = 0
    differences: str = ""  # why they served, if they did
    finite: bool = True

    def after(self, task: Task, m: Measurement, eta: float) -> Descent:
        """Return the descent after a step of `eta` against `m`; it ends where that is not finite."""
        from hypernudge.warmstart.measurement import measure

        config, total, finite = self.config, self.total, math.isfinite(m.norm)
        if finite:
            parameters = measure.selected(task, config, tuple(m.gradient))
            config = measure.stepped(task.space, config, parameters, m.gradient, eta)
            total = {name: total.get(name, 0.0) + value for name, value in m.gradient.items()}
        why = self.differences or m.differences
        return Descent(config, total, self.flops + m.flops, self.steps + 1, why, finite)


@accepts(objective="form")
def multi_step(
    steps: int = 5,
    eta_h: float = 1e-3,
    batch_size: int = 128,
    objective: str = "lookahead",
    only: tuple[str, ...] | None = None,
    estimator: str = "auto",
) -> OHGW:
    """Several hyper-gradient steps instead of one: the control that shows whether more of it helps.

    Arguments and errors are those of `OHGW`.
    """
    return OHGW(eta_h, batch_size, objective, steps, only, policy="multi_step", estimator=estimator)

"""The control: a step of the same length as the hyper-gradient's, in a random direction.

If it helps as much as the hyper-gradient's step, the direction said nothing. The length is that of the
measured gradient, so the cost is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hypernudge.random import Streams
from hypernudge.renamed import accepts
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import FINITE_DIFFERENCES, History, Nudge
from hypernudge.warmstart.base import measure_and_nudge
from hypernudge.warmstart.policies.ohgw import OHGW
from hypernudge.warmstart.requirements import needs_continuous, needs_measurable

if TYPE_CHECKING:
    from hypernudge.task import Task
    from hypernudge.warmstart.measurement.measure import Measurement


@accepts(objective="form")
@dataclass(frozen=True)
class RandomStep:
    """Moves by `eta_h * |dL/dpsi|` in warped coordinates, in a uniformly random direction.

    Args:
        eta_h: Step size, as in `OHGW`.
        batch_size: Samples per mini-batch of the measurement.
        objective: Of the hyper-gradient whose length is taken, as in `OHGW`.
        estimator: As in `OHGW`.
    """

    name: ClassVar[str] = "random_step"

    eta_h: float = 1e-3
    batch_size: int = 128
    objective: str = "lookahead"
    estimator: str = "auto"

    def __post_init__(self) -> None:
        OHGW(
            self.eta_h, self.batch_size, self.objective, estimator=self.estimator
        )  # the same rules, the same errors

    def check(self, space: SearchSpace, task: Task) -> None:
        """Refuse a space without anything continuous, and a task that cannot be measured."""
        needs_measurable(task, self.name, self.estimator)
        needs_continuous(space, self.name)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration after the random step; unchanged and flagged without a finite length."""
        return measure_and_nudge(self, task, sampled, history, streams)

    def measure(
        self, task: Task, configs: Sequence[Config], numbers: Sequence[int], streams: Streams
    ) -> list[Measurement]:
        """Return the hyper-gradients whose lengths are taken."""
        from hypernudge.warmstart.measurement import measure

        needs_measurable(task, self.name, self.estimator)
        seeds = [streams.trial_seed(number) for number in numbers]
        spec = measure.HyperGradientSpec(self.objective, self.batch_size, estimator=self.estimator)
        return measure.hyper_gradients(task, configs, seeds, spec)

    def nudge(
        self,
        task: Task,
        sampled: Config,
        number: int,
        history: History,
        streams: Streams,
        measured: Measurement,
    ) -> Nudge:
        """Return the configuration after a step of the measured length in the trial's own direction."""
        from hypernudge.warmstart.measurement import measure

        del history
        m, parameters = measured, measure.selected(task, sampled, None)
        if not math.isfinite(m.norm):
            reason = "hyper-gradient is not finite: left as sampled"
            return Nudge(sampled, self.name, flagged=True, reason=reason, flops=m.flops, kind="not_finite")
        direction = streams("random_step", number).standard_normal(len(parameters))
        direction *= m.norm / max(float(np.linalg.norm(direction)), 1e-300)
        step = {p.name: float(value) for p, value in zip(parameters, direction, strict=True)}
        config = measure.stepped(task.space, sampled, parameters, step, self.eta_h)
        why = m.differences
        # Records without a second derivative were sealed without these words.
        words = f" ({FINITE_DIFFERENCES}: {why})" if why and why != "no second derivative" else ""
        return Nudge(
            config,
            self.name,
            changed=config != sampled,
            flagged=m.fallback,
            reason=f"random direction, length of the {self.objective} hyper-gradient step{words}",
            gradient=m.gradient,
            gradient_norm=m.norm,
            flops=m.flops,
            kind="finite_differences" if why else "moved",
        )

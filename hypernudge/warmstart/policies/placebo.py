"""The placebo: pays for the same probe as `informed`, and leaves every configuration as it was sampled.

It shows the cost by itself. Its records hold what the probe measured, so priors are built from its studies.
Where nothing can be differentiated there is no probe: it then pays for what `literal` measures there, a
hyper-gradient by finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import FINITE_DIFFERENCES, History, Nudge
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.probe import Probe
from hypernudge.warmstart.requirements import differentiable, needs_continuous, needs_measurable, needs_rate

if TYPE_CHECKING:
    from hypernudge.task import Task


@dataclass(frozen=True)
class Placebo:
    """Walks the probe, or takes finite differences; notes the result, changes nothing.

    Args:
        steps: Steps of the walk.
        skip: First steps that do not enter the mean.
        batch_size: Samples per step of the walk; those of the task's own batch where that is smaller.

    Raises:
        InvalidArgumentError: As `ProbeBand`.
    """

    name: ClassVar[str] = "placebo"

    steps: int = Probe.steps
    skip: int = Probe.skip
    batch_size: int = Probe.batch_size

    def __post_init__(self) -> None:
        Probe(self.steps, self.skip, self.batch_size)  # the same rules, the same errors

    def check(self, space: SearchSpace, task: Task) -> None:
        """Refuse a space without `lr`, or without anything continuous where nothing can be differentiated."""
        needs_measurable(task, self.name)
        if differentiable(task):
            needs_rate(space, self.name)
        else:
            needs_continuous(space, self.name)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return `sampled` itself, with the cost of the probe or of the differences."""
        return self.nudge(task, sampled, len(history.trials), history, streams, None)

    def to_measure(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams
    ) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """Return what a worker measures at `sampled` before trial `number` starts; None for nothing."""
        if not differentiable(task):
            return self._differences, (sampled, streams.trial_seed(number))
        return self._probe.to_walk(self.name, sampled, number, history, streams)

    @property
    def _probe(self) -> Probe:
        return Probe(self.steps, self.skip, self.batch_size)

    def nudge(
        self,
        task: Task,
        sampled: Config,
        number: int,
        history: History,
        streams: Streams,
        measured: Any,
    ) -> Nudge:
        """Return the nudge of trial `number`, given what a worker has measured; None where it has nothing."""
        if not differentiable(task):
            if measured is None:
                measured = self._differences(task, sampled, streams.trial_seed(number))
            return self._paid(sampled, measured)
        needs_rate(task.space, self.name)
        scale = self._probe(task, self.name, sampled, history, streams, measured)
        if not math.isfinite(scale.value):
            return scale.unusable(self.name, sampled, suffix="")
        z = rates.log_rate(task, sampled) - scale.value
        choice = rates.Choice(sampled, z, "never acts", "unchanged")
        return rates.corrected(self.name, sampled, choice, scale.flops, scale.measurements)

    def _differences(self, task: Task, sampled: Config, seed: int) -> Any:
        from hypernudge.warmstart.measurement import measure

        spec = measure.HyperGradientSpec("lookahead", self.batch_size)
        return measure.hyper_gradients(task, [sampled], [seed], spec)[0]

    def _paid(self, sampled: Config, m: Any) -> Nudge:
        return Nudge(
            sampled,
            self.name,
            flagged=True,
            reason=f"never acts ({FINITE_DIFFERENCES}: {m.differences})",
            gradient=m.gradient,
            gradient_norm=m.norm,
            flops=m.flops,
            kind="finite_differences" if math.isfinite(m.norm) else "not_finite",
        )

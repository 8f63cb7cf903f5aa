"""The placebo: pays for the same probe as `informed`, and leaves every configuration as it was sampled.

It shows the cost by itself. Its records hold what the probe measured, so priors are built from its studies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.probe import Probe
from hypernudge.warmstart.requirements import needs_gradient, needs_rate

if TYPE_CHECKING:
    from hypernudge.task import Task


@dataclass(frozen=True)
class Placebo:
    """Walks the probe, notes its result, changes nothing.

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
        """Refuse a space without `lr`, and a task that cannot be differentiated."""
        needs_gradient(task, self.name)
        needs_rate(space, self.name)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return `sampled` itself, with the cost of the probe."""
        needs_rate(task.space, self.name)
        scale = Probe(self.steps, self.skip, self.batch_size)(task, self.name, sampled, history, streams)
        if not math.isfinite(scale.value):
            return scale.unusable(self.name, sampled, suffix="")
        z = rates.log_rate(task, sampled) - scale.value
        choice = rates.Choice(sampled, z, "never acts", "unchanged")
        return rates.corrected(self.name, sampled, choice, scale.flops, scale.measurements)

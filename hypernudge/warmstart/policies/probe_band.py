"""Probe band: keep learning rates inside a band around the scale that one short walk per study measures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.probe import Probe
from hypernudge.warmstart.requirements import needs_gradient, needs_rate, require_band

if TYPE_CHECKING:
    from hypernudge.task import Task
    from hypernudge.warmstart.measurement.walk import Walked


@dataclass(frozen=True)
class ProbeBand:
    """Redraws a learning rate outside `[p + low, p + high]`, `p` being the probe's mean `log10 lr*`.

    Args:
        low: Lower edge, in decades above `p`.
        high: Upper edge.
        steps: Steps of the walk.
        skip: First steps that do not enter the mean.
        batch_size: Samples per step of the walk; those of the task's own batch where that is smaller.

    Raises:
        InvalidArgumentError: If `low >= high`, `skip` is not in [0, steps), or `batch_size` is below 1.
    """

    name: ClassVar[str] = "probe_band"
    skip_model_based_picks: ClassVar[bool] = True

    low: float = -0.7
    high: float = 0.8
    steps: int = 8
    skip: int = 3
    batch_size: int = 128

    def __post_init__(self) -> None:
        require_band(self.low, self.high)
        Probe(self.steps, self.skip, self.batch_size)

    def check(self, space: SearchSpace, task: Task) -> None:
        """Refuse a space without `lr`, and a task that cannot be differentiated."""
        needs_gradient(task, self.name)
        needs_rate(space, self.name)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration with its learning rate redrawn if it was outside the band."""
        return self.nudge(task, sampled, len(history.trials), history, streams, None)

    def to_measure(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams
    ) -> tuple[Callable[..., Any], tuple[Any, ...]] | None:
        """Return what a worker measures at `sampled` before trial `number` starts; None for nothing."""
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
        measured: Walked | None,
    ) -> Nudge:
        """Return the nudge of trial `number`, given the walk of a worker; None where it has none to take."""
        needs_rate(task.space, self.name)
        scale = self._probe(task, self.name, sampled, history, streams, measured)
        if not math.isfinite(scale.value):
            return scale.unusable(self.name, sampled)
        rng, band = streams("probe_band", number), (self.low, self.high)
        choice = rates.redrawn(task, sampled, rng, scale.value, band, upper=self.high)
        return rates.corrected(self.name, sampled, choice, scale.flops, scale.measurements)

"""The base of policies around `lr*`, the learning rate that curvature suggests.

`lr*` is measured for the first few trials of a study, then reused: it varies by .1 to .2 decades between
trials, so one geometric mean serves all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hypernudge.errors import require_whole
from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import History, Nudge, NudgeKind
from hypernudge.warmstart.base import MAX_SAMPLES, measure_and_nudge
from hypernudge.warmstart.failures import failed, first_cause
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.requirements import needs_gradient, needs_rate

if TYPE_CHECKING:
    from hypernudge.task import Task

CURVATURE = "log10_lr_star"
Measured = tuple[float, float] | None
"""`log10(lr*)`, NaN if not finite, and its FLOPs; None for a trial that reuses it."""


@dataclass(frozen=True)
class AroundCurvature:
    """Corrects the learning rate by its distance from `lr*`; subclasses say how, in `choose`.

    Args:
        measure_trials: Trials at whose initialisation `lr*` is measured before it is only reused.
        batch_size: Samples of the measurement.

    Raises:
        InvalidArgumentError: If a count is below 1.
    """

    measure_trials: int = 3
    batch_size: int = 128

    name: ClassVar[str] = "around_curvature"
    skip_model_based_picks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_whole("measure_trials", self.measure_trials)
        require_whole("batch_size", self.batch_size, 1, MAX_SAMPLES)

    def choose(self, task: Task, sampled: Config, rng: np.random.Generator, centre: float) -> rates.Choice:
        """Return what to train in the place of `sampled`; `centre` is `log10(lr*)`, draws are `rng`'s."""
        raise NotImplementedError

    def check(self, space: SearchSpace, task: Task) -> None:
        """Refuse a space without `lr`, and a task that cannot be differentiated."""
        needs_gradient(task, self.name)
        needs_rate(space, self.name)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration with its learning rate corrected; alone and flagged without `lr*`."""
        return measure_and_nudge(self, task, sampled, history, streams)

    def to_measure(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams
    ) -> tuple[Callable[..., Measured], tuple[Any, ...]] | None:
        """Return what a worker measures at `sampled` before trial `number`; None for one that reuses it."""
        del history
        return (self._of_one, (sampled, number, streams)) if number < self.measure_trials else None

    def _of_one(self, task: Task, sampled: Config, number: int, streams: Streams) -> Measured:
        return self.measure(task, [sampled], [number], streams)[0]

    def measure(
        self, task: Task, configs: Sequence[Config], numbers: Sequence[int], streams: Streams
    ) -> list[Measured]:
        """Return `log10(lr*)` and its FLOPs for the first trials, None for those that reuse it."""
        chosen = [i for i, number in enumerate(numbers) if number < self.measure_trials]
        found = self._measured(task, [configs[i] for i in chosen], [numbers[i] for i in chosen], streams)
        result: list[Measured] = [None] * len(configs)
        for i, measured in zip(chosen, found, strict=True):
            result[i] = measured
        return result

    def _measured(
        self, task: Task, configs: Sequence[Config], numbers: Sequence[int], streams: Streams
    ) -> list[tuple[float, float]]:
        from hypernudge.warmstart.measurement import measure

        differentiable = needs_gradient(task, self.name)
        needs_rate(task.space, self.name)
        seeds = [streams.trial_seed(number) for number in numbers]
        found = measure.curvature_rates(differentiable, list(configs), seeds, self.batch_size)
        return [(math.log10(lr_star) if lr_star > 0 else math.nan, flops) for lr_star, flops in found]

    def nudge(
        self,
        task: Task,
        sampled: Config,
        number: int,
        history: History,
        streams: Streams,
        measured: Measured,
    ) -> Nudge:
        """Return the nudge of trial `number`, given what was measured for it.

        Workers of another tool may start it before any earlier trial's measurement is known: it is measured
        here then.
        """
        known = [t.nudge.measurements[CURVATURE] for t in history.trials if CURVATURE in t.nudge.measurements]
        flops, measurements = 0.0, {}
        if measured is None and not any(failed(t.nudge) or t.nudge.flops > 0 for t in history.trials):
            (measured,) = self._measured(task, [sampled], [number], streams)
        if measured is not None:
            value, flops = measured
            if math.isfinite(value):
                known.append(value)
                measurements[CURVATURE] = value
        if not known:
            cause = "" if measured is not None else first_cause(history)
            reason = f"no finite curvature was measured{cause and f', first {cause}'}: left as sampled"
            kind: NudgeKind = "not_finite" if measured is not None else "gave_up"
            return Nudge(sampled, self.name, flagged=True, reason=reason, flops=flops, kind=kind)
        rng = streams(self.name, number)
        choice = self.choose(task, sampled, rng, sum(known) / len(known))
        return rates.corrected(self.name, sampled, choice, flops, measurements)

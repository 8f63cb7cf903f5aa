"""The probe: a few throw-away steps along the optimizer's first direction, each with its own best length.

Curvature at initialisation names the scale of the first step only. Where inputs are badly scaled, later steps
have another scale. A walk of a few steps sees that. It is made once per study, from the initialisation and
the data of one trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypernudge.errors import require_whole
from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.trial import History
from hypernudge.warmstart.base import MAX_SAMPLES, MAX_STEPS
from hypernudge.warmstart.failures import ATTEMPTS, failures, first_cause
from hypernudge.warmstart.measurement.rates import Scale
from hypernudge.warmstart.requirements import needs_gradient

if TYPE_CHECKING:
    from hypernudge.task import GradientTask, Task
    from hypernudge.warmstart.measurement.walk import Walked

PROBE = "log10_probe"
MEDIAN_SCALE = {"SGD": 0.27, "AdamW": -1.53}  # log10 of the probe: median of the prior's tasks
RAISED = ("SGD",)  # the optimizers under which a low probe is known to exaggerate
SHRINKAGE, MAX_SHIFT = (
    0.5,
    0.7,
)  # share of how far below that a probe lies that is its own; at most so many decades


def shrunk_scale(value: float, optimizer: str) -> float:
    """Return the scale (log10 of the effective rate) to use in place of the probe `value`.

    SGD only: moves a low probe half-way to the median of past tasks, at most 0.7 decades, because it is too
    low on badly scaled inputs (`benchmarks.warm_starts.probe_sources`). A high probe stays: a rate that is
    too high costs one rung, one that is too low a whole training. For other optimizers this has not been
    measured, and the probe stays.
    """
    usual = MEDIAN_SCALE[optimizer] if optimizer in RAISED else -math.inf
    return value + min(SHRINKAGE * max(usual - value, 0.0), MAX_SHIFT)


@dataclass(frozen=True)
class Probe:
    """A walk of a few steps, made once per study.

    Args:
        steps: Steps of the walk.
        skip: First steps that do not enter the mean.
        batch_size: Samples per step; those of the task's own batch where that is smaller.

    Raises:
        InvalidArgumentError: If `skip` is not in [0, steps), or `batch_size` is below 1.
    """

    steps: int = 5
    skip: int = 2
    batch_size: int = 96  # a third more than its forward/backward: that of a batch of 128

    def __post_init__(self) -> None:
        require_whole("steps", self.steps, 1, MAX_STEPS)
        require_whole("skip", self.skip, 0, self.steps - 1, remedy=f"lower it below steps={self.steps}")
        require_whole("batch_size", self.batch_size, 1, MAX_SAMPLES, remedy="96 is usual")

    def samples(self, task: GradientTask) -> int:
        """Return the samples of a step: more than training takes say no more, and cost more than its step."""
        return min(self.batch_size, task.batch_size)

    def __call__(
        self,
        task: Task,
        policy: str,
        config: Config,
        history: History,
        streams: Streams,
        walked: Walked | None = None,
    ) -> Scale:
        """Return the mean `log10 lr*`, walked at the first trial (the next ones if it was not finite).

        The first that nobody has begun to measure: workers of another tool may start several at once, and a
        user may have chosen the first configurations. What a worker has `walked` already is taken.
        """
        known = self.known(history)
        if known is not None:
            return known
        if not self.is_needed(history):
            why = f"off since {ATTEMPTS} attempts failed, the first {first_cause(history)}"
            return Scale(math.nan, why=why, kind="gave_up")
        if walked is None:
            walked = self.walked(task, policy, config, streams.trial_seed(len(history.trials)))
        found, flops = walked
        kept = found[self.skip :]
        value = sum(kept) / len(kept) if kept else math.nan
        return Scale(value, flops, {PROBE: value} if math.isfinite(value) else {})

    def known(self, history: History) -> Scale | None:
        """Return what an earlier trial has walked; None where none has."""
        for trial in history.trials:
            if PROBE in trial.nudge.measurements:
                return Scale(trial.nudge.measurements[PROBE])
        return None

    def is_needed(self, history: History) -> bool:
        """Whether the next trial is to walk."""
        return self.known(history) is None and len(failures(history)) < ATTEMPTS

    def walked(self, task: Task, policy: str, config: Config, seed: int) -> Walked:
        """Return what a walk of the trial with a seed has found: `log10 lr*` by step; and its FLOPs."""
        from hypernudge.warmstart.measurement.walk import walk

        differentiable = needs_gradient(task, policy)
        size = self.samples(differentiable.at(config))
        return walk(differentiable, config, seed, self.steps, size)

    def to_walk(
        self, policy: str, config: Config, number: int, history: History, streams: Streams
    ) -> tuple[Callable[..., Walked], tuple[Any, ...]] | None:
        """Return what a worker calls before trial `number` starts; None where nothing is to be walked."""
        if number != len(history.trials) or not self.is_needed(history):
            return None
        return self.walked, (policy, config, streams.trial_seed(number))

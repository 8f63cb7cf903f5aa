"""Curvature band: raise learning rates that are far too slow, using curvature along the first direction.

`lr* = g'd / max(d'Hd, 1e-3 d'd)` from one augmented mini-batch at initialisation, `d` the optimizer's first
direction (SGD: the gradient); `z` is the number of decades of the effective learning rate above `lr*` (SGD:
`lr / (1 - momentum)`). `lr*` hardly varies between the trials of a study, so its geometric mean over the
first few trials is measured once and shared. Only the slow side is corrected: rates that are too large die on
the first rung by themselves, while slow ones linger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypernudge.errors import require
from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.trial import History, Nudge
from hypernudge.warmstart import rates

if TYPE_CHECKING:
    from hypernudge.task import Task

NO_SCALE = "no finite curvature was measured: left as sampled"


@dataclass(frozen=True)
class CurvatureBand:
    """Redraws the learning rate inside a band around `lr*` if it lies below the band.

    Args:
        low: Lower edge of the band, in decades above `lr*`; below it the rate is redrawn.
        high: Upper edge of the redraw.
        measure_trials: Trials at whose initialisation `lr*` is measured before it is only reused.
        batch_size: Samples of the measurement.

    Raises:
        InvalidArgumentError: If `low >= high`, or a count is below 1.
    """

    low: float = -1.25
    high: float = 0.25
    measure_trials: int = 3
    batch_size: int = 128

    def __post_init__(self) -> None:
        require(self.low < self.high, "low", f"must be below high={self.high}", self.low, "swap them")
        check_counts(self.measure_trials, self.batch_size)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration with its learning rate redrawn if it was too slow."""
        from hypernudge.warmstart import measure

        rates.check(task, "curvature_band")
        counts = self.measure_trials, self.batch_size
        scale = measure.shared_curvature(task, "curvature_band", sampled, history, streams, *counts)
        if not math.isfinite(scale.value):
            return Nudge(sampled, "curvature_band", flagged=True, reason=NO_SCALE, flops=scale.flops)
        rng = streams("curvature_band", len(history.trials))
        config, z, reason = rates.redrawn(task, sampled, rng, scale.value, (self.low, self.high))
        return rates.corrected("curvature_band", sampled, config, z, reason, scale.flops, scale.measurements)


def check_counts(measure_trials: int, batch_size: int) -> None:
    """Refuse counts below one.

    Raises:
        InvalidArgumentError: Naming the count.
    """
    require(measure_trials >= 1, "measure_trials", "must be at least 1", measure_trials, "raise it")
    require(batch_size >= 1, "batch_size", "must be at least 1", batch_size, "128 is usual")

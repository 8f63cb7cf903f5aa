"""Newton: draw every trial's learning rate around the one that curvature suggests.

Strong where inputs are well scaled, harmful where they are not: curvature at initialisation then names
another scale than the one that trains well. Kept for what it teaches; `informed` is what to use.
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
from hypernudge.warmstart.curvature_band import NO_SCALE, check_counts

if TYPE_CHECKING:
    from hypernudge.task import Task


@dataclass(frozen=True)
class Newton:
    """Draws `z`, the decades of the effective learning rate above `lr*`, from a normal distribution.

    Args:
        mean: Its mean.
        deviation: Its standard deviation.
        measure_trials: Trials at whose initialisation `lr*` is measured before it is only reused.
        batch_size: Samples of the measurement.

    Raises:
        InvalidArgumentError: If `deviation` is not positive, or a count is below 1.
    """

    mean: float = -0.5
    deviation: float = 0.35
    measure_trials: int = 3
    batch_size: int = 128

    def __post_init__(self) -> None:
        require(self.deviation > 0, "deviation", "must be positive", self.deviation, "0.35 is usual")
        check_counts(self.measure_trials, self.batch_size)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration with its learning rate redrawn."""
        from hypernudge.warmstart import measure

        rates.check(task, "newton")
        counts = self.measure_trials, self.batch_size
        scale = measure.shared_curvature(task, "newton", sampled, history, streams, *counts)
        if not math.isfinite(scale.value):
            return Nudge(sampled, "newton", flagged=True, reason=NO_SCALE, flops=scale.flops)
        z = rates.log_rate(task, sampled) - scale.value
        drawn = float(streams("newton", len(history.trials)).normal(self.mean, self.deviation))
        config = rates.at_rate(task, sampled, scale.value + drawn)
        reason = f"z = {z:.2f}: redrawn at z = {drawn:.2f}"
        return rates.corrected("newton", sampled, config, z, reason, scale.flops, scale.measurements)

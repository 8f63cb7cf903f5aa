"""Newton: draw every trial's learning rate around the one that curvature suggests.

It helps where inputs are well scaled and harms where they are not: there curvature at initialisation names
another scale than the one that trains well. Kept as a comparison; use `informed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hypernudge.errors import require_between, require_real
from hypernudge.space import Config
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.curvature import AroundCurvature

if TYPE_CHECKING:
    from hypernudge.task import Task


@dataclass(frozen=True)
class Newton(AroundCurvature):
    """Draws `z`, the decades of the effective learning rate above `lr*`, from a normal distribution.

    Args:
        measure_trials: Trials at whose initialisation `lr*` is measured before it is only reused.
        batch_size: Samples of the measurement.
        mean: Mean of `z`.
        deviation: Its standard deviation.

    Raises:
        InvalidArgumentError: If `deviation` is not positive, or a count is below 1.
    """

    name: ClassVar[str] = "newton"

    mean: float = -0.5
    deviation: float = 0.35

    def __post_init__(self) -> None:
        super().__post_init__()
        require_real("mean", self.mean)
        require_between("deviation", self.deviation, 0, remedy="0.35 is usual")

    def choose(self, task: Task, sampled: Config, rng: np.random.Generator, centre: float) -> rates.Choice:
        """Redraw the rate, whatever it was."""
        z = rates.log_rate(task, sampled) - centre
        drawn = float(rng.normal(self.mean, self.deviation))
        config = rates.at_rate(task, sampled, centre + drawn)
        return rates.Choice(config, z, f"z = {z:.2f}: redrawn at z = {drawn:.2f}", "redrawn")

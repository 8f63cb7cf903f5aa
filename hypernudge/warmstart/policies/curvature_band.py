"""Curvature band: raise learning rates that are far too slow, using curvature along the first direction.

`lr* = g'd / max(d'Hd, 1e-3 d'd)` from one augmented mini-batch at initialisation, `d` the optimizer's first
direction (SGD: the gradient); `z` is the number of decades of the effective learning rate above `lr*` (SGD:
`lr / (1 - momentum)`). Only low rates are corrected: high ones fail on the first rung by themselves, while
low ones cost a whole training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from hypernudge.space import Config
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.curvature import AroundCurvature
from hypernudge.warmstart.requirements import require_band

if TYPE_CHECKING:
    from hypernudge.task import Task


@dataclass(frozen=True)
class CurvatureBand(AroundCurvature):
    """Redraws the learning rate inside a band around `lr*` if it lies below the band.

    Args:
        measure_trials: Trials at whose initialisation `lr*` is measured before it is only reused.
        batch_size: Samples of the measurement.
        low: Lower edge of the band, in decades above `lr*`; below it the rate is redrawn.
        high: Upper edge of the redraw.

    Raises:
        InvalidArgumentError: If `low >= high`, or a count is below 1.
    """

    name: ClassVar[str] = "curvature_band"

    low: float = -1.25
    high: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        require_band(self.low, self.high)

    def choose(self, task: Task, sampled: Config, rng: np.random.Generator, centre: float) -> rates.Choice:
        """Redraw a rate that is too slow uniformly inside the band."""
        return rates.redrawn(task, sampled, rng, centre, (self.low, self.high))

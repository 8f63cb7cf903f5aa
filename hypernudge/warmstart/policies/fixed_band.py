"""Fixed band: the correction of `curvature_band` around a constant, as a control of the measurement.

If it helps as much, the measurement said nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from hypernudge.errors import require_real
from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.requirements import needs_rate, require_band

if TYPE_CHECKING:
    from hypernudge.task import Task

CENTRE = 0.27
"""`log10` of the constant: the median of `log10` of the probe over the shipped prior's development tasks."""


@dataclass(frozen=True)
class FixedBand:
    """Redraws the learning rate inside a band around a constant if it lies below the band.

    Args:
        centre: `log10` of the effective learning rate in the place of `lr*`.
        low: Lower edge of the band, in decades above the centre; below it the rate is redrawn.
        high: Upper edge of the redraw.

    Raises:
        InvalidArgumentError: If `low >= high`.
    """

    name: ClassVar[str] = "fixed_band"
    skip_model_based_picks: ClassVar[bool] = True

    centre: float = CENTRE
    low: float = -1.25
    high: float = 0.25

    def __post_init__(self) -> None:
        require_real("centre", self.centre)
        require_band(self.low, self.high)

    def check(self, space: SearchSpace, task: Task) -> None:
        """Refuse a space without `lr`."""
        del task
        needs_rate(space, self.name)

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the configuration with its learning rate redrawn if it was too slow."""
        needs_rate(task.space, self.name)
        rng = streams("fixed_band", len(history.trials))
        choice = rates.redrawn(task, sampled, rng, self.centre, (self.low, self.high))
        return rates.corrected(self.name, sampled, choice)

"""A learning-rate axis whose multiplier moves within an episode."""

from torch.optim import Optimizer

from hypernudge.episodes.axes.learning_rate import LearningRate
from hypernudge.episodes.axes.param_group_axis import Saved


class MovingLearningRate(LearningRate):
    """Multiplies every group's rate by `multiplier`, whatever an episode began with.

    Attributes:
        multiplier: What the next step is multiplied by, 0 or above; whoever decides sets it between steps.
        applied: What the last step was multiplied by.
    """

    neutral = None  # an episode that begins at 1 does not stay there

    multiplier = 1.0
    applied = 1.0

    def apply(self, optimizer: Optimizer, value: float) -> Saved | None:
        """Multiply the rates by `multiplier`; `value` is what the episode began with."""
        del value
        self.applied = self.multiplier
        return None if self.multiplier == 1.0 else super().apply(optimizer, self.multiplier)

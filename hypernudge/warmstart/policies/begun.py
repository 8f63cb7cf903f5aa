"""What the starts of one study have in common, found once and not at every start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypernudge.random import Streams
from hypernudge.trial import Event
from hypernudge.warmstart.measurement.ahead import Ahead
from hypernudge.warmstart.measurement.posterior import Tried
from hypernudge.warmstart.measurement.prior import Prior
from hypernudge.warmstart.measurement.rates import Scale

if TYPE_CHECKING:
    from hypernudge.task import Task
    from hypernudge.warmstart.base import WarmStart


@dataclass
class Begun:
    """A study that a policy has begun: a projection of its history.

    Attributes:
        policy: Whose starts they are; while it is held, no other has its id.
        task: What is tuned.
        prior: Of the weights.
        named: Name of the prior.
        rule: Name that priors know the task's update rule by.
        tried: The trials so far.
        scale: Of the learning rate, as an earlier trial has walked it; None before.
    """

    policy: WarmStart
    task: Task
    prior: Prior
    named: str
    rule: str
    tried: Tried = field(init=False)
    scale: Scale | None = None
    _ahead: Ahead | None = None

    def __post_init__(self) -> None:
        self.tried = Tried(self.task)

    def apply(self, event: Event) -> None:
        """Take in the next event."""
        self.tried.apply(event)

    def ahead(self, streams: Streams, count: int) -> Ahead:
        """Return the draws of the next trials: of the study's streams, `count` candidates each."""
        known = self._ahead
        if known is None or known.count != count or known.streams != streams:
            self._ahead = known = Ahead(self.task, streams, count)
        return known

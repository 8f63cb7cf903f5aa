"""Random search: every configuration is trained to the end.

Bergstra and Bengio: Random Search for Hyper-Parameter Optimization, JMLR 2012.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypernudge.errors import require
from hypernudge.random import Streams
from hypernudge.schedulers.base import Decision, Done, Resume, Sampler, Start, Uniform, Wait
from hypernudge.space import SearchSpace
from hypernudge.trial import History


@dataclass(frozen=True)
class RandomSearch:
    """Starts a new trial whenever a worker is free and trains it for `max_units`.

    Args:
        space: Where configurations are drawn.
        max_units: Training units (epochs) every trial gets.
        max_trials: Stop after this many; None leaves it to the study's budget.
        sampler: Proposes configurations.

    Raises:
        InvalidArgumentError: For `max_units < 1` or `max_trials < 1`.
    """

    space: SearchSpace
    max_units: int = 27
    max_trials: int | None = None
    sampler: Sampler = field(default_factory=Uniform)

    def __post_init__(self) -> None:
        require(self.max_units >= 1, "max_units", "must be at least 1", self.max_units, "raise it")
        enough = self.max_trials is None or self.max_trials >= 1
        require(enough, "max_trials", "must be at least 1, or absent", self.max_trials, "raise it")

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker."""
        if self.max_trials is None or len(history.trials) < self.max_trials:
            return Start(self.sampler(self.space, history, streams), self.max_units)
        return Wait() if history.n_running else Done()

    def foresee(self, history: History, streams: Streams, count: int) -> list[Start | Resume]:
        """Return the next `count` decisions, as far as they are known."""
        if self.max_trials is not None:
            count = min(count, self.max_trials - len(history.trials))
        if not isinstance(self.sampler, Uniform):
            return []
        ahead = self.sampler.ahead(self.space, history, streams, count)
        return [Start(config, self.max_units) for config in ahead]

"""Random search: every configuration is trained to the end.

Bergstra and Bengio: Random Search for Hyper-Parameter Optimization, JMLR 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypernudge.random import Streams
from hypernudge.schedulers.base import (
    Decision,
    Resume,
    SamplerSpec,
    SpeculativeScores,
    Start,
    check_sampling,
    start_or_end,
    starts_ahead,
)
from hypernudge.space import SearchSpace
from hypernudge.trial import History


@dataclass(frozen=True)
class RandomSearch:
    """Starts a new trial whenever a worker is free and trains it for `max_units`.

    Args:
        space: Where configurations are drawn.
        max_units: Training units (epochs) every trial gets.
        max_trials: Stop after this many; None leaves it to the study's budget.
        sampler: Proposes configurations: a sampler, its name, or a mapping with `name` and options.

    Raises:
        InvalidArgumentError: For `max_units < 1`, `max_trials < 1`, or an unknown sampler.
    """

    space: SearchSpace
    max_units: int = 27
    max_trials: int | None = None
    sampler: SamplerSpec = "uniform"

    def __post_init__(self) -> None:
        check_sampling(self)

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker."""
        return start_or_end(self, self.max_units, history, streams)

    def propose_speculative(
        self, history: History, streams: Streams, count: int, scores: SpeculativeScores
    ) -> Sequence[Start | Resume]:
        """Return the next `count` decisions, as far as they are known."""
        return starts_ahead(self, self.max_units, history, streams, count)

"""Hyperband: successive halving at several trade-offs between how many trials and how long.

Li, Jamieson, DeSalvo, Rostamizadeh, Talwalkar: Hyperband: A Novel Bandit-Based Approach to Hyperparameter
Optimization, JMLR 2018, Algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypernudge.errors import require_whole
from hypernudge.random import Streams
from hypernudge.schedulers.base import (
    Decision,
    Done,
    Resume,
    RungScheduler,
    Wait,
    start_or_end,
)
from hypernudge.schedulers.brackets import Brackets, BracketSpec, bracket_specs
from hypernudge.trial import History


@dataclass(frozen=True)
class Hyperband(RungScheduler):
    """Cycles through brackets of synchronous successive halving, from the most to the least aggressive.

    No worker waits: while a bracket's results are outstanding, free workers begin the next bracket.

    Args, besides those of `RungScheduler`:
        brackets: How many of the brackets to cycle through; None for all, 1 is successive halving.

    Raises:
        InvalidArgumentError: As `RungScheduler`, or for `brackets` outside `[1, number of rungs]`.
    """

    brackets: int | None = None
    cycle: tuple[BracketSpec, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.brackets is not None:
            require_whole("brackets", self.brackets, 1, len(self.rungs), "leave it out for all")
        object.__setattr__(
            self, "cycle", bracket_specs(self.min_units, self.max_units, self.eta)[: self.brackets]
        )

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker: the next slot of the earliest bracket that has one."""
        key = ("brackets", self.cycle, self.max_trials)
        slot = history.project(key, lambda: Brackets(self.cycle, self.max_trials)).next()
        if slot is None:
            return Wait() if history.n_running else Done()
        if slot.trial is not None:
            return Resume(slot.trial, slot.until)
        return start_or_end(self, slot.until, history, streams)

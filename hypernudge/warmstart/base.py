"""The warm-start protocol: what may be done to a sampled configuration before it costs anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.trial import History, Nudge

if TYPE_CHECKING:
    from hypernudge.task import Task


class WarmStart(Protocol):
    """Maps a sampled configuration to the one that is trained.

    Implementations are frozen dataclasses without state: what they learned before is in `history`. They are
    called once per trial, when it starts; the trial's number is `len(history.trials)`.
    """

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return the nudged configuration, inside the space, with its reason and its cost in FLOPs."""
        ...


class Unchanged:
    """The baseline: trains what was sampled, at no cost."""

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return `sampled` itself."""
        del task, history, streams
        return Nudge(sampled, policy="none")

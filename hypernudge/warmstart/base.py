"""The warm-start protocol: what may be done to a sampled configuration before it costs anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.trial import History, Nudge

if TYPE_CHECKING:
    from hypernudge.task import Task

MAX_SAMPLES = 1_000_000  # of a measurement; more do not fit into a memory
MAX_STEPS = 10_000  # of a measurement; more cost many trainings


class WarmStart(Protocol):
    """Maps a sampled configuration to the one that is trained.

    Implementations are frozen dataclasses without state: what they learned before is in `history`. They are
    called once per trial, when it starts; the trial's number is `len(history.trials)`.

    Two attributes are optional. `name` is what an error of the policy is recorded under. With
    `skip_model_based_picks = True` it never changes a configuration that the scheduler's own model proposed
    (`Start.model_based_pick`). Otherwise the model never sees that point's score and proposes the region
    again; DyHPO spent its budget this way (`benchmarks/results/confirmation`).
    """

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return what is trained instead of `sampled`, inside the space, why, and what that cost in FLOPs."""
        ...


M = TypeVar("M")


@runtime_checkable
class SupportsBatchMeasurement(Protocol[M]):
    """What a warm start offers besides if it measures something: many trials at once, before they start.

    What is measured depends on the trial's configuration and number alone, never on the history; what is made
    of it may depend on both.
    """

    def measure(
        self, task: Task, configs: Sequence[Config], numbers: Sequence[int], streams: Streams
    ) -> list[M]:
        """Return the measurement of every trial, given their sampled `configs` and their `numbers`."""
        ...

    def nudge(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams, measured: M
    ) -> Nudge:
        """Return what `__call__` returns for trial `number`, given what was `measured` at `sampled`."""
        ...


@runtime_checkable
class MeasuredElsewhere(Protocol[M]):
    """What a warm start offers besides whose measurement a worker can make, and only some trials need."""

    def to_measure(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams
    ) -> tuple[Callable[..., M], tuple[Any, ...]] | None:
        """Return a function, and what follows the task in its arguments; None for a trial without need.

        Both are sent to the worker.
        """
        ...

    def nudge(
        self, task: Task, sampled: Config, number: int, history: History, streams: Streams, measured: M
    ) -> Nudge:
        """Return what `__call__` returns for trial `number`, given what was `measured` at `sampled`."""
        ...


def measure_and_nudge(
    policy: SupportsBatchMeasurement[M], task: Task, sampled: Config, history: History, streams: Streams
) -> Nudge:
    """Measure and nudge the next trial of `history`."""
    number = len(history.trials)
    (measured,) = policy.measure(task, [sampled], [number], streams)
    return policy.nudge(task, sampled, number, history, streams, measured)


class NoWarmStart:
    """The baseline: trains what was sampled, at no cost."""

    name: ClassVar[str] = "none"

    def __call__(self, task: Task, sampled: Config, history: History, streams: Streams) -> Nudge:
        """Return `sampled` itself."""
        del task, history, streams
        return Nudge(sampled, self.name)

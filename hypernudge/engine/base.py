"""The engine protocol: jobs in, reports out in the order of a clock. The others are optional.

`SpeculativeEngine` adds speculative execution, training before a job is submitted, and warm starts that are
measured for several trials at once. An engine of real workers is `Running`, and a `MeasuringEngine`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hypernudge.engine.requirements import unit_flops
from hypernudge.errors import InvalidArgumentError
from hypernudge.results.resources import Resources
from hypernudge.trial import Job

if TYPE_CHECKING:  # plans look at engines' classes; PyTorch would take three seconds
    from hypernudge.space import Value
    from hypernudge.task import Task


class Engine(Protocol):
    """Trains jobs on simulated or real workers.

    `submit` may simply queue the job. Trials do not influence each other, so queued jobs may be trained
    together later, if reports come back in clock order; on ties the job submitted first comes first.
    """

    @property
    def now(self) -> float:
        """Seconds on the study's clock."""
        ...

    @property
    def free(self) -> int:
        """Number of idle workers."""
        ...

    def submit(self, job: Job) -> None:
        """Hand `job` to an idle worker."""
        ...

    def next(self) -> Any:
        """Move the clock to the earliest completion and return its `Report`, or a `Measurement`."""
        ...

    def restore(self, running: Sequence[tuple[Job, float]], now: float) -> None:
        """Take up a study that was interrupted at `now`, while jobs were running that began at these times.

        Only for an engine that has had no job. Jobs are in the order in which they were submitted. What a
        paused trial had learned is trained again once it goes on, without a charge.
        """
        ...


@runtime_checkable
class SpeculativeEngine(Engine, Protocol):
    """An engine that also trains ahead of demand, and wants warm starts measured in batches."""

    @property
    def measurement_batch_size(self) -> int:
        """For how many trials at once a warm start should measure; 1 for one when it starts."""
        ...

    @property
    def speculation_capacity(self) -> int:
        """How many more jobs the engine would like to know of before they are submitted."""
        ...

    @property
    def speculative_scores(self) -> Mapping[int, Sequence[float]]:
        """Validation scores, unit by unit, of trials that were trained ahead of demand."""
        ...

    def speculate(self, jobs: Sequence[Job]) -> None:
        """Take note of jobs that may be submitted later; this must change no report."""
        ...


@dataclass(eq=False)
class Measurement:
    """Something to compute with the task, for a warm start; what came of it is filled in.

    Attributes:
        function: Called with the task and `arguments`, in whatever process has the task.
        arguments: Further arguments.
        done: Whether it was computed; an engine may return it without, at its deadline.
        value: What `function` returned.
        error: What it raised.
        resources: What it took.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    done: bool = False
    value: Any = None
    error: Exception | None = None
    resources: Resources | None = None

    def came(self, value: Any, error: Exception | None, resources: Resources | None) -> None:
        """Note what came of it."""
        self.done, self.value, self.error, self.resources = True, value, error, resources


@runtime_checkable
class MeasuringEngine(Protocol):
    """An engine whose workers measure for warm starts, too."""

    def measure(self, measurement: Measurement) -> None:
        """Hand a measurement to an idle worker; `next` returns it when it is done."""
        ...


@runtime_checkable
class Running(Protocol):
    """An engine that must be started and stopped."""

    def running(self, max_units: int) -> AbstractContextManager[None]:
        """Return what is entered while a study runs whose longest training has `max_units` units."""
        ...


def declared_cost(task: Task, config: Mapping[str, Value]) -> tuple[float, str | None]:
    """Return the FLOPs of a unit, and a traceback where the task raised: such a trial failed at no cost.

    Counting them runs the user's loss, which may raise for some configurations only.

    Raises:
        InvalidArgumentError: What the task refuses, it refuses for the study.
    """
    try:
        return unit_flops(task, config), None
    except InvalidArgumentError:
        raise
    except Exception:  # whatever a user's task raises belongs into the record
        return 0.0, traceback.format_exc()


def advanced(task: Task, state: Any, config: Mapping[str, Value]) -> bool:
    """Train one unit; return whether the state is still finite.

    Raises:
        TypeError: If the task's `advance` returns nothing, which would pass for divergence.
    """
    finite: bool | None = task.advance(state, config)
    if finite is None:
        raise TypeError(
            "advance: must return whether the state is finite, not None; end it with `return True`"
        )
    return finite

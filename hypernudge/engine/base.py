"""The engine protocol: jobs in, reports out in the order of a clock. A second one is optional.

`Engine` is what an engine of real workers needs. `SpeculativeEngine` adds speculative execution, training
before a job is submitted, and warm starts that are measured for several trials at once.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hypernudge.engine.requirements import unit_flops
from hypernudge.errors import InvalidArgumentError
from hypernudge.trial import Job, Report

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

    def next(self) -> Report:
        """Move the clock to the earliest completion and return its report."""
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

"""The virtual clock: what a study would have taken on `workers` machines of a declared speed.

Syne Tune's simulator backend works so, too (Salinas et al., AutoML 2022). Completions leave in the order of
their time, first submitted first on ties, so a study's course depends on declared costs only, never on how
fast the present machine happened to be.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from hypernudge.engine.binding import SPEED, bound, check_bound
from hypernudge.errors import require, require_between, require_positive, require_whole
from hypernudge.trial import Job, Report

if TYPE_CHECKING:  # plans build engines' classes to check them; PyTorch would take three seconds
    from hypernudge.engine.scored import Scored
    from hypernudge.task import Task

T = TypeVar("T")


class VirtualClock(Generic[T]):
    """A clock with `workers` workers, each of `flops_per_second`; times in seconds, costs in FLOPs."""

    def __init__(self, workers: int, flops_per_second: float) -> None:
        require_whole("workers", workers)
        require_between("flops_per_second", flops_per_second, 0, remedy="1e9 is one GFLOP/s")
        self.workers = workers
        self.flops_per_second = flops_per_second
        self.now = 0.0
        self._heap: list[tuple[float, int, T]] = []
        self._order = 0
        self._busy = 0

    @property
    def free(self) -> int:
        """Number of idle workers."""
        return self.workers - self._busy

    @property
    def fresh(self) -> bool:
        """Whether no worker has been taken yet."""
        return self._order == 0

    def occupy(self) -> int:
        """Take a worker; return the order number that breaks ties.

        Raises:
            RuntimeError: If no worker is idle.
        """
        if self.free < 1:
            raise RuntimeError("submit: no worker is free; call next() first")
        self._busy += 1
        self._order += 1
        return self._order

    def seconds(self, flops: float) -> float:
        """Duration of a cost on one worker."""
        return flops / self.flops_per_second

    def complete_at(self, time: float, order: int, item: T) -> None:
        """Note that `item`, submitted as number `order`, completes at `time`."""
        heapq.heappush(self._heap, (time, order, item))

    def earliest(self) -> tuple[float, int] | None:
        """Return time and order number of the earliest completion, None if there is none."""
        return self._heap[0][:2] if self._heap else None

    def pop(self) -> T:
        """Move to the earliest completion, release its worker and return its item.

        Raises:
            RuntimeError: If nothing is running.
        """
        if not self._heap:
            raise RuntimeError("next: nothing is running; submit a job first")
        time, _, item = heapq.heappop(self._heap)
        self.now = max(self.now, time)
        self._busy -= 1
        return item


@dataclass(eq=False)
class SimulatedEngine(ABC):
    """Base of the engines on the virtual clock.

    Args:
        task: What is trained; that of the study where it is absent, see `bound`.
        seed_of: Maps a trial's number to the seed of its initialisation and data order; given with the task.
        workers: Simulated workers.
        flops_per_second: Declared speed of one worker.
        deadline: Seconds on the clock after which no unit counts; a job that runs into it is truncated there.

    Raises:
        InvalidArgumentError: For a task or a `seed_of` that is none, a number of workers below 1, or a speed
            or deadline that is not positive.
    """

    task: Any = None  # a Task before anything is submitted
    seed_of: Any = None  # then a Callable[[int], int]
    workers: int = 1
    flops_per_second: float = SPEED
    deadline: float = math.inf

    def __post_init__(self) -> None:
        check_bound(self.task, self.seed_of)
        require_positive("deadline", self.deadline, "must be positive seconds", "leave it out for none")
        self._clock: VirtualClock[Report] = VirtualClock(self.workers, self.flops_per_second)
        self._score_test = True
        self._scored: Callable[[Scored], None] | None = None

    def bound(self, **given: Any) -> Self:
        """Return this engine for a study; what was given here already stays.

        Args:
            **given: The study's task, seed_of, workers, flops_per_second and deadline.

        Raises:
            InvalidArgumentError: For an argument that differs here and there.
        """
        return bound(self, given)

    def look(
        self,
        *,
        score_test: bool,
        scored: Callable[[Scored], None] | None,
        sign: int = 1,
        keep: Sequence[str] = (),
    ) -> None:
        """Say what happens to every unit as it is scored.

        Args:
            score_test: Whether the test part is scored, too.
            scored: Is told of it; None for nobody.
            sign: What scores are multiplied by so that larger is better.
            keep: What `scored` may ask for: `"weights"`, `"test"`.
        """
        del sign, keep  # whoever is told asks while the unit is there
        self._score_test, self._scored = score_test, scored

    @property
    def now(self) -> float:
        """Seconds on the virtual clock."""
        return self._clock.now

    @property
    def free(self) -> int:
        """Number of idle simulated workers."""
        return self._clock.free

    def check_bound(self) -> None:
        """Refuse to train without a task.

        Raises:
            InvalidArgumentError: If there is none.
        """
        require(
            self.task is not None, "engine", "must know its task", None, "pass it to `tune`, or give task="
        )

    def check_study(self, task: Task, budget: float) -> None:
        """Refuse a study that this engine was not built for.

        Raises:
            InvalidArgumentError: If it trains another task, has another deadline than the study's budget (it
                would count units beyond, or none up to it), or has had a job.
        """
        remedy = "build the engine with the task that is tuned, or without one"
        require(self.task is task, "engine.task", "must be the study's own task", self.task, remedy)
        rule, remedy = f"must be the study's budget, {budget}", "build the engine with deadline=budget"
        require(self.deadline == budget, "engine.deadline", rule, self.deadline, remedy)
        used = f"one that stands at {self.now} s"
        require(self._clock.fresh, "engine", "must not have had a job", used, "build one for every study")

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Queue `job`; it starts now on the clock."""

    def restore(self, running: Sequence[tuple[Job, float]], now: float) -> None:
        """Take up an interrupted study; see `Engine.restore`."""
        for job, started in running:
            self._clock.now = started
            self.submit(job)
        self._clock.now = now

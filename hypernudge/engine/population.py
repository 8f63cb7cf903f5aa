"""The population engine: jobs of like shape, of one study or of many, train together as one computation.

Wang et al. fuse trials so on a GPU (Horizontally Fused Training Array, MLSys 2021). Trials do not influence
each other. So training (a `Trajectory` of scores, unit by unit) is separated from accounting (an order on a
virtual clock): a trajectory may be trained together with any others, in any order, and ahead of demand; a
study's clock is charged when it asks.

Rounding: a task with a batched form of its own, as `SupervisedTask` has for chains of linear and convolution
layers, trains through it under the serial engine too. Both engines then give the same records, bit for bit
(but for wall times). A task without one is batched by `torch.vmap`: its scores agree up to rounding, and
where a decision hangs on a tie that rounding breaks otherwise, a study may take another course. In float64
that is rare, but for schedulers that fit a network to the scores (DyHPO), which make the last bit larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hypernudge.engine.base import declared_cost
from hypernudge.engine.clock import SimulatedEngine
from hypernudge.engine.scored import Scored
from hypernudge.engine.trainer import FILL, Population
from hypernudge.engine.trajectory import Trajectory
from hypernudge.errors import require
from hypernudge.renamed import accepts
from hypernudge.trial import Job, Outcome, Report, UnitResult


@dataclass(frozen=True)
class _Order:
    """A job on the clock. `times[k]` and `flops[k]` are clock and cost after its `k`-th unit."""

    job: Job
    number: int
    started: float
    trajectory: Trajectory
    times: tuple[float, ...]
    flops: tuple[float, ...]
    truncated: bool
    error: str | None = None  # of a task that could not say its cost


@accepts(max_batched_flops="alone_above")
@dataclass(eq=False)
class PopulationEngine(SimulatedEngine):
    """Trains all queued jobs together; the same reports as `SerialEngine` but for wall times.

    A task without gradients, or one that cannot be batched, is trained one trial at a time.

    Args:
        population: Shared with the engines of other studies of the same task; a private one if absent. The
            remaining arguments are its own and are ignored where it is given.
        memory_budget: Bytes of working memory that bound the size of a cohort; see `Population`.
        device: Where members are trained, for example `"cuda"`.
        threads: CPU threads that share the operations of a cohort; see `Population`.
        max_batched_flops: FLOPs of a step above which members are trained one by one; see `Population`.

    Raises:
        InvalidArgumentError: For a population of another task, or a value that breaks a rule.
    """

    population: Any = None  # a Population, made below if absent
    memory_budget: int | None = None
    device: str = "cpu"
    threads: int = 1
    max_batched_flops: float | None = None

    shares: ClassVar[bool] = True  # several studies may have one population

    def __post_init__(self) -> None:
        super().__post_init__()
        self._orders: list[_Order] = []
        self._trajectories: dict[int, Trajectory] = {}
        self._speculative: set[int] = set()
        if self.task is None:
            return
        self._shares = self.population is not None
        if self.population is None:
            self.population = Population(
                self.task,
                memory_budget=self.memory_budget,
                device=self.device,
                threads=self.threads,
                max_batched_flops=self.max_batched_flops,
            )
        known = isinstance(self.population, Population)
        require(known, "population", "must be a Population", self.population, "write Population(task)")
        same = self.population.task is self.task
        require(
            same, "population", "must be of the same task", self.population.task.name, "make one per task"
        )

    def look(
        self,
        *,
        score_test: bool,
        scored: Callable[[Scored], None] | None,
        sign: int = 1,
        keep: Sequence[str] = (),
    ) -> None:
        """As `SimulatedEngine.look`; a population that is shared scores the test part for all or none."""
        super().look(score_test=score_test, scored=scored, sign=sign, keep=keep)
        self.population.score_test = score_test

    def wait_in(self, folder: Path) -> None:
        """Have states of trials that wait lie in a folder, unless other studies have the population, too."""
        if not self._shares:
            self.population.waiting.keep_in(folder)

    @property
    def measurement_batch_size(self) -> int:
        """A third of a usual study: with more, much would be measured for nothing at its end."""
        return 16

    @property
    def speculation_capacity(self) -> int:
        """How many more jobs could be trained now at little cost, before they are asked for."""
        return max(0, FILL - int(self.population.demand))

    def submit(self, job: Job) -> None:
        """Queue `job`; it starts now on the clock."""
        self.check_bound()
        number = self._clock.occupy()
        unit_flops, error = declared_cost(self.task, job.config)
        flops, times, costs = job.warm_start_flops, [self.now], [job.warm_start_flops]
        times[0] += self._clock.seconds(flops)
        truncated = False
        for _ in range(job.since, job.until) if error is None else ():
            if self.now + self._clock.seconds(flops + unit_flops) > self.deadline:
                truncated = True
                break
            flops += unit_flops
            times.append(self.now + self._clock.seconds(flops))
            costs.append(flops)
        trajectory = self._trajectory(job)
        order = _Order(job, number, self.now, trajectory, tuple(times), tuple(costs), truncated, error)
        self._orders.append(order)
        self.population.request(trajectory, job.since + len(times) - 1)
        if job.until >= trajectory.speculative_units:
            self._speculative.discard(job.trial)

    @property
    def speculative_scores(self) -> Mapping[int, Sequence[float]]:
        """Validation scores of trials trained ahead, those without any or that diverged left out."""
        return {
            number: [validation for validation, _ in trajectory.scores]
            for number in self._speculative
            if (trajectory := self._trajectories[number]).scores and not trajectory.ended
        }

    def speculate(self, jobs: Sequence[Job]) -> None:
        """Train `jobs` ahead where there is room; whether they are ever submitted changes no result."""
        for job in jobs:
            self._speculative.add(job.trial)
            self.population.speculate(self._trajectory(job), job.until)

    def _trajectory(self, job: Job) -> Trajectory:
        known = self._trajectories.get(job.trial)
        if known is None or known.config != job.config:  # trained ahead with another configuration: anew
            if known is not None:
                self.population.cancel(known)
            known = Trajectory(job.config, self.seed_of(job.trial), job.trial, scored=self._scored)
            self._trajectories[job.trial] = known
        return known

    @property
    def ready(self) -> bool:
        """Whether the earliest completion is certain, so that `next` will not train anything."""
        waiting = []
        for order in self._orders:
            report = self._settled(order)
            if report is None:
                waiting.append(order)
                continue
            self._clock.complete_at(report.finished, order.number, report)
            if report.outcome != "ok":
                self.population.cancel(order.trajectory)
                self._trajectories.pop(order.job.trial, None)
                self._speculative.discard(order.job.trial)
        self._orders = waiting
        first = self._clock.earliest()
        if first is None:
            return not waiting
        # What is still in training ends after its next unit at the earliest.
        return all(
            first < (o.times[max(len(o.trajectory.scores) - o.job.since, 0) + 1], o.number) for o in waiting
        )

    def next(self) -> Report:
        """Train until the earliest completion is certain, and return it."""
        while not self.ready:
            self.population.step()
        return self._clock.pop()

    def _settled(self, order: _Order) -> Report | None:
        """Return the order's report, or None while it is in training."""
        trajectory, since, fits = order.trajectory, order.job.since, len(order.times) - 1
        outcome: Outcome | None = None if order.error is None else "failed"
        units = []
        for k, (validation, test) in enumerate(trajectory.scores[since : since + fits], start=1):
            units.append(UnitResult(since + k, order.times[k], validation, test))
            if not math.isfinite(validation):
                outcome = "diverged"
                break
        charged, error = len(units), order.error
        if outcome is None and charged == fits:
            outcome = "truncated" if order.truncated else "ok"
        elif outcome is None and trajectory.error is not None:
            outcome, error, charged = "failed", trajectory.error, charged + 1
        if outcome is None:
            return None
        finished = self.deadline if outcome == "truncated" else order.times[charged]
        wall = sum(trajectory.seconds[since : since + charged])
        return Report(
            order.job, outcome, order.started, finished, tuple(units), order.flops[charged], wall, error
        )

"""What happened in a study: configurations, jobs, reports, and the append-only history of them.

The history is the only state a scheduler, a sampler or a warm start may see. Scores are always *larger is
better*; a task that minimises reports its negated loss. A trial that diverged or raised loses: its score at
the milestone it was sent to is minus infinity, so it is ranked there, last, and is never resumed.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar, get_args

from hypernudge.errors import require_choice
from hypernudge.renamed import accepts
from hypernudge.results.resources import Resources
from hypernudge.space import Config

Status = Literal["running", "paused", "diverged", "failed", "stopped"]
Outcome = Literal["ok", "diverged", "failed", "truncated"]
OUTCOMES: tuple[str, ...] = get_args(Outcome)


NudgeKind = Literal[
    "unchanged",  # the policy looked, and left the configuration as sampled
    "moved",  # a step of some length
    "finite_differences",  # the same, along a gradient by finite differences
    "redrawn",  # a new learning rate
    "prior",  # chosen by what other tasks taught
    "data",  # chosen by what this study's results taught
    "guard",  # a rule of the policy: nothing to gain here
    "model_based_pick",  # the scheduler's own model chose it
    "warm_up",  # too few results yet
    "passthrough",  # left alone at regular intervals
    "given",  # somebody chose the values
    "not_finite",  # the measurement was not
    "gave_up",  # no longer measured, after several failures
    "out_of_bounds",  # not in the space when it was sampled
    "error",  # the policy raised, or left the space
]
FINITE_DIFFERENCES = "finite differences"
"""What the reason of a nudge says where such a gradient served; records are searched for it."""
NUDGE_KINDS: tuple[str, ...] = get_args(NudgeKind)


@dataclass(frozen=True)
class Nudge:
    """What a warm start did to a sampled configuration, why, and what it cost.

    Args:
        config: What is trained, inside the space.
        policy: Name of the warm start, in records.
        changed: In a study, whether `config` differs from what was sampled, whatever the policy said.
        flagged: Whether something went wrong: a measurement that is not finite, an error.
        reason: Why, in words.
        gradient: Hyper-gradient by name, with respect to warped coordinates.
        gradient_norm: Its Euclidean length.
        z: log10 of the effective learning rate over that which the measurement suggests.
        flops: What it cost; charged to the clock.
        wall_seconds: What it took.
        measurements: Numbers that later trials reuse, by name.
        kind: `reason` as data; "moved" or "unchanged" where the policy does not say.
        resources: What a real worker measured of its measurement; None where none made it.
    """

    config: Config
    policy: str
    changed: bool = False
    flagged: bool = False
    reason: str = ""
    gradient: Mapping[str, float] | None = None
    gradient_norm: float | None = None
    z: float | None = None
    flops: float = 0.0
    wall_seconds: float = 0.0
    measurements: Mapping[str, float] = field(default_factory=dict)
    kind: NudgeKind | None = None
    resources: Resources | None = None

    def __post_init__(self) -> None:
        if self.kind is None:
            object.__setattr__(self, "kind", "moved" if self.changed else "unchanged")

    def having_taken(self, wall_seconds: float, resources: Resources | None) -> Nudge:
        """Return it with what it took, as by `dataclasses.replace`, which takes ten times as long.

        Args:
            wall_seconds: Seconds of the wall.
            resources: What a real worker measured; None where none made it.
        """
        found: Nudge = object.__new__(type(self))
        vars(found).update(vars(self), wall_seconds=wall_seconds, resources=resources)
        return found


@dataclass(frozen=True)
class Job:
    """An order to train a trial.

    Attributes:
        trial: Its number.
        config: What is trained.
        since: Units of training (epochs, by default) that it has had.
        until: Units that it is to have.
        warm_start_flops: What its warm start cost; 0 for a trial that goes on.
    """

    trial: int
    config: Config
    since: int
    until: int
    warm_start_flops: float = 0.0


@dataclass(frozen=True)
class UnitResult:
    """Scores after one unit of training.

    Attributes:
        unit: Units of training so far, from 1.
        time: Seconds on the study's clock.
        validation: Score on the validation part; NaN if it has none.
        test: Score on the test part; NaN where it was not asked for.
    """

    unit: int
    time: float
    validation: float
    test: float


@dataclass(frozen=True)
class Report:
    """What came back for a job.

    An `"ok"` without a finite last score has diverged, whoever says otherwise, and becomes `"diverged"`.

    Args:
        job: The order.
        outcome: "ok", "diverged", "failed" (it raised) or "truncated" (the budget ended).
        started: Seconds on the study's clock.
        finished: Seconds on the study's clock.
        units: The units that were trained, in order.
        flops: Declared cost, warm start included.
        wall_seconds: What the training took.
        error: Traceback of what it raised.
        resources: What a real worker measured; None on the virtual clock.

    Raises:
        InvalidArgumentError: For an unknown outcome, which would count as a trial that lost.
    """

    job: Job
    outcome: Outcome
    started: float
    finished: float
    units: tuple[UnitResult, ...]
    flops: float
    wall_seconds: float = 0.0
    error: str | None = None
    resources: Resources | None = None

    def __post_init__(self) -> None:
        require_choice("outcome", self.outcome, OUTCOMES)
        if self.outcome == "ok" and not (self.units and math.isfinite(self.units[-1].validation)):
            object.__setattr__(self, "outcome", "diverged")

    @property
    def score(self) -> float:
        """Score at the milestone: that of the last unit, minus infinity for a trial that lost."""
        return self.units[-1].validation if self.outcome == "ok" else -math.inf


@dataclass
class Trial:
    """A trial as the history knows it.

    Attributes:
        number: From 0, in the order of their starts.
        sampled: What the scheduler sampled.
        nudge: What the warm start made of it.
        started: Seconds on the study's clock.
        status: "running", "paused", "diverged", "failed" or "stopped".
        until: Milestone it is running towards, or has reached, in units.
        milestones: Score at each milestone that it reached; larger is better.
    """

    number: int
    sampled: Config
    nudge: Nudge
    started: float
    status: Status = "running"
    until: int = 0
    milestones: dict[int, float] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """The configuration that is trained: the nudged one."""
        return self.nudge.config


@dataclass(frozen=True)
class Started:
    """Event: a trial began.

    Attributes:
        trial: Its number.
        sampled: What the scheduler sampled.
        nudge: What the warm start made of it.
        time: Seconds on the study's clock.
    """

    trial: int
    sampled: Config
    nudge: Nudge
    time: float


Event = Started | Job | Report


class Projection(Protocol):
    """What is computed from a history by applying its events one after the other, as in event sourcing."""

    def apply(self, event: Event) -> None:
        """Take in the next event; only the event may be looked at, not the history."""
        ...


F = TypeVar("F", bound=Projection)


@accepts(max_units="horizon")
class History:
    """Append-only table of a study, with the indices that schedulers ask for.

    The indices are caches: `History.replay(history.events)` rebuilds them, and a law test holds the two
    equal. All queries cost O(1), O(log n) or O(answer).

    Args:
        max_units: Units of the longest training in the study, where it is known.
    """

    def __init__(self, max_units: int | None = None) -> None:
        self.max_units = max_units
        self.events: list[Event] = []
        self.trials: list[Trial] = []
        self._rungs: dict[int, list[tuple[float, int, int]]] = {}
        self._paused: dict[int, list[tuple[float, int, int]]] = {}
        self._running: set[int] = set()
        self._arrivals = 0
        self._projections: dict[Hashable, tuple[Any, int]] = {}

    @classmethod
    @accepts(max_units="horizon")
    def replay(cls, events: Iterable[Event], max_units: int | None = None) -> History:
        """Rebuild a history from its events; `max_units` as in the constructor."""
        history = cls(max_units)
        for event in events:
            history.append(event)
        return history

    def append(self, event: Event) -> None:
        """Append an event and bring the indices up to date.

        Raises:
            ValueError: If the event contradicts the history (a report for a trial that is not running, ...).
        """
        if isinstance(event, Started):
            self._append_start(event)
        elif isinstance(event, Job):
            self._append_job(event)
        else:
            self._append_report(event)
        self.events.append(event)

    def _append_start(self, event: Started) -> None:
        if event.trial != len(self.trials):
            raise ValueError(f"trial: must be the next number {len(self.trials)}, but got {event.trial}")
        self.trials.append(Trial(event.trial, event.sampled, event.nudge, event.time, status="paused"))

    def _append_job(self, event: Job) -> None:
        trial = self.trials[event.trial]
        if trial.status != "paused":
            raise ValueError(f"job: trial {event.trial} must be paused, but is {trial.status}")
        if not event.since == trial.until < event.until:
            raise ValueError(f"job: must go on from {trial.until} upwards, got {event.since}..{event.until}")
        trial.status, trial.until = "running", event.until
        self._running.add(event.trial)

    def _append_report(self, event: Report) -> None:
        number = event.job.trial
        trial = self.trials[number]
        if trial.status != "running":
            raise ValueError(f"report: trial {number} must be running, but is {trial.status}")
        self._running.discard(number)
        if event.outcome == "truncated":  # the study's budget ended while it ran: no milestone was reached
            trial.status = "stopped"
            return
        trial.status = "paused" if event.outcome == "ok" else event.outcome
        trial.milestones[event.job.until] = event.score
        arrival = (-event.score, self._arrivals, number)
        bisect.insort(self._rungs.setdefault(event.job.until, []), arrival)
        if trial.status == "paused":
            heapq.heappush(self._paused.setdefault(event.job.until, []), arrival)
        self._arrivals += 1

    @property
    def running(self) -> frozenset[int]:
        """Numbers of the trials that are being trained."""
        return frozenset(self._running)

    @property
    def n_running(self) -> int:
        """How many trials are being trained."""
        return len(self._running)

    def ranked(self, milestone: int) -> Sequence[tuple[float, int, int]]:
        """Return what reached `milestone`, best first: `(-score, order of arrival, trial)`. Read only."""
        return self._rungs.get(milestone, ())

    def best_paused(self, milestone: int) -> tuple[float, int, int] | None:
        """Return the entry in `ranked(milestone)` of the best trial that is still paused there."""
        heap = self._paused.get(milestone, [])
        while heap:
            trial = self.trials[heap[0][2]]
            if trial.status == "paused" and trial.until == milestone:
                return heap[0]
            heapq.heappop(heap)  # went on since
        return None

    def project(self, key: Hashable, make: Callable[[], F]) -> F:
        """Return `make()` with all events applied; kept under `key`, so that each is applied once."""
        projection, applied = self._projections.get(key) or (make(), 0)
        for event in self.events[applied:]:
            projection.apply(event)
        self._projections[key] = (projection, len(self.events))
        return projection

    def milestones(self) -> list[int]:
        """Return the milestones that were reached at least once, ascending."""
        return sorted(self._rungs)

    def as_table(self) -> list[dict[str, Any]]:
        """Return one plain dictionary per trial, for records and tests."""
        return [
            {
                "trial": trial.number,
                "sampled": dict(trial.sampled),
                "nudged": dict(trial.config),
                "started": trial.started,
                "status": trial.status,
                "until": trial.until,
                "milestones": {str(key): value for key, value in trial.milestones.items()},
            }
            for trial in self.trials
        ]

"""What a study found, trial by trial, with the user's sign of the scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hypernudge.errors import last_line
from hypernudge.space import Config
from hypernudge.study.events import signed
from hypernudge.trial import Event, History, Job, Nudge, Report, Started, Status, UnitResult


@dataclass
class TrialResult:
    """A trial of a study.

    Attributes:
        number: From 0, in the order of their starts.
        config: What was trained.
        sampled: What the scheduler had sampled.
        nudge: What the warm start did, why, and what it cost.
        status: "running", "paused" (it may go on, or was trained to the end), "diverged", "failed" or
            "stopped" (the budget ended).
        started: Seconds on the study's clock.
        finished: Of its latest report; None before there is one.
        units: What was trained, unit by unit, with the scores.
        until: Units that it was sent to at last.
        flops: Declared cost so far, warm start included.
        wall_seconds: What its training took.
        error: Traceback of what it raised.
        sign: 1 if larger scores are better, else -1.
    """

    number: int
    config: Config
    sampled: Config
    nudge: Nudge
    started: float
    status: Status = "running"
    finished: float | None = None
    units: list[UnitResult] = field(default_factory=list)
    until: int = 0
    flops: float = 0.0
    wall_seconds: float = 0.0
    error: str | None = None
    sign: int = field(default=1, repr=False)

    @property
    def best(self) -> UnitResult | None:
        """Its best unit, the earliest on ties; None if it has no finite score."""
        scored = [unit for unit in self.units if math.isfinite(unit.validation)]
        return max(scored, key=lambda unit: self.sign * unit.validation, default=None)

    @property
    def value(self) -> float:
        """Its best score; NaN if it has none."""
        return math.nan if self.best is None else self.best.validation

    @property
    def cause(self) -> str:
        """The last line of its error, or that it diverged; empty if it did neither."""
        if self.error:
            return last_line(self.error)
        return "the loss or the score was not finite" if self.status == "diverged" else ""


class TrialTable:
    """The trials of a history and the best unit of all, event by event: a projection.

    Args:
        sign: What scores are multiplied by.

    Attributes:
        trials: In the order of their starts.
        best: Trial and unit with the best score, the earliest on ties; None before there is one.
    """

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self.trials: list[TrialResult] = []
        self.best: tuple[int, UnitResult] | None = None
        self._least = (math.inf, math.inf, 0)  # that unit's -score, time and trial

    def apply(self, event: Event) -> None:
        """Take in the next event."""
        if isinstance(event, Started):
            nudge = event.nudge
            trial = TrialResult(event.trial, nudge.config, event.sampled, nudge, event.time, sign=self._sign)
            self.trials.append(trial)
        elif isinstance(event, Job):
            trial = self.trials[event.trial]
            trial.status, trial.until = "running", event.until
        else:
            self._report(signed(event, self._sign))

    def _report(self, report: Report) -> None:
        trial = self.trials[report.job.trial]
        trial.units.extend(report.units)
        for unit in report.units:
            place = -self._sign * unit.validation, unit.time, trial.number
            if math.isfinite(unit.validation) and place < self._least:
                self.best, self._least = (trial.number, unit), place
        trial.finished, trial.error = report.finished, report.error
        trial.flops += report.flops
        trial.wall_seconds += report.wall_seconds
        if report.outcome == "ok":
            trial.status = "paused"
        elif report.outcome == "truncated":
            trial.status = "stopped"
        else:
            trial.status = report.outcome


def table_of(history: History, sign: int) -> TrialTable:
    """Return the trials of a history; kept with it, so that each event is read once."""
    return history.project(("results", sign), lambda: TrialTable(sign))


def shown_status(status: str, units: int, max_units: int | None) -> str:
    """Return the status of a trial for people: one that was trained to the end is finished.

    To a scheduler it is paused like those that may go on, and records keep its word.

    Args:
        status: The scheduler's word.
        units: That the trial has.
        max_units: Of the longest training; None where nobody knows.
    """
    whole = status == "paused" and max_units is not None and units >= max_units
    return "finished" if whole else status


def none_scored(trials: list[TrialResult]) -> str:
    """Return why no trial has a score, in one line."""
    lost = [trial for trial in trials if trial.status in ("failed", "diverged")]
    if not lost:
        return "no trial completed a unit within the budget; raise the budget"
    counts = {status: sum(t.status == status for t in lost) for status in ("failed", "diverged")}
    said = " and ".join(f"{count} {status}" for status, count in counts.items() if count)
    first = lost[0]
    return (
        f"no trial has a score: of {len(trials)} trials {said}; the first, trial {first.number}: "
        f"{first.cause}; mend that, or give a space where training works"
    )

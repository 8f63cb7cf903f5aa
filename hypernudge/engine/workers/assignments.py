"""What is known of a job or a measurement that workers are to carry out, and the report of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypernudge.engine.base import Measurement
from hypernudge.engine.workers.messages import Finished, Row
from hypernudge.results.resources import Resources
from hypernudge.trial import Job, Report, UnitResult


@dataclass(eq=False)
class Assignment:
    """What a worker is at, or will be: a job, or a measurement.

    Attributes:
        begun: When it was asked for, in seconds on the study's clock.
        job: The job.
        measurement: The measurement.
        lost: Attempts that were lost.
        reason: Why the last of them was.
        lost_seconds: What they took and did not keep.
        ticket: Number of its last order.
        attempt: Number of the attempt, which other drivers have counted before.
        sent: When the last order was sent, on the study's clock.
        rows: Units that were trained so far.
        unit_flops: Declared cost of one.
        sent_at: When each attempt was sent.
    """

    begun: float
    job: Job | None = None
    measurement: Measurement | None = None
    lost: int = 0
    reason: str = ""
    lost_seconds: float = 0.0
    ticket: int = 0
    attempt: int = 0
    sent: float = 0.0
    rows: tuple[Row, ...] = ()
    unit_flops: float = 0.0
    sent_at: dict[int, float] = field(default_factory=dict)

    def lose(self, reason: str, now: float) -> None:
        """Note that its worker is lost, `now` on the study's clock."""
        kept = self.rows[-1].seconds if self.rows and self.rows[-1].attempt == self.attempt else 0.0
        self.lost, self.reason = self.lost + 1, reason
        self.lost_seconds += max(0.0, now - self.sent - kept)


def finished(done: Assignment, message: Finished, now: float, deadline: float) -> Report:
    """Return the report of a job that was carried out; times in seconds on the study's clock."""
    assert done.job is not None
    units = _units(done, now, deadline)
    charged = len(units) + (message.outcome == "failed")
    return Report(
        done.job,
        message.outcome,
        done.begun,
        now,
        units,
        done.job.warm_start_flops + charged * message.unit_flops,
        message.resources.wall_seconds,
        message.error,
        replace(message.resources, attempt=done.lost + 1, lost_seconds=done.lost_seconds),
    )


def given_up(lost: Assignment, error: str, now: float, deadline: float) -> Report:
    """Return the report of a job whose workers were lost too often."""
    assert lost.job is not None
    units = _units(lost, now, deadline)
    flops = lost.job.warm_start_flops + len(units) * lost.unit_flops
    used = Resources(attempt=lost.lost, lost_seconds=lost.lost_seconds)
    return Report(lost.job, "failed", lost.begun, now, units, flops, 0.0, error, used)


def cut_off(running: Assignment, now: float, deadline: float) -> Report | Measurement:
    """Return what comes of an assignment at the deadline: units that were done by then count."""
    if running.measurement is not None:
        return running.measurement
    assert running.job is not None
    units = _units(running, now, deadline)
    flops = running.job.warm_start_flops + len(units) * running.unit_flops
    return Report(running.job, "truncated", running.begun, deadline, units, flops)


def _units(assignment: Assignment, now: float, deadline: float) -> tuple[UnitResult, ...]:
    found: list[UnitResult] = []
    before = assignment.begun
    for row in assignment.rows:
        # Of an attempt of an earlier driver nobody knows when it began.
        began = assignment.sent_at.get(row.attempt, assignment.begun)
        before = max(before, min(began + row.seconds, now))
        if before > deadline:
            break
        found.append(UnitResult(row.unit, before, row.validation, row.test))
    return tuple(found)

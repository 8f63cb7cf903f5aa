"""Keeps workers alive and at work: orders out, signs of life in, what a lost one was at done again."""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hypernudge.engine.workers.assignments import Assignment
from hypernudge.engine.workers.messages import (
    Beat,
    Died,
    Finished,
    Measured,
    Message,
    Order,
    Ready,
    Unusable,
)
from hypernudge.engine.workers.pool import Pool
from hypernudge.errors import InvalidArgumentError, UnavailableError

LONGEST = 3600.0  # seconds that a driver without workers may be silent
PARTS = 20  # of the silence that is allowed: the driver listens for one at a time
logger = logging.getLogger("hypernudge")


class RemoteError(Exception):
    """The traceback of an error, from where it was raised."""

    def __init__(self, traceback: str) -> None:
        super().__init__(f"\n{traceback}")


@dataclass(eq=False)
class Member:
    """A worker as the driver sees it.

    Attributes:
        name: Its name.
        heard: When it last gave a sign of life, in seconds for which the driver has listened.
        ready: Whether it has built its task.
        first: Whether it was started with the study: work may be planned for it before it is ready.
        assignment: What it is at.
        waiting: Why it cannot write, where it cannot.
    """

    name: str
    heard: float
    ready: bool = False
    first: bool = False
    assignment: Assignment | None = None
    waiting: str = ""


class Supervisor:
    """Hands assignments to the workers of a pool.

    Args:
        pool: The pool.
        count: How many workers there should be.
        retries: How often an assignment is handed out again whose worker was lost.
        heartbeat_timeout: Seconds of silence after which a worker is lost.
        start_timeout: Seconds that it has to be ready.
        order_of: Returns the order for an assignment and a ticket.
        clock: Returns the seconds on the study's clock.
    """

    def __init__(
        self,
        pool: Pool,
        count: int,
        retries: int,
        heartbeat_timeout: float,
        start_timeout: float,
        order_of: Callable[[Assignment, int], Order],
        clock: Callable[[], float],
    ) -> None:
        self._pool, self._count, self._retries = pool, count, retries
        self._heartbeat_timeout, self._start_timeout = heartbeat_timeout, start_timeout
        self._order_of, self._clock = order_of, clock
        self._members: dict[str, Member] = {}
        self._waiting: deque[Assignment] = deque()
        self._tickets = itertools.count(1)
        self._failed_starts = 0
        # Seconds that the driver has listened: while it was busy for long, or stopped, nobody was silent.
        self._listened, self._looked = 0.0, time.monotonic()

    def start(self) -> None:
        """Start the workers; return when all are ready, or have had the time.

        Raises:
            UnavailableError: If none is ready then, none can be started, or the task cannot be used by them.
        """
        for _ in range(self._count):
            self._begin(first=True)
        until = time.monotonic() + self._start_timeout
        while not all(member.ready for member in self._members.values()):
            left = until - time.monotonic()
            if left <= 0:
                ready = sum(member.ready for member in self._members.values())
                rule = (
                    f"must be built by {self._count} workers within start_timeout={self._start_timeout:g} s"
                )
                remedy = "allow more, or ask for fewer workers"
                if not ready:
                    raise UnavailableError(f"task: {rule}, but none of them was ready; {remedy}")
                logger.warning("%d of %d workers have started; the study begins", ready, self._count)
                return
            self.hear(min(left, 1.0))

    def close(self) -> None:
        """End all workers."""
        self._pool.close()
        self._members.clear()

    @property
    def free(self) -> int:
        """Number of workers that nothing was planned for."""
        idle = [m for m in self._members.values() if m.assignment is None and (m.ready or m.first)]
        return len(idle) - len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether anything is at work, or waits."""
        return bool(self._waiting) or any(member.assignment for member in self._members.values())

    def plan(self, assignments: Iterable[Assignment]) -> None:
        """Hand assignments to workers, now or when they are free."""
        self._waiting.extend(assignments)
        self._send_out()

    def drop_all(self) -> list[Assignment]:
        """Return everything that is at work or waits, in the order in which it began, and forget it."""
        found = [member.assignment for member in self._members.values() if member.assignment is not None]
        for member in self._members.values():
            member.assignment = None
        found += self._waiting
        self._waiting.clear()
        return sorted(found, key=lambda assignment: assignment.begun)

    def hear(self, timeout: float) -> list[tuple[Assignment, Finished | Measured | None]]:
        """Listen for so many seconds at most; return what was carried out, None for what was lost for good.

        Raises:
            InvalidArgumentError, OSError: If no worker can go on, as one of them says.
            UnavailableError: If no worker can be started.
        """
        done: list[tuple[Assignment, Finished | Measured | None]] = []
        for name, message in self._received(timeout):
            member = self._members.get(name)
            if member is not None:  # else it was given up
                done += self._take(member, message)
        for member in list(self._members.values()):
            allowed = self._allowed(member)
            if self._listened - member.heard > allowed:
                silent = f"gave no sign of life for {allowed:g} s"
                done += self._lose(member, silent if member.ready else f"took over {allowed:g} s to start")
        self._send_out()
        return done

    def _received(self, timeout: float) -> list[tuple[str, Message]]:
        """Listen, for a part of the time only that anybody may be silent; return what was said."""
        part = min([self._allowed(member) for member in self._members.values()], default=LONGEST) / PARTS
        said = self._pool.receive(max(0.0, min(timeout, part)))
        now = time.monotonic()
        self._listened += min(now - self._looked, part)  # more where it was busy, or this process was stopped
        self._looked = now
        return said

    def _allowed(self, member: Member) -> float:
        return self._heartbeat_timeout if member.ready else self._start_timeout

    def _begin(self, first: bool = False) -> None:
        name = self._pool.start()
        self._members[name] = Member(name, self._listened, first=first)

    def _send_out(self) -> None:
        for member in self._members.values():
            if not self._waiting:
                return
            if member.ready and member.assignment is None:
                self._send(member, self._waiting.popleft())

    def _send(self, member: Member, assignment: Assignment) -> None:
        assignment.ticket, assignment.sent = next(self._tickets), self._clock()
        order = self._order_of(assignment, assignment.ticket)
        member.assignment, member.heard = assignment, self._listened
        self._pool.send(member.name, order)

    def _take(self, member: Member, message: Message) -> list[tuple[Assignment, Finished | Measured | None]]:
        member.heard = self._listened
        assignment = member.assignment
        if isinstance(message, Ready):
            member.ready, self._failed_starts = True, 0
        elif isinstance(message, Died):
            return self._lose(member, message.reason)
        elif isinstance(message, Unusable):
            cause = RemoteError(message.traceback) if message.traceback else None
            if isinstance(message.error, InvalidArgumentError):
                raise UnavailableError(str(message.error)) from cause
            raise message.error from cause
        elif assignment is None or message.ticket != assignment.ticket:
            pass  # of an order that was taken back
        elif isinstance(message, Beat):
            assignment.rows, assignment.unit_flops = message.rows, message.unit_flops
            if message.waiting and message.waiting != member.waiting:
                logger.warning("worker %s waits: %s", member.name, message.waiting)
            member.waiting = message.waiting
        else:
            member.assignment = None
            if isinstance(message, Finished):
                assignment.rows, assignment.unit_flops = message.rows, message.unit_flops
            return [(assignment, message)]
        return []

    def _lose(self, member: Member, reason: str) -> list[tuple[Assignment, Finished | Measured | None]]:
        """Give a worker up, and start another one; what it was at is done again, or has failed."""
        del self._members[member.name]
        self._pool.end(member.name)
        if not member.ready:
            self._failed_starts += 1
            alive = any(other.ready for other in self._members.values())
            if not alive and self._failed_starts > self._retries + 1:
                raise UnavailableError(
                    f"workers: must start, but none does, the last {reason}; see what it has said, or allow "
                    "more with start_timeout"
                )
        logger.warning("worker %s %s", member.name, reason)
        if member.ready or self._failed_starts <= self._retries + 1:
            self._begin(first=member.first and not member.ready)
        assignment = member.assignment
        if assignment is None:
            return []
        assignment.lose(f"worker {member.name} {reason}", self._clock())
        if assignment.lost > self._retries:
            return [(assignment, None)]
        self._waiting.appendleft(assignment)
        return []

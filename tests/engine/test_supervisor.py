"""Who is silent, and who only was not heard: pools of no process, on a clock that the test moves."""

from __future__ import annotations

from collections import deque

import pytest

from hypernudge.engine.workers import supervisor as module
from hypernudge.engine.workers.assignments import Assignment
from hypernudge.engine.workers.messages import Beat, Finished, Measure, Ready
from hypernudge.engine.workers.supervisor import Supervisor
from hypernudge.results.resources import Resources

TIMEOUT = 60.0


class Clock:
    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


class Asked:
    """Workers that say that they live when they are asked, as Ray's do, and a moment later."""

    def __init__(self, clock):
        self.clock, self.names, self.ended = clock, [], []
        self.frozen, self.said, self.coming = set(), deque(), []
        self.stopped = 0.0  # seconds for which this process stands still when it listens

    def start(self):
        self.names.append(f"worker-{len(self.names) + 1}")
        self.said.append((self.names[-1], Ready(0)))
        return self.names[-1]

    def send(self, worker, order):
        self.order = worker, order.ticket

    def receive(self, timeout):
        self.clock.now += self.stopped
        self.stopped = 0.0
        if self.said:
            return [self.said.popleft()]
        answers, self.coming = self.coming, [name for name in self.names if name not in self.frozen]
        self.clock.now += 0.0 if answers else timeout
        return [(name, Beat()) for name in answers if name not in (*self.ended, *self.frozen)]

    def end(self, worker):
        self.ended.append(worker)

    def close(self):
        pass


@pytest.fixture
def driven(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    pool = Asked(clock)
    order = lambda assignment, ticket: Measure(ticket, len, ())  # noqa: E731
    found = Supervisor(pool, 3, 2, TIMEOUT, 300.0, order, clock.monotonic)
    found.start()
    return found, pool, clock


@pytest.mark.parametrize("how", ["busy", "stopped while it listens"])
def test_a_driver_that_heard_nobody_for_long_gives_nobody_up(driven, how):
    """The first thing it hears is the end of one order; the others have said nothing meanwhile."""
    supervisor, pool, clock = driven
    supervisor.plan([Assignment(0.0)])
    worker, ticket = pool.order
    pool.said.append((worker, Finished(ticket, "ok", (), 1.0, Resources())))
    if how == "busy":
        clock.now += 10 * TIMEOUT
    else:
        pool.stopped = 10 * TIMEOUT
    assert len(supervisor.hear(0.0)) == 1
    for _ in range(5):
        supervisor.hear(1.0)
    assert not pool.ended and supervisor.free == 3


def test_who_is_silent_is_given_up_whatever_the_driver_does(driven):
    supervisor, pool, clock = driven
    pool.frozen = {"worker-2"}
    begun = clock.now
    while not pool.ended:
        supervisor.hear(10.0)
        clock.now += 0.5  # it decides, writes and sends
        assert clock.now - begun < 2 * TIMEOUT
    assert pool.ended == ["worker-2"] and clock.now - begun >= TIMEOUT

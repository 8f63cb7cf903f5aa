"""Brackets of synchronous successive halving, computed from a study's events.

A bracket is a series of rungs, each with a number of slots and a milestone. A rung's slots are handed out in
order; when the last of its results is in, the best trials get the slots of the next rung, best first. A
bracket never makes a worker wait: while all its slots are out, the next bracket is begun.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hypernudge.trial import Event, Job, Report

BracketSpec = tuple[tuple[int, int], ...]  # (slots, milestone), milestones ascending


def bracket_specs(min_units: int, max_units: int, eta: int) -> tuple[BracketSpec, ...]:
    """Return Hyperband's brackets (Li et al. 2018, Algorithm 1), the one that halves most first.

    Bracket `s` has rungs at `min_units * eta**k`, `k >= s`, the last at `max_units`; with `R + 1` rungs in
    the first bracket and `r + 1` in this one, its rungs hold `ceil((R + 1) / (r + 1) * eta**i)` trials, `i =
    r..0`. The paper rounds all but a bracket's first rung down; Syne Tune, whose decisions these are, up.
    """
    steps = 0
    while min_units * eta**steps < max_units:
        steps += 1
    found = []
    for first in range(steps + 1):
        left = steps - first
        rungs = [
            (math.ceil((steps + 1) * eta ** (left - k) / (left + 1)), min_units * eta ** (first + k))
            for k in range(left)
        ]
        found.append((*rungs, (math.ceil((steps + 1) / (left + 1)), max_units)))
    return tuple(found)


@dataclass
class _Bracket:
    """Slots are trials, None where one is to be started; `out` were handed out, `scores` came back."""

    spec: BracketSpec
    rung: int = 0
    slots: list[int | None] = field(default_factory=list)
    out: int = 0
    scores: dict[int, tuple[float, int]] = field(default_factory=dict)  # slot -> (score, trial)

    def __post_init__(self) -> None:
        self.slots = [None] * self.spec[0][0]

    @property
    def free(self) -> bool:
        return self.rung < len(self.spec) and self.out < len(self.slots)

    def close_if_complete(self) -> None:
        """Open the next rung once all results of this one are in; losers of a unit's training never go on."""
        if self.rung >= len(self.spec) or len(self.scores) < len(self.slots):
            return
        alive = [(-score, slot) for slot, (score, _) in self.scores.items() if score > -math.inf]
        nominal = self.spec[self.rung][0]
        self.rung += 1
        keep = 0
        if self.rung < len(self.spec):  # a rung that was cut short passes on its share
            keep = max(1, self.spec[self.rung][0] * len(self.slots) // nominal)
        self.slots = [self.scores[slot][1] for _, slot in sorted(alive)[:keep]]
        self.out, self.scores = 0, {}
        if not self.slots:
            self.rung = len(self.spec)


@dataclass(frozen=True)
class Slot:
    """What the next free worker does: start a new trial (`trial` is None) or go on, up to `until`."""

    bracket: int
    trial: int | None
    until: int


class Brackets:
    """All brackets of a study: which slot is next, given what happened so far."""

    def __init__(self, cycle: tuple[BracketSpec, ...], max_trials: int | None) -> None:
        self._cycle, self._left = cycle, max_trials
        self._brackets: list[_Bracket] = []
        self._first = 0  # all before are complete
        self._slot_of: dict[int, tuple[int, int]] = {}  # running trial -> (bracket, slot)

    def next(self) -> Slot | None:
        """Return the next slot; None if there is none before another report, or at all."""
        for index in range(self._first, len(self._brackets)):
            bracket = self._brackets[index]
            if bracket.free:
                return Slot(index, bracket.slots[bracket.out], bracket.spec[bracket.rung][1])
        if self._left == 0:
            return None
        return Slot(len(self._brackets), None, self._spec(len(self._brackets))[0][1])

    def apply(self, event: Event) -> None:
        """Hand out the next slot to a job, or enter a report into its slot."""
        if isinstance(event, Job):
            self._hand_out(event)
        elif isinstance(event, Report) and event.outcome != "truncated":
            index, slot = self._slot_of.pop(event.job.trial)
            self._brackets[index].scores[slot] = (event.score, event.job.trial)
            self._brackets[index].close_if_complete()
            while self._first < len(self._brackets) and self._done(self._first):
                self._first += 1

    def _hand_out(self, job: Job) -> None:
        slot = self.next()
        expected = (slot.trial, slot.until) if slot is not None else None
        actual = (job.trial if job.since else None, job.until)
        if slot is None or expected != actual:
            raise ValueError(f"job: brackets expect (trial, until) {expected}, but got {actual}")
        if slot.bracket == len(self._brackets):
            self._brackets.append(_Bracket(self._spec(slot.bracket)))
        bracket = self._brackets[slot.bracket]
        self._slot_of[job.trial] = (slot.bracket, bracket.out)
        bracket.out += 1
        if job.since == 0 and self._left is not None:
            self._left -= 1
            if self._left == 0:  # no more trials: first rungs end with what they have
                for other in self._brackets[self._first :]:
                    if other.rung == 0:
                        other.slots = other.slots[: other.out]

    def _spec(self, bracket: int) -> BracketSpec:
        return self._cycle[bracket % len(self._cycle)]

    def _done(self, bracket: int) -> bool:
        return self._brackets[bracket].rung >= len(self._brackets[bracket].spec)

"""PASHA: ASHA that trains longer only while the ranking of the trials still changes.

Bohdal, Balles, Wistuba, Ermis, Archambeau, Zappella: PASHA: Efficient HPO and NAS with Progressive Resource
Allocation, ICLR 2023, Algorithm 1, with the noise-based epsilon of section 4.2.
"""

from __future__ import annotations

import bisect
import heapq
from dataclasses import dataclass

import numpy as np

from hypernudge.errors import require_choice
from hypernudge.random import Streams
from hypernudge.schedulers.asha import RULES, promotion
from hypernudge.schedulers.base import Decision, RungScheduler, start_or_end
from hypernudge.trial import Event, History, Report

PERCENTILE = 0.9  # of the differences between trials that overtake each other; section 4.2


@dataclass(frozen=True)
class PASHA(RungScheduler):
    """Promotes as ASHA does, at first up to the second rung only.

    Another rung is opened when the ranking of the trials in the highest open rung disagrees with their
    ranking in the rung below by more than epsilon: the 90th percentile of the distance between trials that
    swapped places and swapped back while they were trained. A ranking that has settled needs no longer
    training.

    Args, besides those of `RungScheduler`:
        rule: Who is promoted: `"top"` or `"quantile"`, as in `ASHA`.

    A decision costs O(rungs * log n), a report to the highest open rung O(units * trials in that rung).

    Raises:
        InvalidArgumentError: As `ASHA`.
    """

    rule: str = "top"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("rule", self.rule, RULES)

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker: the highest promotion that is open, else a new trial."""
        resource = history.project(("pasha", self.rungs), lambda: ProgressiveResource(self.rungs))
        found = promotion(history, self.rungs[: resource.top + 1], self.eta, self.rule)
        return found or start_or_end(self, self.rungs[0], history, streams)


class ProgressiveResource:
    """Which rung is the highest open one (`rungs[top]`), and the epsilon that decides about the next.

    Trials that diverged or failed are not ranked here.
    """

    def __init__(self, rungs: tuple[int, ...]) -> None:
        self.rungs = rungs
        self.top = min(1, len(rungs) - 1)
        self.epsilon = 0.0
        self._losses: dict[int, list[float]] = {}  # of every trial, unit by unit
        self._empty_top()

    def _empty_top(self) -> None:
        self._numbers: list[int] = []  # trials in the highest open rung, in order of arrival
        self._curves = np.empty((0, self.rungs[self.top]))  # theirs, in the same order; capacity beyond
        self._order: list[tuple[float, int]] = []  # (loss, arrival), best first
        self._before = np.empty(0)  # losses in the rung below, in `_order`
        self._before_sorted = np.empty(0)
        self._distances = _RunningQuantile(PERCENTILE)

    def apply(self, event: Event) -> None:
        """Take in a report; a later one may find another rung open."""
        if not isinstance(event, Report) or event.outcome != "ok":
            return
        losses = self._losses.setdefault(event.job.trial, [])
        for unit in event.units:  # a unit that was not scored counts as the next one that was
            losses.extend([-unit.validation] * (unit.unit - len(losses)))
        if self.top in (0, len(self.rungs) - 1) or event.job.until != self.rungs[self.top]:
            return
        curve = np.array(losses[: self.rungs[self.top]])
        self._measure_noise(event.job.trial, curve)
        self._enter(event.job.trial, curve)
        if self._reordered():
            self.top += 1
            self._empty_top()

    def _measure_noise(self, number: int, curve: np.ndarray) -> None:
        """Note how far the new trial is from each one it overtook, and was overtaken by, in training."""
        count = len(self._numbers)
        if not count:
            return
        others = self._curves[:count]
        older = np.array(self._numbers) < number
        above = np.where(older[:, None], others > curve, curve > others)
        other_way = above[:, :-1] != above[:, -1:]  # than at the end, by unit
        units = other_way.shape[1]
        last = units - 1 - np.argmax(other_way[:, ::-1], axis=1)
        same_first = np.argmin(other_way, axis=1)
        # The earliest unit of the final order must lie before the latest unit of the other one.
        swapped = other_way.any(axis=1) & ~other_way.all(axis=1) & (same_first < last)
        for distance in np.abs(others[swapped, -1] - curve[-1]).tolist():
            self._distances.add(distance)
        if len(self._distances):
            self.epsilon = self._distances.value()

    def _enter(self, number: int, curve: np.ndarray) -> None:
        count = len(self._numbers)
        if count == len(self._curves):
            grown = np.empty((max(16, 2 * count), len(curve)))
            grown[:count] = self._curves
            self._curves = grown
        self._curves[count] = curve
        self._numbers.append(number)
        before = curve[self.rungs[self.top - 1] - 1]
        position = bisect.bisect(self._order, (curve[-1], count))
        self._order.insert(position, (curve[-1], count))
        self._before = np.insert(self._before, position, before)
        self._before_sorted = np.insert(
            self._before_sorted, np.searchsorted(self._before_sorted, before), before
        )

    def _reordered(self) -> bool:
        """Whether some trial's rank is held, one rung below, by a trial more than epsilon away from it."""
        if len(self._order) < 2:
            return False
        there, here = self._before_sorted, self._before
        return bool(np.any((here > there + self.epsilon) | (here < there - self.epsilon)))


class _RunningQuantile:
    """A linearly interpolated quantile of numbers that come one by one; O(log n) each."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._low: list[float] = []  # negated: the largest of the lower part on top
        self._high: list[float] = []

    def __len__(self) -> int:
        return len(self._low) + len(self._high)

    def add(self, value: float) -> None:
        if self._low and value <= -self._low[0]:
            heapq.heappush(self._low, -value)
        else:
            heapq.heappush(self._high, value)
        size = int(self._share * (len(self) - 1)) + 1
        while len(self._low) < size:
            heapq.heappush(self._low, -heapq.heappop(self._high))
        while len(self._low) > size:
            heapq.heappush(self._high, -heapq.heappop(self._low))

    def value(self) -> float:
        """Return the quantile, rounded as `numpy.quantile` rounds it."""
        position = self._share * (len(self) - 1)
        below = -self._low[0]
        weight = position - (len(self._low) - 1)
        if not self._high or weight == 0:
            return below
        gap = self._high[0] - below
        return below + gap * weight if weight < 0.5 else self._high[0] - gap * (1 - weight)

"""ASHA in its stopping form: a trial goes on at once or never.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar: A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020. The stopping form is the one that Ray Tune and Syne Tune made popular; it
needs no checkpoints, and decides once per trial and rung, on what has arrived until then.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from hypernudge.errors import require_choice
from hypernudge.random import Streams
from hypernudge.schedulers.asha import within_quantile
from hypernudge.schedulers.base import (
    Decision,
    Resume,
    RungScheduler,
    start_or_end,
)
from hypernudge.trial import Event, History, Job, Report

RULES = ("quantile", "rank", "earlier")


@dataclass(frozen=True)
class StoppingASHA(RungScheduler):
    """Goes on with a trial that is good enough when it arrives at a rung; otherwise it is over for good.

    Of `n` results in the rung, the new one included, `b` of them better than it, the trial goes on if, by
    `rule`: `"quantile"`: it is not worse than the linearly interpolated `1/eta` quantile of all `n`, or it is
    alone (Syne Tune up to 0.14); `"rank"`: `b / n <= 1 / eta` (Syne Tune from 0.14 on); `"earlier"`: it is
    not worse than the `1/eta` quantile of the `n - 1` others, or it is alone (Ray Tune).

    Args, besides those of `RungScheduler`:
        rule: `"quantile"`, `"rank"` or `"earlier"`.

    Raises:
        InvalidArgumentError: As `RungScheduler`, or for an unknown rule.
    """

    rule: str = "quantile"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("rule", self.rule, RULES)

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker: who passed its rung first goes on first."""
        key = ("stopping", self.max_units, self.eta, self.rule)
        passed = history.project(key, lambda: _Passed(self.max_units, self.eta, self.rule)).waiting
        if passed:
            trial, rung = passed[0]
            return Resume(trial, self.rungs[self.rungs.index(rung) + 1])
        return start_or_end(self, self.rungs[0], history, streams)


class _Passed:
    """The trials that were good enough when they arrived, and have not gone on yet."""

    def __init__(self, max_units: int, eta: int, rule: str) -> None:
        self.max_units, self.eta, self.rule = max_units, eta, rule
        self.waiting: deque[tuple[int, int]] = deque()  # (trial, rung), in order of arrival
        self._rungs: dict[int, list[tuple[float, int, int]]] = {}
        self._arrivals = 0

    def apply(self, event: Event) -> None:
        if isinstance(event, Job) and event.since > 0:
            self.waiting.remove((event.trial, event.since))
        elif isinstance(event, Report) and event.outcome != "truncated" and event.job.until < self.max_units:
            rung = self._rungs.setdefault(event.job.until, [])
            entry = (-event.score, self._arrivals, event.job.trial)
            self._arrivals += 1
            if self._good(rung, entry) and event.outcome == "ok":
                self.waiting.append((event.job.trial, event.job.until))

    def _good(self, rung: list[tuple[float, int, int]], entry: tuple[float, int, int]) -> bool:
        """Whether the trial goes on; enters it into its rung."""
        if self.rule == "earlier":
            good = not rung or entry[0] <= _quantile([other[0] for other in rung], 1 / self.eta)
            bisect.insort(rung, entry)
            return good
        bisect.insort(rung, entry)
        if self.rule == "rank":
            better = bisect.bisect_left(rung, (entry[0], -1, -1))
            return better * self.eta <= len(rung)
        return len(rung) == 1 or within_quantile(rung, entry, self.eta)


def _quantile(losses: list[float], share: float) -> float:
    """Return the linearly interpolated quantile of sorted losses, some of which may be infinite."""
    position = share * (len(losses) - 1)
    low = math.floor(position)
    high = min(low + 1, len(losses) - 1)
    if losses[low] == losses[high] or position == low:
        return losses[low]
    return float(np.interp(position, (low, high), (losses[low], losses[high])))

"""ASHA, the asynchronous successive halving algorithm, in its promotion form.

Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar: A System for Massively Parallel
Hyperparameter Tuning, MLSys 2020, Algorithm 2.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from hypernudge.errors import require_choice
from hypernudge.random import Streams
from hypernudge.schedulers.base import (
    Decision,
    Resume,
    RungScheduler,
    SpeculativeScores,
    Start,
    start_or_end,
    starts_ahead,
)
from hypernudge.trial import History

RULES = ("top", "quantile")


@dataclass(frozen=True)
class ASHA(RungScheduler):
    """Promotes a trial as soon as it is in the top `1/eta` of its rung; starts a new one otherwise.

    Who is in the top of a rung of `n` results is said by `rule`. `"top"` is the paper's: the best
    `floor(n / eta)`, the earliest on ties. `"quantile"` is that of other libraries: whoever is not worse than
    the linearly interpolated `1/eta` quantile, once there are two results; it lets the better of two go on at
    once, and all of a tie.

    Args, besides those of `RungScheduler`:
        rule: `"top"` or `"quantile"`.

    A decision costs O(rungs * log n).

    Raises:
        InvalidArgumentError: As `RungScheduler`, or for an unknown rule.
    """

    rule: str = "top"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("rule", self.rule, RULES)

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker: the highest promotion there is, else a new trial."""
        found = promotion(history, self.rungs, self.eta, self.rule)
        return found or start_or_end(self, self.rungs[0], history, streams)

    def propose_speculative(
        self, history: History, streams: Streams, count: int, scores: SpeculativeScores
    ) -> Sequence[Start | Resume]:
        """Return up to `count` likely decisions: who leads its rung, then the next trials if known.

        Who leads is judged among all scores there are, `scores` too: a trial that will lead its rung is
        trained on before it, or even its start, has been reported.
        """
        likely: list[Start | Resume] = []
        until: dict[int, int] = {}
        for rung, above in zip(self.rungs[-2::-1], self.rungs[:0:-1], strict=True):
            for number in self._leaders(rung, history, scores):
                if number >= len(history.trials):
                    until.setdefault(number, above)
                elif history.trials[number].until == rung:
                    likely.append(Resume(number, above))
        starts = starts_ahead(self, self.rungs[0], history, streams, count - len(likely))
        for number, start in enumerate(starts, start=len(history.trials)):
            likely.append(Start(start.config, until.get(number, start.until)))
        return likely[:count]

    def _leaders(self, rung: int, history: History, speculative: SpeculativeScores) -> list[int]:
        """Return the trials in the top of a rung, and the one that comes next."""
        ranked, n = history.ranked(rung), len(history.trials)
        ahead = [
            (-scores[rung - 1], number)
            for number, scores in speculative.items()
            if len(scores) >= rung and (number >= n or rung not in history.trials[number].milestones)
        ]
        top = (len(ranked) + len(ahead)) // self.eta + 1
        best = heapq.merge(((score, number) for score, _, number in ranked[:top]), sorted(ahead))
        return [number for _, number in itertools.islice(best, top)]


def promotion(history: History, rungs: tuple[int, ...], eta: int, rule: str) -> Resume | None:
    """Return the promotion from the highest rung that has one; the last of `rungs` is only promoted to."""
    for rung, above in zip(rungs[-2::-1], rungs[:0:-1], strict=True):
        best = history.best_paused(rung)  # diverged and failed trials are not paused
        if best is None:
            continue
        ranked = history.ranked(rung)
        if rule == "top":
            promoted = bisect.bisect_left(ranked, best) < len(ranked) // eta
        else:
            promoted = within_quantile(ranked, best, eta)
        if promoted:
            return Resume(best[2], above)
    return None


def within_quantile(
    ranked: Sequence[tuple[float, int, int]], entry: tuple[float, int, int], eta: int
) -> bool:
    """Whether `entry`, one of `ranked`, is not worse than the interpolated `1/eta` quantile of two or more.

    The quantile lies at position `(n - 1) / eta`, between two neighbours; nothing lies between those, so the
    entry need only be as good as the better of them.
    """
    better = bisect.bisect_left(ranked, (entry[0], -1, -1))
    return len(ranked) >= 2 and better <= (len(ranked) - 1) // eta

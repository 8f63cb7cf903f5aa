"""What surrogates learn from: the trained (nudged) configurations as numbers, kept up to date."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import numpy as np

from hypernudge.parameters import Categorical
from hypernudge.space import SearchSpace
from hypernudge.trial import Event, History, Report, Started


class _Rows:
    """Rows of a matrix that grows: the unit coordinates of every trial's configuration."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._rows = np.empty((16, len(space)))
        self.count = 0

    def apply(self, event: Event) -> None:
        if isinstance(event, Started):
            if self.count == len(self._rows):
                self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._rows[self.count] = self._space.encode(event.nudge.config)
            self.count += 1

    @property
    def matrix(self) -> np.ndarray:
        return self._rows[: self.count]


class Curves:
    """The learning curves of the trials that were reported: finite scores, unit by unit.

    A projection of the history. A trial that diverged or failed is lost, whatever scores it had before.
    """

    def __init__(self) -> None:
        self.of: dict[int, list[float]] = {}
        self.lost: set[int] = set()
        self.observations: list[tuple[int, int]] = []  # (trial, unit), as they came
        self._seconds: dict[int, float] = {}
        self._ranks: list[tuple[float, int]] = []  # (-best score, trial), best first

    def __len__(self) -> int:
        return len(self.of)

    def apply(self, event: Event) -> None:
        """Take in a report."""
        if not isinstance(event, Report) or event.outcome == "truncated":
            return
        number = event.job.trial
        curve = self.of.setdefault(number, [])
        rank = bisect.bisect_left(self._ranks, (-max(curve, default=-math.inf), number))
        del self._ranks[rank : rank + (1 if number in self._seconds else 0)]
        for unit in event.units:
            if math.isfinite(unit.validation):
                curve.append(unit.validation)
                self.observations.append((number, len(curve)))
        if event.outcome != "ok":
            self.lost.add(number)
            curve.clear()
        self._seconds[number] = self._seconds.get(number, 0.0) + event.finished - event.started
        bisect.insort(self._ranks, (-max(curve, default=-math.inf), number))

    def some(self, most: int) -> list[int]:
        """Return at most `most` trials, best first: the best half, and the latest of the rest."""
        if len(self._ranks) <= most:
            return [number for _, number in self._ranks]
        kept, rest = self._ranks[: most // 2], self._ranks[most // 2 :]
        latest = sorted(rest, key=lambda entry: -entry[1])[: most - len(kept)]
        return [number for _, number in sorted([*kept, *latest])]

    def seconds(self, trials: Sequence[int]) -> np.ndarray:
        """Return what training them took, in seconds."""
        return np.array([self._seconds[number] for number in trials])

    def normalised(self, trials: Sequence[int]) -> list[np.ndarray]:
        """Return curves on a scale from 0, the 5 % quantile or worse, to 1, the best; a lost trial's is 0."""
        values = [score for number in trials for score in self.of[number]]
        if not values:
            return [np.zeros(1) for _ in trials]
        low, high = float(np.quantile(values, 0.05)), max(values)
        width = (high - low) or 1.0
        return [np.clip((np.array(self.of[number] or [low]) - low) / width, 0.0, 1.0) for number in trials]


def trained(space: SearchSpace, history: History) -> np.ndarray:
    """Return the unit coordinates of what is trained, `(trials, len(space))`; inactive ones are .5."""
    return history.project(("trained", space), lambda: _Rows(space)).matrix


def highest_milestone(history: History, least: int) -> int | None:
    """Return the highest milestone with at least `least` finite scores, None if there is none."""
    for milestone in reversed(history.milestones()):
        ranked = history.ranked(milestone)
        if len(ranked) >= least and math.isfinite(ranked[least - 1][0]):
            return milestone
    return None


def features(space: SearchSpace, units: np.ndarray) -> np.ndarray:
    """Return unit coordinates `(n, len(space))` as features `(n, width)` for distances.

    Numbers stay what they are; a choice among `k` becomes `k` columns, so that any two differ by 1 in
    Euclidean distance, and an inactive one lies in the middle of them.
    """
    columns = []
    for index, parameter in enumerate(space):
        column = units[:, index]
        if isinstance(parameter, Categorical) and len(parameter.choices) > 1:
            centres = (np.arange(len(parameter.choices)) + 0.5) / len(parameter.choices)
            chosen = np.abs(column[:, None] - centres) < 0.25 / len(centres)
            columns += list(chosen.T / math.sqrt(2))
        else:
            columns.append(column)
    return np.stack(columns, axis=1)

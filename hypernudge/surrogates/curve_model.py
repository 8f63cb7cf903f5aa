"""The deep-kernel surrogate of a study: which observations it rests on, and when it is refitted.

Its parameters are a chain of fits, each to the first so many observations, started from the one before. So
they depend on the observations alone, not on when somebody asked for a prediction.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hypernudge.errors import require, require_between, require_whole
from hypernudge.random import integer
from hypernudge.space import SearchSpace
from hypernudge.surrogates.deep_kernel import DeepKernel, Inputs
from hypernudge.surrogates.gp_sampler import LEAST_SCORE, spread
from hypernudge.surrogates.observations import Curves, features
from hypernudge.trial import Event, History, Started


@dataclass(frozen=True)
class Fitting:
    """How the surrogate is fitted.

    Args:
        first: Observations at the first fit.
        epochs: Steps of a fit from scratch.
        refinement: Steps of a later fit.
        growth: A later fit takes place when there are this many times as many observations.
        fit_points: Observations a fit uses, at most.
        points: Observations a prediction rests on, at most.
        patience: Observations without improvement, in multiples of `max_units`, after which the next fit
            begins from scratch.

    Raises:
        InvalidArgumentError: For a number that is not positive, or `growth <= 1`.
    """

    first: int = 2
    epochs: int = 400
    refinement: int = 50
    growth: float = 1.2
    fit_points: int = 96
    points: int = 192
    patience: float = 1.2

    def __post_init__(self) -> None:
        require_between("growth", self.growth, 1, remedy="1.2 refits 26 times in 1,000")
        require_between("patience", self.patience, 0)
        require_whole("first", self.first, 2)
        for name in ("epochs", "refinement", "fit_points", "points"):
            require_whole(name, getattr(self, name), 1, 1_000_000)


def fitting_from(options: Mapping[str, Any]) -> Fitting:
    """Return the options that a mapping states.

    Raises:
        InvalidArgumentError: For an option that does not exist, or a value that breaks a rule.
    """
    ok, known = isinstance(options, Mapping), [option.name for option in fields(Fitting)]
    require(ok and set(options) <= set(known), "fitting", f"takes the options {known}", options, "correct it")
    return Fitting(**options)


class CurveModel:
    """Predicts the score of a trial after its next units."""

    def __init__(self, space: SearchSpace, max_units: int, fitting: Fitting, seed: int) -> None:
        self.space, self.max_units, self.fitting, self.seed = space, max_units, fitting, seed
        self.curves = Curves()
        self._kernel: DeepKernel | None = None
        self._units: list[np.ndarray] = []  # coordinates of each trial
        self._x = np.empty((0, 0))
        self._scores: list[float] = []  # of each observation, as they came
        self._size = 0  # observations of the last fit
        self._restarts = 0
        self._best: dict[int, float] = {}  # by unit
        self._improved = 0  # observations when the best of all was found
        self._scale = (0.0, 1.0)

    def apply(self, event: Event) -> None:
        """Take in an event; a fit that becomes due takes place at once."""
        if isinstance(event, Started):
            self._units.append(self.space.encode(event.nudge.config))
            return
        known = len(self.curves.observations)
        before = max(self._best.values(), default=-math.inf)
        self.curves.apply(event)
        for number, unit in self.curves.observations[known:]:
            curve = self.curves.of[number]
            score = curve[unit - 1] if unit <= len(curve) else math.nan  # lost meanwhile
            self._scores.append(score)
            if score > self._best.get(unit, -math.inf):
                self._best[unit] = score
        if max(self._best.values(), default=-math.inf) > before:
            self._improved = len(self._scores)
        due = max(self.fitting.first, math.ceil(self._size * self.fitting.growth))
        if len(self._scores) >= due:
            self._fit()

    @property
    def ready(self) -> bool:
        """Whether a first fit took place, to trials some of which are still in the race."""
        return self._kernel is not None and len(self._latest(2)) == 2

    def unfinished(self, history: History, most: int) -> list[int]:
        """Return the paused trials with units left, those with the best scores first, `most` at most."""
        paused = [
            number
            for number in self.curves.some(len(self.curves))
            if history.trials[number].status == "paused" and history.trials[number].until < self.max_units
        ]
        return paused[:most]

    def best_at(self, budgets: np.ndarray) -> np.ndarray:
        """Return the best score at each number of units, scaled; the best of all where there is none."""
        top = max(self._best.values())
        return self._scaled(np.array([self._best.get(int(unit), top) for unit in budgets]))

    def predict(
        self, trials: list[int], fresh: np.ndarray, step: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Predict trials after `step` more units, and new configurations `(m, d)` after their first `step`.

        Returns:
            Mean and standard deviation of the scaled scores, and the units they are for; `(trials + m,)`.
        """
        begun = [min(len(self.curves.of[number]) + step, self.max_units) for number in trials]
        budgets = np.array([*begun, *[step] * len(fresh)])
        own = np.array([self._units[number] for number in trials]).reshape(-1, len(self.space))
        curves = [self.curves.of[number] for number in trials] + [[]] * len(fresh)
        at = self._inputs(np.concatenate([own, fresh]), budgets, curves)
        rows = self._latest(self.fitting.points)
        assert self._kernel is not None, "not ready"
        mean, deviation = self._kernel.predict(self._known(rows), self._targets(rows), at)
        return mean, deviation, budgets

    def _fit(self) -> None:
        restart = len(self._scores) - self._improved >= self.fitting.patience * self.max_units
        scores = np.array([score for score in self._scores if math.isfinite(score)])
        if len(scores) < 2:
            scores = np.zeros(2)
        low, middle, high = np.quantile(scores, (0.25, 0.5, 0.75))
        self._scale = (float(middle), float((high - low) / 1.35 or scores.std() or 1.0))
        if self._kernel is None or restart:
            width = features(self.space, np.zeros((1, len(self.space)))).shape[1]
            self._kernel = DeepKernel(width, integer(self.seed, "dyhpo", "weights", self._restarts))
            self._restarts += 1
            self._improved = len(self._scores)
            epochs = self.fitting.epochs
        else:
            epochs = self.fitting.refinement
        latest = self._latest(4 * self.fitting.fit_points)
        rows = [latest[i] for i in spread(len(latest), self.fitting.fit_points)]
        if len(rows) >= 2:
            self._kernel.optimise(self._known(rows), self._targets(rows), epochs)
        self._size = len(self._scores)

    def _latest(self, most: int) -> list[int]:
        """Return rows of observations: the last of every trial first, then the others, the newest first."""
        seen: set[int] = set()
        last: list[int] = []
        rest: list[int] = []
        for row in range(len(self._scores) - 1, -1, -1):
            number = self.curves.observations[row][0]
            if not math.isfinite(self._scores[row]) or number in self.curves.lost:
                continue
            (rest if number in seen else last).append(row)
            seen.add(number)
            if len(last) >= most:
                break
        return sorted([*last, *rest][:most])

    def _known(self, rows: list[int]) -> Inputs:
        at = [self.curves.observations[row] for row in rows]
        curves = [self.curves.of[number][: unit - 1] for number, unit in at]
        coordinates = np.array([self._units[number] for number, _ in at])
        return self._inputs(coordinates, np.array([unit for _, unit in at]), curves)

    def _targets(self, rows: list[int]) -> np.ndarray:
        return self._scaled(np.array([self._scores[row] for row in rows]))

    def _scaled(self, scores: np.ndarray) -> np.ndarray:
        middle, scale = self._scale
        return np.maximum((scores - middle) / scale, LEAST_SCORE)

    def _inputs(self, units: np.ndarray, budgets: np.ndarray, curves: list[list[float]]) -> Inputs:
        padded = np.zeros((len(curves), max(self.max_units, 3)))
        for row, curve in enumerate(curves):
            padded[row, : len(curve)] = self._scaled(np.array(curve)) if curve else 0.0
        return Inputs(features(self.space, units), budgets / self.max_units, padded)

"""What `informed` believes: a Gaussian over the weights of features, of the prior and a study's own results.

Bayesian linear regression of ranks, as normal scores, on the features of the trials that have them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hypernudge.trial import Event, History, Report, Started
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.features import (
    COLUMNS,
    LATTICE,
    SIZE,
    coordinates,
    features_of,
    number_of,
    row,
)
from hypernudge.warmstart.measurement.ranks import (
    noise_within_milestones,
    scores_within_milestones,
    stated_error,
)

if TYPE_CHECKING:
    from hypernudge.task import Task

FEW = 4  # configurations that are quicker looked at one by one
ANEW = 16  # results after which a covariance is inverted anew: rounding does not add up
NOISE = 0.2  # variance of a rank given the features
USUAL_SPREAD = 0.6  # standard deviation of the ranks that a prior foretells over a space
RANK_MEAN, RANK_DEVIATION = "rank_mean", "rank_deviation"
"""Names of the measurements with which a nudge notes what was believed of the start that it chose."""


@dataclass(frozen=True)
class Belief:
    """What is believed of starts: how they would rank among draws of the space, as normal scores.

    Attributes:
        mean: `(n,)`.
        deviation: Standard deviations of the means, `(n,)`; a rank itself varies by `NOISE` around its mean.
    """

    mean: np.ndarray
    deviation: np.ndarray


@dataclass(frozen=True)
class Posterior:
    """A Gaussian over the weights.

    Attributes:
        mean: `(SIZE,)`.
        covariance: `(SIZE, SIZE)`.
        results: How many were learned from.
    """

    mean: np.ndarray
    covariance: np.ndarray
    results: int

    @cached_property
    def root(self) -> np.ndarray:
        """A lower triangle whose product with its transpose is the covariance, `(SIZE, SIZE)`."""
        return np.linalg.cholesky(self.covariance)

    def belief(self, phi: np.ndarray) -> Belief:
        """Return what is believed of configurations with features `phi`, `(n, SIZE)`."""
        variance = np.einsum("ij,jk,ik->i", phi, self.covariance, phi)
        return Belief(phi @ self.mean, np.sqrt(np.maximum(variance, 0.0)))

    def believed(self, phi: np.ndarray) -> tuple[float, float]:
        """Return mean and deviation of `belief` of one with features `phi`, `(SIZE,)`, up to rounding."""
        return float(phi @ self.mean), math.sqrt(max(phi @ (self.covariance @ phi), 0.0))


def posterior(
    prior: priors.Prior,
    task: Task,
    phi: np.ndarray,
    results: list[tuple[int, int, float]],
    scaled: bool,
    covariance: np.ndarray | None = None,
) -> Posterior:
    """Return what a study's results make of the prior.

    Args:
        prior: Of the weights.
        task: May state the error of a score.
        phi: Features of the trials that have results, `(n, SIZE)`.
        results: `(trial, milestone, score)` of each.
        scaled: Whether the prior says how much starts differ.
        covariance: Of the weights, `(SIZE, SIZE)`, by `Covariances`, if no score has an error; where it is
            absent, a matrix is inverted: the reference implementation.
    """
    if not results:
        return Posterior(prior.mean, prior.covariance, 0)
    expected = phi @ prior.mean
    middle = np.add.reduce(expected) / len(expected)  # `expected.mean()`, to the bit
    # Ranks are relative to what this study has tried; the prior says how good that was.
    spread = min(max(_deviation(expected, middle) / USUAL_SPREAD, 0.5), 1.0) if scaled else 1.0
    y = scores_within_milestones(results) * spread + middle
    error = stated_error(task)
    if error:  # results count by what they are worth
        worth = np.sqrt(NOISE / (NOISE + noise_within_milestones(results, error)))
        phi, y = phi * worth[:, None], y * worth
    weighted = phi.T @ y
    weighted /= NOISE
    weighted += prior.weighted_mean
    if covariance is not None:
        return Posterior(covariance @ weighted, covariance, len(results))
    covariance = _inverted(prior, phi)
    return Posterior(covariance @ weighted, _even(covariance), len(results))


def _inverted(prior: priors.Prior, phi: np.ndarray) -> np.ndarray:
    """Return the covariance of the weights after results with features `phi`, symmetric up to rounding."""
    precision = phi.T @ phi
    precision /= NOISE
    precision += prior.precision
    found: np.ndarray = np.linalg.inv(precision)
    return found


def _even(matrix: np.ndarray) -> np.ndarray:
    even: np.ndarray = matrix + matrix.T
    even /= 2.0
    return even


class Covariances:
    """The covariance of the weights after results that come one by one, each a rank-one update.

    `(C^-1 + f f' / s)^-1 = C - C f f' C / (s + f' C f)` (Sherman and Morrison 1950), an eighth of the work of
    an inverse. What is returned depends on prior and features alone, not on what was asked before: a study
    that is replayed chooses the same. `posterior` without a covariance is the reference implementation.
    """

    def __init__(self) -> None:
        self._last: tuple[priors.Prior, int, np.ndarray] | None = None

    def after(self, prior: priors.Prior, phi: np.ndarray) -> np.ndarray:
        """Return the covariance after results with features `phi`, `(n, SIZE)`; those before are the same."""
        count = len(phi)
        begin = count - count % ANEW
        if self._last is not None and self._last[0] is prior and begin <= self._last[1] <= count:
            _, begin, found = self._last
        else:
            found = _even(_inverted(prior, phi[:begin])) if begin else prior.covariance
        for features in phi[begin:]:
            gain = found @ features
            gain /= math.sqrt(NOISE + features @ gain)
            found = found - np.multiply.outer(gain, gain)
        self._last = prior, count, found
        return found


def _deviation(values: np.ndarray, mean: float) -> float:
    """Return `values.std()`, to the bit, given their mean."""
    apart = values - mean
    return math.sqrt(np.add.reduce(apart * apart) / len(values))


@dataclass
class Tried:
    """A study's trials as arrays, and their first results in order of arrival; each event is looked at once.

    Attributes:
        task: What is tuned.
        results: `(trial, milestone, score)` of the first results of trials whose rates can be compared.
    """

    task: Task
    results: list[tuple[int, int, float]] = field(default_factory=list)
    _log_rates: list[float] = field(default_factory=list)  # NaN for one that cannot be compared
    _values: list[list[float]] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)
    _phi: np.ndarray = field(default_factory=lambda: np.empty((FEW, SIZE)))  # of `results`, and room for more
    _filled: int = 0
    _covariances: Covariances = field(default_factory=Covariances)
    _at: tuple[float, float] | None = None
    _known: tuple[priors.Prior, tuple[int, float, float, bool], Posterior] | None = None

    @classmethod
    def of(cls, task: Task, history: History) -> Tried:
        """Return those of a history, remembered there."""
        return history.project(
            (cls, id(task), task.space), lambda: cls(task)
        )  # it holds the task: no other has its id

    def apply(self, event: Event) -> None:
        """Take in the next event."""
        if isinstance(event, Started):
            config = event.nudge.config
            known = rates.has_rate(self.task, config)
            self._log_rates.append(rates.log_rate(self.task, config) if known else math.nan)
            self._values.append([number_of(config.get(name, math.nan)) for name in COLUMNS])
        elif isinstance(event, Report) and event.outcome != "truncated":
            number = event.job.trial
            if number not in self._seen and not np.isnan(self._log_rates[number]):
                self.results.append((number, event.job.until, event.score))
            self._seen.add(number)

    def features(self, trials: list[int], scale: float, steps: float) -> np.ndarray:
        """Return the features of trials, `(n, SIZE)`; see `features_of`."""
        values = np.array([self._values[number] for number in trials]).reshape(len(trials), len(COLUMNS))
        log_rates = np.array([self._log_rates[number] for number in trials])
        return features_of(log_rates, dict(zip(COLUMNS, values.T, strict=True)), scale, steps)

    def learned(self, count: int, scale: float, steps: float) -> np.ndarray:
        """Return `features` of the trials of the first `count` results, to the bit; each is made once."""
        if self._at != (scale, steps):
            self._filled, self._at, self._covariances = 0, (scale, steps), Covariances()
        begin = self._filled
        if begin < count:
            if count > len(self._phi):
                self._phi = np.concatenate([self._phi, np.empty((count, SIZE))])
            trials = [number for number, _, _ in self.results[begin:count]]
            if len(trials) <= FEW:  # as a rule it is one
                for i, number in enumerate(trials, begin):
                    at = coordinates(self._log_rates[number], self._values[number], scale, steps)
                    self._phi[i] = row(*LATTICE.place(at))
            else:
                self._phi[begin:count] = self.features(trials, scale, steps)
            self._filled = count
        return self._phi[:count]

    def posterior(
        self, prior: priors.Prior, count: int, scale: float, steps: float, scaled: bool
    ) -> Posterior:
        """Return what the first `count` results make of a prior: the last answer, where nothing has changed.

        Args:
            prior: Of the weights.
            count: How many of `results` are learned from.
            scale: `log10` of the probe.
            steps: Optimizer steps of the longest training.
            scaled: Whether the prior says how much starts differ.
        """
        asked = count, scale, steps, scaled
        if self._known is None or self._known[0] is not prior or self._known[1] != asked:
            phi = self.learned(count, scale, steps)
            known = None if stated_error(self.task) else self._covariances.after(prior, phi)
            found = posterior(prior, self.task, phi, self.results[:count], scaled, known)
            self._known = prior, asked, found
        return self._known[2]

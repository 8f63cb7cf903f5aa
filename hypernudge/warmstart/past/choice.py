"""What to start, by past studies and this one's results; left as sampled where the past does not hold.

Two explanations of the study's ranks compete: it is like the past ones, or it is like none. Each trial is
chosen by the past with the probability of the first, at most one half before there are results, and else
stays as it was sampled. So a past that misleads is found out by the trials that were left alone, and then no
longer followed.

Where a task states what a unit of a configuration costs, starts are compared by what is expected of them
per cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.trial import Event, History, Nudge, NudgeKind, Started
from hypernudge.warmstart.measurement.ranks import normal_scores, share_of_noise, stated_error
from hypernudge.warmstart.past.cost import TARGET, log_cost_weights, log_expected_improvement
from hypernudge.warmstart.past.transfer import EARLY, NOISE, Transfer

if TYPE_CHECKING:
    from hypernudge.task import Task

FLAT = 0.05  # standard deviation of foretold ranks over the space below which the past is silent
AT_FIRST = 0.5  # most of the trials that the past chooses before any result: the others show what it is worth
MOST_CERTAIN = 0.98  # of the past; a few trials always stay as sampled
TRANSFER = "past_probability"
"""Name of the measurement: with what probability the study is like the past ones."""


@dataclass(frozen=True)
class Options:
    """How boldly to choose; `Informed` has the same names.

    Attributes:
        candidates: Draws that are compared.
        greedy_trials: First trials that are chosen without exploration.
        spread: Of Thompson's draws: a study of some tens of trials cannot repay more.
        min_results: Results at a milestone below which ranks there say nothing.
        cost_weight: Exponent of a configuration's cost; zero ranks by score alone.
    """

    candidates: int = 256
    greedy_trials: int = 4
    spread: float = 0.25
    min_results: int = 2
    cost_weight: float = 0.1


@dataclass(frozen=True)
class Results:
    """Ranks of a study's trials.

    Attributes:
        trials: Numbers of the trials, `(n,)`; one may stand there twice, for two milestones.
        milestone: Where each was ranked, `(n,)`.
        scores: Normal scores within the milestone, `(n,)`.
        noise: What the noise of each is multiplied by, `(n,)`.
    """

    trials: np.ndarray
    milestone: np.ndarray
    scores: np.ndarray
    noise: np.ndarray

    def __len__(self) -> int:
        return len(self.trials)


def results_of(history: History, usable: np.ndarray, error: float = 0.0, least: int = 4) -> Results:
    """Return each trial's rank where it was first compared, and where last.

    Args:
        history: The study's.
        usable: Whether each trial's configuration can be described, `(trials,)`.
        error: Standard error of a score, where the task states one.
        least: Results at a milestone below which ranks there say nothing.
    """
    ranked, noisier = {}, {}
    for milestone in history.milestones():
        entries = [(trial, -negated) for negated, _, trial in history.ranked(milestone) if usable[trial]]
        if len(entries) >= least:
            values = np.array([score for _, score in entries])
            scores = normal_scores(values)
            if not scores.any():  # all alike, all failed say: that tells nothing of the past
                continue
            ranked[milestone] = dict(zip([trial for trial, _ in entries], scores.tolist(), strict=True))
            noisier[milestone] = 1.0 + share_of_noise(values, error) / NOISE if error else 1.0
    rows: list[tuple[int, int, float, float]] = []
    for trial in range(len(usable)):
        at = [milestone for milestone, scores in ranked.items() if trial in scores]
        kept = sorted({at[0], at[-1]}) if at else []
        rows += [(trial, m, ranked[m][trial], len(kept) * noisier[m]) for m in kept]
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    trials, milestones = (np.array(column, dtype=int) for column in columns[:2])
    scores, noise = (np.array(column, dtype=float) for column in columns[2:])
    return Results(trials, milestones, scores, noise)


@dataclass(frozen=True)
class Belief:
    """What is believed of a study's own weights.

    Attributes:
        deviation: Mean of what they deviate by from the shared ones, `(size,)`.
        covariance: Of that, `(size, size)`.
        probability: Of the study being like the past ones.
        results: Trials that were learned from.
    """

    deviation: np.ndarray
    covariance: np.ndarray
    probability: float
    results: int

    @property
    def followed(self) -> float:
        """Share of trials that the past chooses."""
        return self.probability if self.results else min(self.probability, AT_FIRST)


def belief(past: Transfer, phi: np.ndarray, results: Results, longest: float) -> Belief:
    """Return what a study's results say, given the past.

    Args:
        past: What past studies say.
        phi: Features of the study's trials, `(trials, size)`.
        results: Their ranks.
        longest: Units of the longest training.
    """
    if not len(results):
        return Belief(np.zeros(len(past.own)), past.own, past.probability, 0)
    rows = phi[results.trials]
    said = np.empty(len(results))
    for milestone in np.unique(results.milestone):
        at = results.milestone == milestone
        said[at] = rows[at] @ past.mean_at(min(milestone / longest, 1.0))
        said[at] -= said[at].mean()
        rows[at] -= rows[at].mean(axis=0)
    noise = NOISE * results.noise
    # Ranks are relative to what was tried: chosen trials differ less than draws of the space do.
    spread = math.sqrt(said.var() + np.einsum("ij,jk,ik->i", rows, past.own, rows).mean() + NOISE)
    scale = float(np.clip(spread, 0.5, 1.0))
    rest = results.scores * scale - said
    deviation, covariance, fits = _regression(rows, rest, past.own, noise)
    unlike = _scaled(past.unknown, rows)
    _, _, fits_none = _regression(rows, results.scores, unlike, noise)
    odds = math.log(past.probability / (1.0 - past.probability))
    odds += fits + _log_scale(results, scale) - fits_none
    probability = 1.0 / (1.0 + math.exp(-min(max(odds, -50.0), 50.0)))
    number = len(np.unique(results.trials))
    return Belief(deviation, covariance, min(probability, MOST_CERTAIN), number)


def _scaled(unknown: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return a covariance of weights under which ranks have the variance that normal scores have."""
    explained = float(np.einsum("ij,jk,ik->i", rows, unknown, rows).mean())
    return unknown * ((1.0 - NOISE) / explained) if explained > 0 else unknown


def _log_scale(results: Results, scale: float) -> float:
    """Return what the density of ranks gains by their being scaled."""
    return float((1.0 / results.noise).sum()) * math.log(scale)


def _regression(
    rows: np.ndarray, y: np.ndarray, prior: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean and covariance of weights of covariance `prior`, and the log density of `y`.

    Args:
        rows: Features, `(n, size)`.
        y: Values, `(n,)`.
        prior: Covariance of the weights before, `(size, size)`.
        noise: Variance of each value given its features, `(n,)`.
    """
    weighted = rows / noise[:, None]
    inner = np.eye(len(prior)) + prior @ (rows.T @ weighted)
    covariance = np.linalg.solve(inner, prior)
    covariance = (covariance + covariance.T) / 2.0
    mean = covariance @ (weighted.T @ y)
    residual = y - rows @ mean
    _, log_determinant = np.linalg.slogdet(inner)
    density = -0.5 * float(y @ (residual / noise) + log_determinant + np.log(2.0 * math.pi * noise).sum())
    return mean, covariance, density


def choose(
    past: Transfer,
    task: Task,
    sampled: Config,
    history: History,
    streams: Streams,
    longest: float,
    policy: str,
    options: Options,
) -> Nudge:
    """Return what to start in the place of `sampled`.

    Args:
        past: What past studies say about the task's space.
        task: What is tuned.
        sampled: What the scheduler sampled.
        history: The trials before.
        streams: Of the study.
        longest: Units of the longest training.
        policy: The policy's name.
        options: How boldly.
    """
    if past.probability <= 0.0:
        return Nudge(sampled, policy, reason=f"guard: {past.why}: left as sampled", kind="guard")
    space: SearchSpace = task.space
    number = len(history.trials)
    rng = streams("informed", number)
    units = drawn(past, space, sampled, rng, options.candidates)
    features = past.features.of_units(units)
    foretold = features @ past.chosen_by
    if foretold.std() < FLAT:
        reason = "guard: the past tells no part of this space from another: left as sampled"
        return Nudge(sampled, policy, reason=reason, kind="guard")
    tried = history.project((_Tried, past), lambda: _Tried(space, past))
    usable = np.array(tried.usable, dtype=bool)
    results = results_of(history, usable, stated_error(task), options.min_results)
    now = belief(past, tried.features, results, longest)
    measurements = {TRANSFER: now.probability}
    held, draw = float(rng.random()), rng.standard_normal(len(now.deviation))
    if held >= now.followed:
        reason = f"the past holds with probability {now.probability:.2f}: left as sampled"
        return Nudge(sampled, policy, reason=reason, kind="passthrough", measurements=measurements)
    deviation = now.deviation
    if options.spread and number >= options.greedy_trials:
        deviation = deviation + options.spread * (_root(now.covariance) @ draw)
    costs = tried.log_costs(task) if options.cost_weight else None
    value = features @ (past.chosen_by + deviation)
    if costs is not None:
        ahead = features @ (past.mean_of(EARLY) + deviation) - TARGET
        variance = NOISE + np.einsum("ij,jk,ik->i", features, now.covariance, features)
        value = log_expected_improvement(ahead, np.sqrt(variance))
        value = value - options.cost_weight * (features @ costs)
    config = _best(space, sampled, units, value, history)
    source = f"data of {now.results} trials" if now.results else "prior"
    reason = f"{source} and {len(past.agreement)} past tasks: best of {len(units)} draws"
    reason += " per cost" if costs is not None else ""
    kind: NudgeKind = "data" if now.results else "prior"
    changed = config != sampled
    return Nudge(config, policy, changed=changed, reason=reason, kind=kind, measurements=measurements)


def drawn(
    past: Transfer, space: SearchSpace, sampled: Config, rng: np.random.Generator, count: int
) -> np.ndarray:
    """Return candidates in the unit cube, `(count, len(space))`; the first is the sampled one.

    Hyper-parameters that the past does not know stay as sampled: the scheduler's own model may have learned
    about them.
    """
    own = space.encode(sampled)
    units = np.concatenate([own[None], space.draw(rng, count - 1)])
    stays = [index for index, name in enumerate(space.names) if name not in past.features.names]
    if stays:
        units[1:, stays] = own[stays]
        units[1:] = space.snap(units[1:])
    return units


def _best(
    space: SearchSpace, sampled: Config, units: np.ndarray, foretold: np.ndarray, history: History
) -> Config:
    """Return the candidate with the best foretold rank that no trial has had; spaces may be small."""
    known = {trial.config for trial in history.trials}
    for index in np.argsort(-foretold, kind="stable"):
        config = sampled if index == 0 else space.decode(units[index])
        if config not in known:
            return config
    return sampled


class _Tried:
    """What the past sees of a study's trials, each looked at once.

    Args:
        space: Of the study.
        past: What past studies say about it.
    """

    def __init__(self, space: SearchSpace, past: Transfer) -> None:
        self._space, self._past = space, past
        self._rows: list[np.ndarray] = []
        self.usable: list[bool] = []  # whether each lies in the space, as far as the past knows it
        self._costs: tuple[np.ndarray | None] | None = None

    @property
    def features(self) -> np.ndarray:
        """Features of the trials, `(trials, size)`."""
        return np.array(self._rows).reshape(len(self._rows), len(self._past.own))

    def log_costs(self, task: Task) -> np.ndarray | None:
        """Return what foretells a configuration's cost, see `log_cost_weights`; found once in a study."""
        if self._costs is None:
            self._costs = (log_cost_weights(task, self._past.features),)
        return self._costs[0]

    def apply(self, event: Event) -> None:
        """Look at a trial that begins; those of other tools may lie outside the space."""
        if not isinstance(event, Started):
            return
        config, names = event.nudge.config, self._past.features.names
        self._rows.append(self._past.features.of_configs([config])[0])
        self.usable.append(all(n not in config or self._space[n].contains(config[n]) for n in names))


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return a square root of a covariance that may be singular to rounding."""
    jitter = 1e-8 * max(float(np.trace(covariance)), 1e-12)
    return np.linalg.cholesky(covariance + jitter * np.eye(len(covariance)))

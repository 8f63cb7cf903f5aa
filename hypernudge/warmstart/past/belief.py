"""What a study's results say of it, given the past: is it like the past ones, and what is its own?

Two explanations of the study's ranks compete: it is like the past ones, or it is like none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hypernudge.trial import History
from hypernudge.warmstart.measurement.ranks import normal_scores, share_of_noise
from hypernudge.warmstart.past.transfer import NOISE, Transfer

PEERS = 4  # results at a milestone below which ranks there say nothing, where nobody says
AT_FIRST = 0.5  # most of the trials that the past chooses before any result: the others show what it is worth
MOST_CERTAIN = 0.98  # of the past; a few trials always stay as sampled


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


def results_of(history: History, usable: np.ndarray, error: float = 0.0, least: int = PEERS) -> Results:
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

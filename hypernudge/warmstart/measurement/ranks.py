"""Ranks of a study's results as normal scores: what models of scores learn from, whatever the metric."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import ndtri

FEW = 64  # results whose ranks are quicker looked up one by one


def scores_within_milestones(results: list[tuple[int, int, float]]) -> np.ndarray:
    """Return the normal score of each result among those of its milestone, `(len(results),)`."""
    if len({milestone for _, milestone, _ in results}) == 1:
        return _of_peers([score for _, _, score in results])
    by_milestone: dict[int, list[float]] = {}
    for _, milestone, score in results:
        by_milestone.setdefault(milestone, []).append(score)
    y, reached = np.empty(len(results)), np.array([milestone for _, milestone, _ in results])
    for milestone, scores in by_milestone.items():
        y[reached == milestone] = _of_peers(scores)
    return y


def _of_peers(scores: list[float]) -> np.ndarray:
    """Return `normal_scores` of a list, to the bit: those of few are looked up, as a study's starts ask."""
    count = len(scores)
    if count > FEW or math.isnan(sum(scores)):  # a NaN, or both infinities
        return normal_scores(np.array(scores))
    descending, positions = sorted(scores, reverse=True), range(count)
    below = dict(zip(descending, reversed(positions), strict=True))  # of equal ones the last is kept
    up_to = dict(zip(reversed(descending), positions, strict=True))
    return _quantiles(count).take([below[score] + up_to[score] for score in scores])


@lru_cache(maxsize=FEW)
def _quantiles(count: int) -> np.ndarray:
    """Return the normal score by the sum of the first and the last position among `count`, from 0 on."""
    return _at_ranks(np.arange(2 * count - 1), count)


def _at_ranks(positions: np.ndarray, count: int) -> np.ndarray:
    return np.asarray(ndtri(((positions + 2) / 2.0 - 0.5) / count))


def noise_within_milestones(results: list[tuple[int, int, float]], error: float) -> np.ndarray:
    """Return the variance that a standard error of scores adds to each rank, `(len(results),)`."""
    milestones = np.array([milestone for _, milestone, _ in results])
    scores = np.array([score for _, _, score in results])
    added = np.empty(len(results))
    for milestone in np.unique(milestones):
        peers = milestones == milestone
        added[peers] = share_of_noise(scores[peers], error)
    return added


def stated_error(task: object) -> float:
    """Return the standard error of a score where a task states it; 0 where it does not."""
    return float(getattr(task, "score_error", 0.0))  # `NoisyScores`, whose module imports PyTorch


def share_of_noise(scores: np.ndarray, error: float) -> float:
    """Return what share of the variance of scores is noise of a standard error, at most 1.

    Ranks have unit variance, so it is also what the noise adds to the variance of a rank.

    Args:
        scores: Of the trials at a milestone, `(n,)`.
        error: In the scores' unit.
    """
    spread = float(np.var(scores[np.isfinite(scores)])) if error > 0 else 1.0
    return min(error * error / spread, 1.0) if spread > 0 else 1.0


def normal_scores(values: np.ndarray) -> np.ndarray:
    """Return the standard normal quantiles of ranks; larger is better, equal values share their rank."""
    # Not scipy.stats.rankdata: its import takes half a second, and 50 MB in the process of every cell.
    ascending = np.sort(values, axis=None)  # NaN behind all numbers
    below, up_to = (ascending.searchsorted(values, side) for side in ("left", "right"))
    return _at_ranks(below + up_to - 1, len(values))

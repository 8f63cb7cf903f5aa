"""Ranks of a study's results as normal scores: what models of scores learn from, whatever the metric."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri


def scores_within_milestones(results: list[tuple[int, int, float]]) -> np.ndarray:
    """Return the normal score of each result among those of its milestone, `(len(results),)`."""
    milestones = [milestone for _, milestone, _ in results]
    scores = np.array([score for _, _, score in results])
    different = set(milestones)
    if len(different) == 1:
        return normal_scores(scores)
    y, reached = np.empty(len(results)), np.array(milestones)
    for milestone in different:
        peers = reached == milestone
        y[peers] = normal_scores(scores[peers])
    return y


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
    return np.asarray(ndtri(((below + up_to + 1) / 2.0 - 0.5) / len(values)))

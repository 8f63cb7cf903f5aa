"""Losses and scores of predictions on a table."""

from __future__ import annotations

import math

import numpy as np

from hypernudge.tasks.tabular.problems import Problem

LEAST = 1e-15  # probability; the logarithm of zero would end a study


def score_of(problem: Problem, predicted: np.ndarray, y: np.ndarray, unit: float) -> float:
    """Return the score of predictions; NaN where one is not finite.

    Args:
        problem: Says which.
        predicted: Probabilities `(n,)` of the second of two classes or `(n, classes)`; or a target's, `(n,)`.
        y: Targets `(n,)`.
        unit: Standard deviation that the target was divided by.
    """
    if not np.isfinite(predicted).all():
        return math.nan
    if problem.score == "accuracy":
        chosen = predicted.argmax(1) if predicted.ndim > 1 else predicted > 0.5
        return float(np.mean(chosen == y))
    if problem.score == "log_loss":
        return -loss_of(problem, predicted, y)
    error = predicted.astype(np.float64) - y
    if problem.score == "rmse":
        return -unit * math.sqrt(float(np.mean(error**2)))
    return 1.0 - float(np.sum(error**2)) / float(np.sum((y - y.mean(dtype=np.float64)) ** 2))


def loss_of(problem: Problem, predicted: np.ndarray, y: np.ndarray) -> float:
    """Return the mean loss that trees descend on: log loss, or the regression's own; smaller is better."""
    if not problem.is_regression:
        if problem.loss == "hinge":  # its predictions are classes
            return float(np.mean(predicted != y))
        p = predicted[np.arange(len(y)), y.astype(np.int64)] if predicted.ndim > 1 else None
        p = np.where(y > 0.5, predicted, 1.0 - predicted) if p is None else p
        return -float(np.mean(np.log(np.maximum(p.astype(np.float64), LEAST))))
    error = predicted.astype(np.float64) - y
    if problem.loss == "absolute_error":
        return float(np.mean(np.abs(error)))
    if problem.loss == "huber":
        return float(np.mean(np.sqrt(1.0 + error**2) - 1.0))
    return float(np.mean(error**2))

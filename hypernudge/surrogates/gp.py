"""Gaussian processes for a few hundred points: squared-exponential kernels, exact inference, float64.

Rasmussen and Williams: Gaussian Processes for Machine Learning, 2006, Algorithm 2.1 and section 5.4.1. The
kernel is `s^2 exp(-sum_g w_g |x_g - x'_g|^2)` over groups `g` of columns; `s^2` is the maximiser of the
likelihood given the rest, so it is no parameter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.special import ndtr

JITTER = 1e-8
LOG_WEIGHTS = (-6.0, 6.0)  # length scales from 20 widths of the unit cube down to a 20th
LOG_NOISES = (-13.0, 0.0)


def squared_distances(a: np.ndarray, b: np.ndarray, groups: Sequence[int]) -> np.ndarray:
    """Return squared distances by group of columns, `(groups, n, m)`, for `a` `(n, d)` and `b` `(m, d)`."""
    found = np.zeros((max(groups) + 1, len(a), len(b)))
    for column, group in enumerate(groups):
        found[group] += (a[:, [column]] - b[:, column]) ** 2
    return found


def weighted_distances(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return `sum_c weights_c (a_c - b_c)^2`, `(n, m)`, by one matrix product."""
    a, b = a * np.sqrt(weights), b * np.sqrt(weights)
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.maximum(square, 0.0))


def negative_log_likelihood(kernel: np.ndarray, noise: float, y: np.ndarray) -> float:
    """Return that of `y` `(n,)` under correlations `(n, n)` with the best scale, but for constants."""
    factor = cho_factor(kernel + (noise + JITTER) * np.eye(len(y)), lower=True, check_finite=False)
    scale = y @ cho_solve(factor, y, check_finite=False) / len(y)
    return float(0.5 * len(y) * np.log(scale + JITTER) + np.log(np.diag(factor[0])).sum())


def fit(
    x: np.ndarray, y: np.ndarray, groups: Sequence[int], iterations: int = 20
) -> tuple[np.ndarray, float]:
    """Maximise the marginal likelihood with a weak prior; return the weight of each column, and the noise.

    Args:
        x: Points, `(n, d)`.
        y: Centred values, `(n,)`.
        groups: Group of each column; columns of a group share their weight.
        iterations: Steps of L-BFGS.

    Costs O(n^3 + groups * n^2) a step. Values without variance leave the parameters where they start.
    """
    distances = squared_distances(x, x, groups)
    count, eye = len(distances), np.eye(len(y))

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, noise = np.exp(parameters[:-1]), np.exp(parameters[-1])
        kernel = np.exp(-np.tensordot(weights, distances, 1))
        factor = cho_factor(kernel + (noise + JITTER) * eye, lower=True, check_finite=False)
        inverse = cho_solve(factor, eye, check_finite=False)
        alpha = inverse @ y
        scale = y @ alpha / len(y) + JITTER
        inner = 0.5 * (inverse - np.outer(alpha, alpha) / scale)
        gradient = np.empty(count + 1)
        gradient[:-1] = -weights * np.tensordot(distances, inner * kernel, 2)
        gradient[-1] = noise * np.trace(inner)
        deviation = (parameters - start) / 2.0  # the prior: two e-folds around the start
        value = 0.5 * len(y) * np.log(scale) + np.log(np.diag(factor[0])).sum()
        return value + 0.5 * deviation @ deviation, gradient + deviation / 2.0

    start = np.array([*[np.log(2.0)] * count, np.log(1e-2)])
    if np.ptp(y) > 0:
        bounds = [LOG_WEIGHTS] * count + [LOG_NOISES]
        options = {"maxiter": iterations}
        found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    else:
        found = start
    return np.exp(found[:-1])[list(groups)], float(np.exp(found[-1]))


class GP:
    """The posterior given points `x` `(n, d)`, values `y` `(n,)`, column weights `(d,)` and relative noise.

    The constant prior mean is that of `y`, unless it is given.
    """

    def __init__(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray, noise: float, mean: float | None = None
    ) -> None:
        self.x, self.y, self.weights = x, y, weights
        self.mean = float(np.mean(y)) if mean is None else mean
        kernel = np.exp(-weighted_distances(x, x, weights))
        kernel[np.diag_indices_from(kernel)] += noise + JITTER
        self._factor = cho_factor(kernel, lower=True, check_finite=False)
        self._alpha = cho_solve(self._factor, y - self.mean, check_finite=False)
        self.scale = max(float((y - self.mean) @ self._alpha) / len(y), 0.0)

    def predict(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the latent values at `points` `(m, d)`."""
        across = np.exp(-weighted_distances(self.x, points, self.weights))
        half = solve_triangular(self._factor[0], across, lower=True, check_finite=False)
        variance = self.scale * np.maximum(1.0 - (half**2).sum(0), 1e-12)
        return self.mean + across.T @ self._alpha, np.sqrt(variance)

    def believing(self, points: np.ndarray, noise: float) -> GP:
        """Return the posterior after the mean was observed at `points` `(m, d)`: what is being trained."""
        believed = np.concatenate([self.y, self.predict(points)[0]])
        bolder = GP(np.concatenate([self.x, points]), believed, self.weights, noise, self.mean)
        bolder.scale = self.scale
        return bolder


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float | np.ndarray) -> np.ndarray:
    """Return E max(f - best, 0) for normal `f`: to maximise; arrays broadcast. Zero deviation is allowed."""
    deviation = np.maximum(deviation, 1e-12)
    z = (mean - best) / deviation
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(deviation * (z * ndtr(z) + density))

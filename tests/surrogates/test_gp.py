import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from hypernudge.random import stream
from hypernudge.surrogates import gp as module
from hypernudge.surrogates.gp import (
    GP,
    expected_improvement,
    fit,
    negative_log_likelihood,
    weighted_distances,
)


def data(seed=0, n=40, d=3):
    rng = stream(seed, "gp")
    x = rng.random((n, d))
    y = np.sin(6 * x[:, 0]) + 0.05 * rng.normal(size=n)
    return x, y - y.mean()


def test_the_posterior_is_that_of_the_joint_normal():
    x, y = data(n=8)
    weights, noise, new = np.array([3.0, 1.0, 0.5]), 0.1, np.array([[0.2, 0.4, 0.9]])
    gp = GP(x, y, weights, noise)
    both = np.concatenate([x, new])
    k = np.exp(-(((both[:, None] - both) ** 2) * weights).sum(-1))
    k[:8, :8] += (noise + module.JITTER) * np.eye(8)
    solved = np.linalg.solve(k[:8, :8], k[:8, 8])
    mean, deviation = gp.predict(new)
    assert mean[0] == pytest.approx(solved @ (y - y.mean()) + y.mean(), rel=1e-9)
    scale = (y - y.mean()) @ np.linalg.solve(k[:8, :8], y - y.mean()) / 8
    assert deviation[0] ** 2 == pytest.approx(scale * (1 - solved @ k[:8, 8]), rel=1e-7)


def test_the_likelihood_is_that_of_the_normal_with_its_best_scale():
    x, y = data(n=10)
    kernel = np.exp(-weighted_distances(x, x, np.ones(3)))
    full = kernel + (0.05 + module.JITTER) * np.eye(10)

    def exact(scale):
        return -multivariate_normal(np.zeros(10), scale * full).logpdf(y)

    best = y @ np.linalg.solve(full, y) / 10
    constant = 5 * np.log(2 * np.pi) + 5
    assert negative_log_likelihood(kernel, 0.05, y) + constant == pytest.approx(exact(best), rel=1e-5)
    assert exact(best) < min(exact(0.9 * best), exact(1.1 * best))


def test_the_gradient_of_the_fit_is_right(monkeypatch):
    x, y = data()
    seen = []

    def spy(objective, start, **options):
        for point in (start, start + 0.3):
            value = approx_fprime(point, lambda p: objective(p)[0], 1e-6)
            seen.append(np.abs(value - objective(point)[1]).max())
        return type("Result", (), {"x": start})

    monkeypatch.setattr(module, "minimize", spy)
    fit(x, y, [0, 0, 1])
    assert max(seen) < 1e-3


def test_the_fit_finds_which_column_matters():
    x, y = data(n=60)
    weights, noise = fit(x, y, range(3))
    assert weights[0] > 20 * weights[1:].max() and noise < 0.1
    constant, _ = fit(x, np.zeros(60), range(3))
    assert np.isfinite(constant).all()


def test_believing_changes_the_spread_and_not_the_mean():
    x, y = data()
    gp = GP(x, y, np.full(3, 2.0), 0.01)
    points = stream(1, "points").random((5, 3))
    bolder = gp.believing(points[:2], 0.01)
    assert bolder.predict(points)[0] == pytest.approx(gp.predict(points)[0], abs=1e-6)
    assert (bolder.predict(points)[1][:2] < gp.predict(points)[1][:2]).all()


def test_expected_improvement_is_the_mean_of_improvements():
    draws = 0.3 + 0.7 * stream(0, "ei").normal(size=400_000)
    expected = np.maximum(draws - 0.5, 0).mean()
    assert expected_improvement(np.array(0.3), np.array(0.7), 0.5) == pytest.approx(expected, rel=0.01)
    assert expected_improvement(np.array([1.0, 0.0]), np.zeros(2), 0.5) == pytest.approx([0.5, 0.0])

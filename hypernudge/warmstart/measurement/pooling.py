"""How past studies are pooled: what weights they have in common, and how far one study's deviate from that.

A hierarchical Gaussian model (Lindley and Smith 1972). A study's weights are `w ~ N(m, S)`, its ranks
`y = Phi w + u + e`. `e` is the study's own noise. `u` is what features cannot say and other studies share:
studies of one seed have the same configurations, on which the model errs in the same way, and which no number
of such studies averages out. `S` is found by expectation maximisation, which adds to what studies are seen to
deviate by how uncertain each of them is (Laird and Ware 1982; Dempster, Rubin and Tsutakawa 1981). What they
have in common is smooth from knot to knot (Eilers and Marx 1996). What is returned is what to expect of the
next study: `N(m, S + Cov(m))`.
"""

from __future__ import annotations

import numpy as np

from hypernudge.warmstart.measurement.features import KNOTS, SIZE

OWN_NOISE = 0.15
"""Variance of a rank given the features, of which other studies know nothing."""
SHARED_NOISE = 0.05
"""The same, of what features cannot say and studies have in common. On the studies of the shipped prior's
configuration the two are .16 and .034 (covariance of what the features leave, between families)."""
LEVEL = 0.5  # variance of a common weight before any study is seen
BENDS = {"rate": 0.1}  # variance of second differences of common weights over neighbouring knots
USUAL_BEND = 0.01  # the same of other blocks
DEVIATIONS = {"rate": 0.05}  # variance of what a study's weights deviate by, before any is seen
USUAL_DEVIATION = 0.01
ASSUMED = 10.0  # studies that these deviations count as
ROUNDS = 30  # by which the covariance changes by less than a thousandth
TINY = 1e-6  # information that keeps directions which nobody tried apart from zero


def pool(grams: np.ndarray, products: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean `(SIZE,)` and covariance `(SIZE, SIZE)` of the weights of the next study.

    Args:
        grams: `Phi'Phi` of each past study, `(studies, SIZE, SIZE)`.
        products: `Phi'y` of each, `(studies, SIZE)`; `y` has unit variance.
    """
    before, own = smoothness(), np.diag(_by_block(DEVIATIONS, USUAL_DEVIATION))
    information, seen = grams / OWN_NOISE, products[:, :, None] / OWN_NOISE
    # However many studies there are, no more than this is told of what is common.
    most = grams.mean(axis=0) / SHARED_NOISE
    identity, spread = np.eye(SIZE), own
    for _ in range(ROUNDS):
        between = np.linalg.inv(spread)
        within = np.linalg.inv(information + between)
        gain = within @ between
        told = (between - between @ gain).sum(axis=0)
        # What two parts tell, whose errors add up, is their parallel sum: (told^-1 + most^-1)^-1.
        parallel = np.linalg.solve(told + most + TINY * identity, most).T
        precision = _symmetric(parallel @ told) + before
        uncertainty = _symmetric(np.linalg.inv(precision))
        mean = uncertainty @ (parallel @ (np.swapaxes(gain, 1, 2) @ seen).sum(axis=0))
        apart = within @ seen + gain @ mean - mean
        lever = gain - identity
        deviations = apart @ np.swapaxes(apart, 1, 2) + within
        deviations = deviations + lever @ uncertainty @ np.swapaxes(lever, 1, 2)
        spread = _symmetric((ASSUMED * own + deviations.sum(axis=0)) / (ASSUMED + len(grams)))
    return mean[:, 0], spread + uncertainty


def smoothness() -> np.ndarray:
    """Return the precision of common weights before any study is seen, `(SIZE, SIZE)`."""
    found, begin = np.eye(SIZE) / LEVEL, 1
    for block, knots in KNOTS.items():
        end = begin + len(knots)
        bend = np.diff(np.eye(len(knots)), n=2, axis=0)
        found[begin:end, begin:end] += bend.T @ bend / BENDS.get(block, USUAL_BEND)
        begin = end
    return found


def _by_block(given: dict[str, float], usual: float) -> np.ndarray:
    """Return a value for each weight, `(SIZE,)`; the intercept has the usual one."""
    blocks = (np.full(len(knots), given.get(block, usual)) for block, knots in KNOTS.items())
    return np.concatenate([[usual], *blocks])


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return np.asarray((matrix + matrix.T) / 2.0)

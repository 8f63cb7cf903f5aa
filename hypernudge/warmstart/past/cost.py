"""What a configuration costs, before it is trained, and what is expected of it for that cost.

Time to a target is counted in cost, and configurations of one space may differ a hundredfold: deep trees,
say. So starts are compared by expected improvement per cost, as Snoek, Larochelle and Adams do (NIPS 2012),
with an exponent on the cost: a declared cost is an upper bound, and measured seconds may grow more slowly.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from hypernudge.random import stream
from hypernudge.task import StatesCost, Task
from hypernudge.warmstart.past.axes import SpaceFeatures

DRAWS = 512  # of the space, from which costs are learned once
RIDGE = 1e-2
ALIKE = 0.01  # standard deviation of log cost over the space below which there is nothing to weigh
TARGET = 1.0  # rank that a start is to exceed, as a normal score: the best sixth of the space


def log_cost_weights(task: Task | StatesCost, features: SpaceFeatures) -> np.ndarray | None:
    """Return weights of features that foretell the logarithm of a unit's cost, `(size,)`.

    None where the task does not state its cost by a formula, or all configurations cost the same.

    Args:
        task: What is tuned.
        features: Of its space.
    """
    if not isinstance(task, StatesCost):
        return None
    units = features.space.draw(stream(0, "cost"), DRAWS)
    stated = np.array([task.stated_flops(features.space.decode(unit)) for unit in units], dtype=float)
    if not (np.isfinite(stated).all() and (stated > 0).all()):
        return None
    cost = np.log(stated)
    if cost.std() < ALIKE:
        return None
    phi = features.of_units(units)
    phi, cost = phi - phi.mean(axis=0), cost - cost.mean()
    found = np.linalg.solve(phi.T @ phi + RIDGE * np.eye(phi.shape[1]), phi.T @ cost)
    return np.asarray(found)


def log_expected_improvement(ahead: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return the logarithm of the expected improvement, `(n,)`.

    Args:
        ahead: Mean minus what is to be improved on, `(n,)`.
        deviation: Standard deviation, `(n,)`.
    """
    z = ahead / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    near = np.log(np.maximum(density + z * ndtr(z), 1e-300))
    away = np.maximum(-z, 6.0)  # where the difference above is lost in rounding: its asymptotic series
    far = -0.5 * (away**2 + math.log(2.0 * math.pi)) + np.log1p((15.0 / away**2 - 3.0) / away**2)
    far -= 2.0 * np.log(away)
    return np.asarray(np.log(deviation) + np.where(z > -6.0, near, far))

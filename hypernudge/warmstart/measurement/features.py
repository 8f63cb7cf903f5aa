"""Features of a configuration for the prior: hat functions of coordinates that mean the same on every task.

The learning rate counts in decades above the probe, weight decay as the shrinkage over a whole training.
A hat function (linear B-spline) is one at its knot and falls linearly to zero at the neighbouring ones;
beyond the outermost knots the outermost hats stay one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernudge.space import Categorical, Config, HyperParameter, SearchSpace
from hypernudge.warmstart.measurement import rates

if TYPE_CHECKING:
    from hypernudge.task import Task

KNOTS: dict[str, tuple[float, ...]] = {
    "rate": (-3.0, -2.0, -1.5, -1.0, -0.7, -0.4, -0.1, 0.2, 0.5, 0.8, 1.2, 2.0),
    "decay": (-4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0),
    "augmentation": (0.0, 0.25, 0.5, 0.75, 1.0),
    "label_smoothing": (0.0, 0.1, 0.2, 0.3),
    "momentum": (0.0, 0.5, 0.8, 0.9, 0.99),
}
"""Knots by block: decades above the probe, log10 of the shrinkage, and three natural values."""

_NATURAL = ("augmentation", "label_smoothing", "momentum")  # blocks of a hyper-parameter's own value
COLUMNS = ("weight_decay", *_NATURAL)  # what enters features beside the rate
SCORED = ("lr", *COLUMNS)
"""The hyper-parameters that enter a feature; of all others a prior knows nothing."""

NAMES = ("intercept", *(f"{block} {knot:g}" for block, knots in KNOTS.items() for knot in knots))
SIZE = len(NAMES)
_TINY = 1e-12
USUAL_STEPS = 100  # of a unit, where nobody knows


def features(task: Task, configs: Sequence[Config], scale: float, steps: float) -> np.ndarray:
    """Return the features of configurations, shape `(len(configs), SIZE)`.

    Args:
        task: Its optimizer says what the effective learning rate is.
        configs: Hyper-parameters that one lacks contribute nothing to its row.
        scale: `log10` of the probe.
        steps: Optimizer steps of the longest training.
    """
    return features_at([rates.log_rate(task, config) for config in configs], configs, scale, steps)


def features_at(
    log_rates: Sequence[float], configs: Sequence[Mapping[str, Any]], scale: float, steps: float
) -> np.ndarray:
    """Return the features of configurations whose effective rates are known, as `features`.

    Args:
        log_rates: `log10` of the effective learning rate of each.
        configs: Hyper-parameters that one lacks contribute nothing to its row.
        scale: `log10` of the probe.
        steps: Optimizer steps of the longest training.
    """
    columns = {name: values_of(config.get(name, np.nan) for config in configs) for name in COLUMNS}
    return features_of(np.array(log_rates, dtype=float), columns, scale, steps)


def features_of(
    log_rates: np.ndarray, columns: Mapping[str, np.ndarray | float], scale: float, steps: float
) -> np.ndarray:
    """Return the features of configurations given as arrays, as `features`, shape `(n, SIZE)`.

    Args:
        log_rates: `log10` of the effective learning rates, `(n,)`.
        columns: Values of `COLUMNS`, each `(n,)` or of all; NaN where there is none.
        scale: `log10` of the probe.
        steps: Optimizer steps of the longest training.
    """
    return dense(*LATTICE.places(coordinates_of(log_rates, columns, scale, steps)))


def coordinates_of(
    log_rates: np.ndarray, columns: Mapping[str, np.ndarray | float], scale: float, steps: float
) -> np.ndarray:
    """Return what lies between knots, shape `(len(KNOTS), n)`; arguments are those of `features_of`."""
    absent = math.nan
    decay = np.log10(np.maximum(columns.get("weight_decay", absent), _TINY) * steps)
    rows = np.empty((len(KNOTS), len(log_rates)))
    rows[0], rows[1] = log_rates - scale, log_rates + decay
    for row, name in zip(rows[2:], _NATURAL, strict=True):
        row[:] = columns.get(name, absent)
    return rows


def coordinates(log_rate: float, values: Sequence[float], scale: float, steps: float) -> list[float]:
    """Return `coordinates_of` of one configuration, to the bit, given its values of `COLUMNS`."""
    decay, *natural = values
    # NumPy's logarithm, as there: that of `math` may differ in the last bit.
    shrinkage = float(np.log10(max(decay, _TINY) * steps)) if decay == decay else math.nan
    return [log_rate - scale, log_rate + shrinkage, *natural]


def dense(left: np.ndarray, rising: np.ndarray) -> np.ndarray:
    """Return features, shape `(n, SIZE)`, from where the coordinates lie: see `Lattice.places`."""
    count = left.shape[1]
    found = np.zeros((count, SIZE + 2))  # the last two columns are those of NaN
    found[:, 0] = 1.0
    at = np.arange(count)
    found[at, left], found[at, left + 1] = 1.0 - rising, rising
    return found[:, :SIZE]


def row(left: Sequence[int], rising: Sequence[float]) -> np.ndarray:
    """Return `dense` of one configuration, `(SIZE,)`, to the bit, given what `Lattice.place` returns."""
    found = [1.0, *[0.0] * (SIZE + 1)]  # the last two are those of NaN
    for at, share in zip(left, rising, strict=True):
        found[at], found[at + 1] = 1.0 - share, share
    return np.array(found[:SIZE])


def score(left: Sequence[int], rising: Sequence[float], weights: np.ndarray) -> float:
    """Return `scores` of one configuration, to the bit, given what `Lattice.place` returns."""
    known, found = weights.tolist(), 0.0
    for at, share in zip(left, rising, strict=True):
        if at < SIZE:  # a NaN counts nothing
            found += known[at] + share * (known[at + 1] - known[at])
    return float(found + known[0])


def scores(left: np.ndarray, rising: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return `dense(left, rising) @ weights`, shape `(n,)`, up to rounding: most features are zero."""
    padded = np.zeros(SIZE + 2)
    padded[:SIZE] = weights
    slopes = padded[1:] - padded[:-1]
    slopes[SIZE - 1 :] = 0.0  # behind the last knot, and of NaN
    found = slopes.take(left)
    found *= rising
    found += padded.take(left)
    total: np.ndarray = np.add.reduce(found)
    total += weights[0]
    return total


def values_of(values: Iterable[Any]) -> np.ndarray:
    """Return values of a hyper-parameter as numbers, `(n,)`: NaN for what is none, zero for None."""
    return np.array([number_of(value) for value in values], dtype=float)


def number_of(value: Any) -> float:
    """Return a value as a number; NaN where it is no number, zero where it is the default by None."""
    try:
        return 0.0 if value is None else float(value)
    except (TypeError, ValueError):
        return math.nan


def scored(space: SearchSpace) -> list[str]:
    """Return the hyper-parameters of a space that enter a feature; a choice among names never does."""
    return [name for name in SCORED if name in space and _is_number(space[name])]


def _is_number(parameter: HyperParameter) -> bool:
    if not isinstance(parameter, Categorical):
        return True
    return not any(math.isnan(number_of(choice)) for choice in parameter.choices)


def steps_of(task: Task, units: int) -> float:
    """Return the optimizer steps of `units` units of training; usual ones where the task does not know."""
    return float(units * getattr(task, "steps_per_unit", USUAL_STEPS))


def hats(values: np.ndarray, knots: tuple[float, ...]) -> np.ndarray:
    """Return the hat functions at `values`, shape `(n, len(knots))`; rows sum to one, or are zero for NaN."""
    left, rising = Lattice((knots,), 0).places(values[None])
    found, at = np.zeros((len(values), len(knots) + 2)), np.arange(len(values))
    found[at, left], found[at, left + 1] = 1.0 - rising, rising
    return found[:, : len(knots)]


class Lattice:
    """Where values lie between the knots of several blocks, all at once.

    Args:
        blocks: Knots of each, ascending, at least two.
        first: Column of the first knot.
    """

    def __init__(self, blocks: Sequence[tuple[float, ...]], first: int) -> None:
        sizes = np.array([len(knots) for knots in blocks])
        self._knots = np.full((len(blocks), sizes.max()), np.inf)
        for row, knots in zip(self._knots, blocks, strict=True):
            row[: len(knots)] = knots
        self._slopes = np.zeros_like(self._knots)
        for row, knots in zip(self._slopes, blocks, strict=True):
            row[: len(knots) - 1] = 1.0 / np.diff(knots)
        self._begins = [int(begin) for begin in first + np.cumsum(sizes) - sizes]
        self._nowhere = first + int(sizes.sum())
        self._lists = [[float(knot) for knot in knots] for knots in blocks]
        self._steps = [row.tolist() for row in self._slopes]

    def places(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the column of the knot to the left, and the share of the one to its right.

        Args:
            values: Of each block, `(len(blocks), n)`; a NaN is in a column behind all others.

        Returns:
            Columns and shares, each `(len(blocks), n)`.
        """
        left, rising = np.empty(values.shape, dtype=np.intp), np.empty(values.shape)
        count = values.shape[1]  # arrays of a block are used again for the next
        at, beyond, passed = np.empty(count), np.empty(count, dtype=bool), np.empty(count, dtype=np.int8)
        for i, (row, knots) in enumerate(zip(values, self._lists, strict=True)):
            np.minimum(np.maximum(row, knots[0], out=at), knots[-1], out=at)
            # Knots are few: comparing with each is quicker than a binary search, whose branches are random.
            passed.fill(0)
            for knot in knots[1:-1]:
                np.add(passed, np.greater_equal(at, knot, out=beyond).view(np.int8), out=passed)
            left[i] = passed
            # As `numpy.interp` does, to the bit: priors and choices made with it stay what they are.
            np.subtract(at, self._knots[i].take(left[i]), out=rising[i])
            rising[i] *= self._slopes[i].take(left[i])
            left[i] += self._begins[i]
        nowhere = np.isnan(values)
        if nowhere.any():
            rising[nowhere], left[nowhere] = 0.0, self._nowhere
        return left, rising

    def place(self, values: Sequence[float]) -> tuple[list[int], list[float]]:
        """Return `places` of one value in each block, to the bit, without the work of arrays."""
        left, rising = [], []
        for value, knots, slopes, begin in zip(values, self._lists, self._steps, self._begins, strict=True):
            at = min(max(value, knots[0]), knots[-1])
            i = min(bisect_right(knots, at) - 1, len(knots) - 2)
            nowhere = value != value
            left.append(self._nowhere if nowhere else begin + i)
            rising.append(0.0 if nowhere else slopes[i] * (at - knots[i]))
        return left, rising


LATTICE = Lattice(tuple(KNOTS.values()), 1)
"""Where the blocks of a configuration lie; the first column is the intercept's."""

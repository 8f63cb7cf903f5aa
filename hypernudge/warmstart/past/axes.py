"""Features of a configuration of any space: one block per hyper-parameter, and products of a few pairs.

A number is described by hat functions of its position in the space's own range, on a logarithmic scale where
the space or a past study has one. Past values outside the range have hats of their own, so that they say
nothing about the inside. A choice is described by an indicator for each of the space's choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hypernudge.parameters import Categorical, HyperParameter, Integer
from hypernudge.space import SearchSpace
from hypernudge.warmstart.measurement.features import hats
from hypernudge.warmstart.past.studies import ABSENT, PastStudy, matches, numbers, stored

KNOTS = 7  # hats inside a range
OUTER = 6  # hats beside it, at most, on each side
COARSE = 3  # hats of a pair, each way
SMOOTHNESS = 0.2  # of a range: how far what is known of one value says something about its neighbours
WIDE = 30.0  # a positive past that spans so large a ratio is taken for logarithmic where nobody says


@dataclass(frozen=True)
class NumberAxis:
    """Hats of a number.

    Attributes:
        name: Of the hyper-parameter in the space.
        log: Whether positions are natural logarithms.
        knots: Positions, ascending.
        inside: Whether each knot lies in the space.
    """

    name: str
    log: bool
    knots: tuple[float, ...]
    inside: tuple[bool, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """First and last position in the space."""
        within = [knot for knot, is_inside in zip(self.knots, self.inside, strict=True) if is_inside]
        return within[0], within[-1]

    def position(self, values: np.ndarray) -> np.ndarray:
        """Return positions of natural values, NaN where there is none, shape `(n,)`."""
        if not self.log:
            return values
        return np.log(np.where(values > 0, values, np.nan))

    def read(self, values: Sequence[Any]) -> np.ndarray:
        """Return positions of recorded values, `(n,)`."""
        return self.position(numbers(values))

    def of_units(self, parameter: HyperParameter, units: np.ndarray) -> np.ndarray:
        """Return positions of coordinates in the unit interval, `(n,)`."""
        if isinstance(parameter, Categorical):
            natural = np.array(parameter.choices, dtype=float)[_indices(parameter, units)]
        elif isinstance(parameter, Integer):
            low, high = parameter._edges()
            natural = np.rint(parameter.unwarp(low + units * (high - low)))
        else:
            natural = np.asarray(parameter.decode(units))
        return self.position(natural)

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """Return the hats, `(n, len(knots))`; a row of zeros where there is no position."""
        return hats(positions, self.knots)

    def coarse(self, positions: np.ndarray) -> np.ndarray:
        """Return a few wide hats, `(n, COARSE)`, zero outside the space."""
        low, high = self.ends
        margin = 1e-9 * max(high - low, 1e-12)
        within = (positions >= low - margin) & (positions <= high + margin)
        found = hats(positions, tuple(np.linspace(low, high, COARSE)))
        return np.asarray(np.where(within[:, None], found, 0.0))

    def covariance(self) -> np.ndarray:
        """Return how alike the weights of knots are, `(len(knots), len(knots))`, one on the diagonal."""
        low, high = self.ends
        place = np.array(self.knots) / max(high - low, 1e-12)
        return np.asarray(np.exp(-0.5 * ((place[:, None] - place) / SMOOTHNESS) ** 2))

    def coarse_size(self) -> int:
        """Return the columns of `coarse`."""
        return COARSE


@dataclass(frozen=True)
class ChoiceAxis:
    """Indicators of the choices of a space.

    Attributes:
        name: Of the hyper-parameter in the space.
        choices: Of the space.
    """

    name: str
    choices: tuple[Any, ...]

    @property
    def inside(self) -> tuple[bool, ...]:
        """All choices are the space's."""
        return (True,) * len(self.choices)

    def read(self, values: Sequence[Any]) -> np.ndarray:
        """Return the number of the choice that each recorded value is, -1 for another, `(n,)`."""
        known: dict[str, int] = {}
        for value in values:
            if repr(value) not in known:
                places = (i for i, choice in enumerate(self.choices) if matches(choice, value))
                known[repr(value)] = next(places, -1)
        return np.array([known[repr(value)] for value in values], dtype=float)

    def of_units(self, parameter: HyperParameter, units: np.ndarray) -> np.ndarray:
        """Return the numbers of the choices at coordinates in the unit interval, `(n,)`."""
        return _indices(parameter, units).astype(float)

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """Return the indicators, `(n, len(choices))`."""
        return np.asarray((positions[:, None] == np.arange(len(self.choices))).astype(float))

    coarse = columns

    def covariance(self) -> np.ndarray:
        """Return the identity: choices are not alike."""
        return np.eye(len(self.choices))

    def coarse_size(self) -> int:
        """Return the columns of `coarse`."""
        return len(self.choices)


Axis = NumberAxis | ChoiceAxis


def _indices(parameter: HyperParameter, units: np.ndarray) -> np.ndarray:
    assert isinstance(parameter, Categorical)  # for the type checker
    count = len(parameter.choices)
    return np.asarray(np.clip(np.floor(units * count), 0, count - 1).astype(int))


def axis_of(parameter: HyperParameter, name: str, studies: Sequence[PastStudy]) -> Axis | None:
    """Return the axis of a hyper-parameter; None where no past study says anything about it.

    Args:
        parameter: Of the space.
        name: What the past calls it.
        studies: The past.
    """
    with_it = [study for study in studies if name in study.columns]
    if not with_it:
        return None
    if isinstance(parameter, Categorical) and not _is_numeric(parameter):
        axis: Axis = ChoiceAxis(parameter.name, parameter.choices)
        known = any((axis.read(study.columns[name]) >= 0).any() for study in with_it)
        return axis if known and len(parameter.choices) > 1 else None
    values = np.concatenate([study.numbers(name) for study in with_it])
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    if isinstance(parameter, Categorical):
        ascending = sorted(float(choice) for choice in parameter.choices)
        low, high, declared = (
            ascending[0],
            ascending[-1],
            ascending[0] > 0 and ascending[-1] / ascending[0] >= 4,
        )
    else:
        ascending = []
        low, high, declared = float(parameter.low), float(parameter.high), parameter.log
    told = any(name in study.log for study in with_it)
    positive = low > 0 and bool((values > 0).any())
    spans = positive and high / low >= WIDE and bool((values > 0).all())
    log = low > 0 and (declared or (positive and (told or spans)))
    if log:
        values = np.log(values[values > 0])
        low, high, ascending = math.log(low), math.log(high), [math.log(v) for v in ascending]
    if not len(values) or not low < high:
        return None
    if 0 < len(ascending) <= KNOTS:
        own = ascending
    elif isinstance(parameter, Integer) and parameter.high - parameter.low < KNOTS:
        whole = np.arange(parameter.low, parameter.high + 1, dtype=float)
        own = [float(v) for v in (np.log(whole) if log else whole)]
    else:
        own = [float(v) for v in np.linspace(low, high, KNOTS)]
    spacing = (high - low) / (KNOTS - 1)
    below = _beside(low, spacing, low - float(values.min()))
    above = _beside(high, spacing, float(values.max()) - high)
    knots = (*[2 * low - knot for knot in reversed(below)], *own, *above)
    inside = (*[False] * len(below), *[True] * len(own), *[False] * len(above))
    return NumberAxis(parameter.name, log, knots, inside)


def _beside(edge: float, spacing: float, reach: float) -> list[float]:
    """Return knots above an edge, as far as past values reach; none where they do not."""
    count = 0 if reach <= 1e-9 * spacing else min(math.ceil(reach / spacing), OUTER)
    return [edge + spacing * (index + 1) for index in range(count)]


def _is_numeric(parameter: Categorical) -> bool:
    """Whether choices are different numbers, so that those between and beside them say something."""
    plain = all(isinstance(c, int | float) and not isinstance(c, bool) for c in parameter.choices)
    return plain and len(parameter.choices) > 1 and all(math.isfinite(c) for c in parameter.choices)


@dataclass(frozen=True)
class SpaceFeatures:
    """Features of the configurations of one space.

    Attributes:
        space: The space.
        axes: One for each hyper-parameter that the past knows.
        past_names: What the past calls each.
        pairs: Places of the axes whose product is a feature too.
    """

    space: SearchSpace
    axes: tuple[Axis, ...]
    past_names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...] = ()

    @property
    def names(self) -> list[str]:
        """Hyper-parameters that have an axis."""
        return [axis.name for axis in self.axes]

    @property
    def inside(self) -> np.ndarray:
        """Whether each feature can be different from zero in the space, `(size,)`."""
        own = [flag for axis in self.axes for flag in axis.inside]
        return np.array(own + [True] * sum(self._pair_size(*pair) for pair in self.pairs))

    def _pair_size(self, i: int, j: int) -> int:
        return self.axes[i].coarse_size() * self.axes[j].coarse_size()

    def of_study(self, study: PastStudy) -> np.ndarray:
        """Return the features of a past study's trials, `(n, size)`."""
        return self._features(self.positions_of(study))

    def of_configs(self, configs: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return the features of configurations of the space, `(n, size)`."""
        return self._features([axis.read(_values(configs, axis.name)) for axis in self.axes])

    def of_units(self, units: np.ndarray) -> np.ndarray:
        """Return the features of points of the unit cube, `(n, len(space))` to `(n, size)`."""
        if any(parameter.only_if is not None for parameter in self.space):
            return self.of_configs([self.space.decode(unit) for unit in units])
        place = {name: index for index, name in enumerate(self.space.names)}
        return self._features(
            [axis.of_units(self.space[axis.name], units[:, place[axis.name]]) for axis in self.axes]
        )

    def _features(self, positions: list[np.ndarray]) -> np.ndarray:
        blocks = [axis.columns(at) for axis, at in zip(self.axes, positions, strict=True)]
        blocks += [self.product(pair, positions) for pair in self.pairs]
        return np.concatenate(blocks, axis=1)

    def product(self, pair: tuple[int, int], positions: list[np.ndarray]) -> np.ndarray:
        """Return the products of two axes' wide hats, `(n, k * l)`."""
        one, other = (self.axes[i].coarse(positions[i]) for i in pair)
        return np.asarray((one[:, :, None] * other[:, None, :]).reshape(len(one), self._pair_size(*pair)))

    def positions_of(self, study: PastStudy) -> list[np.ndarray]:
        """Return where a past study's trials lie on each axis."""
        absent = (ABSENT,) * len(study)
        return [
            axis.read(study.columns.get(name, absent))
            for axis, name in zip(self.axes, self.past_names, strict=True)
        ]

    def covariance(self, single: float, pair: float) -> np.ndarray:
        """Return the covariance of weights that nothing is known of, `(size, size)`.

        Args:
            single: Variance of the weights of an axis.
            pair: Variance of the weights of a pair.
        """
        blocks = [single * axis.covariance() for axis in self.axes]
        blocks += [pair * np.eye(self._pair_size(*of)) for of in self.pairs]
        size = sum(map(len, blocks))
        found, at = np.zeros((size, size)), 0
        for block in blocks:
            found[at : at + len(block), at : at + len(block)] = block
            at += len(block)
        return found


def _values(configs: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [stored(config[name]) if name in config else ABSENT for config in configs]

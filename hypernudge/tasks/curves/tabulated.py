"""Tasks whose learning curves are known beforehand: training looks the next value up.

The file is an npz with `hp` `(n, d)`, `hp_names` `(d,)` and `valid` `(n, T)` losses, NaN where training had
diverged; `test`, of the same shape, is optional.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.parameters import Categorical, HyperParameter, Real
from hypernudge.space import Column, Config, SearchSpace, Value


class TableSpace(SearchSpace):
    """A search space of finitely many configurations: the rows of a table.

    Draws are rows, with replacement; points of the unit cube belong to the nearest row. A column is on a
    logarithmic scale if it is positive and four fifths of it lie in the lower half of its range.
    """

    def __init__(self, names: list[str], values: np.ndarray) -> None:
        super().__init__([_parameter(name, values[:, i]) for i, name in enumerate(names)])
        rows = [Config(dict(zip(names, map(float, row), strict=True))) for row in values]
        encoded = np.array([SearchSpace.encode(self, row) for row in rows])
        # A frozen dataclass holds no further fields; these belong to it all the same.
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "units", encoded)
        object.__setattr__(self, "row_of", {row: index for index, row in reversed(list(enumerate(rows)))})

    rows: list[Config]
    units: np.ndarray
    row_of: dict[Config, int]

    def sample(self, rng: np.random.Generator) -> Config:
        """Draw a row."""
        return self.rows[int(rng.integers(len(self.rows)))]

    def sample_units(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the points of `count` rows, `(count, d)`: as many calls of `sample`."""
        return np.asarray(self.units[[int(rng.integers(len(self.rows))) for _ in range(count)]])

    def columns(self, units: np.ndarray, names: Sequence[str] | None = None) -> dict[str, Column]:
        """Return the natural values of the rows nearest to points `(n, d)`, by hyper-parameter."""
        rows, active = [self.rows[index] for index in self._nearest(units)], np.ones(len(units), dtype=bool)
        wanted = self.names if names is None else names
        return {name: Column(np.array([row[name] for row in rows], dtype=float), active) for name in wanted}

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the coordinates of `count` different rows, or of all if there are no more."""
        some = rng.permutation(len(self.rows))[:count]
        return np.asarray(self.units[some])

    def snap(self, units: np.ndarray) -> np.ndarray:
        """Move points, `(n, d)`, to their nearest rows."""
        return np.asarray(self.units[self._nearest(units)])

    def decode(self, unit: object) -> Config:
        """Return the row nearest to a point `(d,)`."""
        return self.rows[int(self._nearest(np.asarray(unit, dtype=float)[None])[0])]

    def encode(self, config: Mapping[str, Value]) -> np.ndarray:
        """Return the coordinates of a row, `(d,)`."""
        return np.asarray(self.units[self.index(config)])

    def nearest(self, config: Config) -> Config:
        """Return the row nearest to values inside their ranges."""
        return config if config in self.row_of else self.decode(SearchSpace.encode(self, config))

    def index(self, config: Mapping[str, Value]) -> int:
        """Return the number of a row.

        Raises:
            InvalidArgumentError: If the configuration is not in the table.
        """
        known = self.row_of.get(config if isinstance(config, Config) else Config(config))
        if known is None:
            raise InvalidArgumentError(
                f"config: must be a row of the table, but got {dict(config)}; draw it from the task's space"
            )
        return known

    def _nearest(self, units: np.ndarray) -> np.ndarray:
        square = (self.units**2).sum(1) - 2 * units @ self.units.T
        return np.asarray(square.argmin(axis=1))


def _numbers(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Return an array in float64, `()` for one that is not there."""
    array = arrays.get(name, np.array(math.nan))
    rule = f"{name} must hold numbers"
    require(array.dtype.kind in "fiub", "curves", rule, str(array.dtype), "encode choices as numbers")
    return array.astype(float)


def _parameter(name: str, column: np.ndarray) -> HyperParameter:
    low, high = float(column.min()), float(column.max())
    if low == high:
        return Categorical(name, (low,))
    return Real(name, low, high, log=low > 0 and float(np.mean(column < (low + high) / 2)) > 0.8)


@dataclass
class Position:
    """How far a trial is, and which row it follows once that is known."""

    unit: int = 0
    row: int = -1


class Tabulated:
    """A task that looks its scores up: minus the loss.

    Args:
        curves: Path of the npz file.
        label: Name of the task; the file's, if absent.

    Raises:
        InvalidArgumentError: If the file is missing, lacks an array, or its shapes do not fit.
    """

    metric = "negative loss"
    metric_range = (-math.inf, math.inf)

    def __init__(self, curves: str | Path, label: str | None = None) -> None:
        path = Path(curves)
        require(path.is_file(), "curves", "must be an existing npz file", str(path), "check the path")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError) as error:
            raise InvalidArgumentError(
                f"curves: must be an npz file of plain arrays, but got {str(path)!r} ({error}); save it anew"
            ) from None
        for name in ("hp", "hp_names", "valid"):
            known = sorted(arrays)
            require(name in arrays, "curves", f"must hold the array {name!r}", known, "add it to the file")
        hp, valid, test = (_numbers(arrays, name) for name in ("hp", "valid", "test"))
        names = [str(name) for name in arrays["hp_names"].ravel()]
        shapes = {name: arrays[name].shape for name in ("hp", "hp_names", "valid", "test") if name in arrays}
        fits = hp.ndim == valid.ndim == 2 and len(hp) == len(valid) and shapes["hp_names"] == hp.shape[1:]
        rule = "need hp (n, d), hp_names (d,), valid (n, T), all sizes at least 1"
        some = hp.size > 0 and valid.size > 0
        require(fits and some, "curves", rule, shapes, "transpose or cut them")
        require(test.shape in (valid.shape, ()), "curves", "test must be shaped as valid", shapes, "cut it")
        require(len(set(names)) == len(names), "curves", "hp_names must differ", names, "rename one")
        finite = bool(np.isfinite(hp).all())
        require(finite, "curves", "hp must be finite", "NaN or infinity", "leave such rows out")
        self.name = label or path.stem
        self.table = TableSpace(names, hp)
        self.space: SearchSpace = self.table
        self.valid = valid
        self.test = test if test.ndim else np.full_like(valid, math.nan)

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the scores: the table."""
        return {"curves": [self.table.units, self.valid, self.test]}

    @property
    def max_units(self) -> int:
        """Length of the curves."""
        return int(self.valid.shape[1])

    def start(self, seed: int) -> Position:
        """Return the beginning; the table knows one seed only."""
        del seed
        return Position()

    def advance(self, state: Position, hp: Mapping[str, Value]) -> bool:
        """Go on by one unit; return False where the table says NaN.

        Raises:
            InvalidArgumentError: Past the end of the curve.
        """
        longest = self.max_units
        require(state.unit < longest, "max_units", f"curves end at {longest}", state.unit + 1, "lower it")
        state.row = self.table.index(hp)
        state.unit += 1
        return bool(np.isfinite(self.valid[state.row, state.unit - 1]))

    def evaluate(self, state: Position, split: str) -> float:
        """Return minus the loss after the last unit; NaN for a test loss that is not in the file."""
        table = self.valid if split == "validation" else self.test
        return -float(table[state.row, state.unit - 1])

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Return 1: on a clock of 1 FLOP/s, time counts units of training."""
        del hp
        return 1.0

"""Search spaces: configurations, and the map between them and the unit cube."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.parameters import (
    Categorical,
    HyperParameter,
    Integer,
    Real,
    Value,
    hashable,
    parameter_from_spec,
    same,
)

__all__ = [
    "Categorical",
    "Column",
    "Config",
    "HyperParameter",
    "Integer",
    "Real",
    "SearchSpace",
    "Value",
    "parameter_from_spec",
]


class Config(Mapping[str, Value]):
    """A configuration: an immutable, hashable mapping from hyper-parameter names to natural values.

    The value of a choice may be anything, a list or None included.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    # What `Mapping` does in Python, one value at a time; every start asks dozens of times.

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Config):
            return self._values == other._values
        return self._values == dict(other.items()) if isinstance(other, Mapping) else NotImplemented

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of `name`, or `default` where there is none."""
        return self._values.get(name, default)

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self._values.keys()

    def values(self) -> ValuesView[Value]:
        """Return the values."""
        return self._values.values()

    def items(self) -> ItemsView[str, Value]:
        """Return names with values."""
        return self._values.items()

    def __hash__(self) -> int:
        return hash(tuple((name, hashable(self._values[name])) for name in sorted(self._values)))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        return f"Config({inside})"

    def replace(self, **values: Value) -> Config:
        """Return a copy with some values replaced.

        Raises:
            InvalidArgumentError: If a name is not in the configuration.
        """
        for name in values:
            require(name in self._values, name, "must be in the configuration", list(self), "check the name")
        return Config({**self._values, **values})


class Column(NamedTuple):
    """A hyper-parameter's values in many configurations.

    Attributes:
        values: Natural ones, `(n,)`: floats, of a categorical hyper-parameter any objects.
        active: Where it is, `(n,)`; a value where it is not means nothing.
    """

    values: np.ndarray
    active: np.ndarray


@dataclass(frozen=True)
class SearchSpace:
    """An ordered set of hyper-parameters.

    A hyper-parameter with `only_if = (parent, values)` is active only where its parent (which must stand
    before it) takes one of the values; an inactive one is absent from the configuration, and its coordinate
    in the unit cube is .5, so that a surrogate ignores it.

    Args:
        parameters: The hyper-parameters, parents before those that depend on them.

    Raises:
        InvalidArgumentError: If there is none, two have one name, or a parent stands behind.
    """

    parameters: tuple[HyperParameter, ...]
    _by_name: dict[str, HyperParameter] = field(init=False, repr=False, compare=False)
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __init__(self, parameters: Sequence[HyperParameter]) -> None:
        remedy = "SearchSpace([Real('lr', 1e-4, 1.0, log=True)]), say"
        listed = isinstance(parameters, Iterable) and not isinstance(parameters, Mapping | str)
        require(listed, "parameters", "must be a list of hyper-parameters", parameters, remedy)
        parameters = tuple(parameters)  # first: an iterator can be gone through once
        other = [given for given in parameters if not isinstance(given, HyperParameter)]
        require(not other, "parameters", "must be of Real, Integer and Categorical", other, remedy)
        object.__setattr__(self, "parameters", parameters)
        object.__setattr__(self, "_by_name", {parameter.name: parameter for parameter in parameters})
        names = [parameter.name for parameter in parameters]
        object.__setattr__(self, "_names", tuple(names))
        require(len(names) > 0, "parameters", "must not be empty", names, "name at least one")
        require(len(set(names)) == len(names), "parameters", "names must differ", names, "rename one")
        for index, parameter in enumerate(parameters):
            if parameter.only_if is not None:
                known = parameter.only_if[0] in names[:index]
                rule = "only_if must name a hyper-parameter that stands before it"
                require(known, parameter.name, rule, parameter.only_if[0], "reorder the space")

    def __hash__(self) -> int:
        return hash(self.names)  # equal spaces have equal names; a choice need not be hashable

    def __len__(self) -> int:
        return len(self.parameters)

    def __iter__(self) -> Iterator[HyperParameter]:
        return iter(self.parameters)

    def __getitem__(self, name: str) -> HyperParameter:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return self._names

    def middle(self) -> Config:
        """Return the configuration in the middle of the unit cube."""
        return self.decode([0.5] * len(self))

    @property
    def continuous(self) -> tuple[Real, ...]:
        """The continuous hyper-parameters, in order: those a warm start may move."""
        return tuple(parameter for parameter in self.parameters if isinstance(parameter, Real))

    def sample(self, rng: np.random.Generator) -> Config:
        """Draw a configuration by `rng`, uniformly from the unit cube: log-uniformly where the scale is."""
        return self.decode(rng.random(len(self)))

    def sample_units(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw `count` points by `rng`, shape `(count, len(self))`: those of as many calls of `sample`."""
        return rng.random((count, len(self)))

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw the coordinates of `count` configurations by `rng`, shape `(count, len(self))`: see `snap`."""
        return self.snap(rng.random((count, len(self))))

    def snap(self, units: np.ndarray) -> np.ndarray:
        """Move points `units`, shape `(n, len(self))`, to where configurations are: `encode(decode(point))`.

        Whole numbers and choices go to the centres of their shares, inactive coordinates to .5.
        """
        if any(parameter.only_if is not None for parameter in self.parameters):
            return np.array([self.encode(self.decode(unit)) for unit in units]).reshape(units.shape)
        columns = [p.snap(units[:, index]) for index, p in enumerate(self.parameters)]
        return np.stack(columns, axis=1)

    def decode(self, unit: Sequence[float] | np.ndarray) -> Config:
        """Return the configuration at `unit`, shape `(len(self),)`, with what is active there."""
        values: dict[str, Value] = {}
        for parameter, coordinate in zip(self.parameters, unit, strict=True):
            if _active(parameter, values):
                values[parameter.name] = parameter.decode(float(coordinate))
        return Config(values)

    def columns(self, units: np.ndarray, names: Sequence[str] | None = None) -> dict[str, Column]:
        """Return natural values at points `units`, shape `(n, len(self))`, by name: many calls of `decode`.

        Args:
            units: Points of the unit cube.
            names: Which hyper-parameters; all if absent.
        """
        found: dict[str, Column] = {}
        wanted = self.names if names is None else names
        for index, parameter in enumerate(self.parameters):
            if parameter.name in wanted or self._is_parent(parameter.name):
                active = np.ones(len(units), dtype=bool)
                if parameter.only_if is not None:
                    parent, allowed = parameter.only_if
                    alike = [any(same(value, one) for one in allowed) for value in found[parent].values]
                    active = found[parent].active & np.array(alike, dtype=bool)
                found[parameter.name] = Column(parameter.decode_all(units[:, index]), active)
        return {name: found[name] for name in wanted}

    def _is_parent(self, name: str) -> bool:
        return any(p.only_if is not None and p.only_if[0] == name for p in self.parameters)

    def encode(self, config: Mapping[str, Value]) -> np.ndarray:
        """Configuration to the unit cube, shape `(len(self),)`; inactive coordinates are .5."""
        return np.array(
            [p.encode(config[p.name]) if p.name in config else 0.5 for p in self.parameters], dtype=float
        )

    def nearest(self, config: Config) -> Config:
        """Return the configuration of this space that is nearest to values inside their ranges: the same.

        A space that does not hold all of them returns another.
        """
        return config

    def check(self, config: Mapping[str, Value]) -> None:
        """Refuse a configuration that does not hold exactly the active values, each in its range.

        Raises:
            InvalidArgumentError: With the name.
        """
        expected = {p.name: p for p in self.parameters if p.only_if is None or _active(p, config)}
        if config.keys() != expected.keys():
            raise InvalidArgumentError(
                f"config: must hold exactly {sorted(expected)}, but got {sorted(config)}; "
                "add what is missing and drop the rest"
            )
        for name, parameter in expected.items():
            if not parameter.contains(config[name]):  # every start asks: the words are made only then
                require(False, name, f"must lie in {parameter}", config[name], "clip it")


def _active(parameter: HyperParameter, values: Mapping[str, Value]) -> bool:
    if parameter.only_if is None:
        return True
    parent, allowed = parameter.only_if
    return parent in values and any(same(values[parent], value) for value in allowed)

"""Search spaces: named hyper-parameters, and the map between their natural values and the unit cube.

Every hyper-parameter has three coordinates. The *natural* value is what training uses (`lr = 3e-3`). The
*warped* one is its natural logarithm where the scale is logarithmic and the value itself elsewhere; steps of
warm starts are taken there. The *unit* one is the warped value rescaled to [0, 1]; samplers and surrogates
work there. The maps are written so that they accept floats, NumPy arrays and torch tensors alike, and are
differentiable for the last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require

Value = float | int | str | bool
Scalar = Any  # float, numpy array or torch tensor: whatever supports arithmetic


def _log(value: Scalar) -> Scalar:
    """Natural logarithm of a float, an array or a tensor."""
    if isinstance(value, float | int):
        return math.log(value)
    return value.log() if hasattr(value, "log") else np.log(value)


def _exp(value: Scalar) -> Scalar:
    """Exponential of a float, an array or a tensor."""
    if isinstance(value, float | int):
        return math.exp(value)
    return value.exp() if hasattr(value, "exp") else np.exp(value)


@dataclass(frozen=True)
class Real:
    """A continuous hyper-parameter on `[low, high]`, on a linear or logarithmic scale."""

    name: str
    low: float
    high: float
    log: bool = False
    only_if: tuple[str, tuple[Value, ...]] | None = None

    def __post_init__(self) -> None:
        _check_range(self.name, self.low, self.high, self.log)

    @property
    def continuous(self) -> bool:
        """Whether a warm start may move this hyper-parameter."""
        return True

    @property
    def width(self) -> float:
        """Length of the range in warped coordinates."""
        return math.log(self.high / self.low) if self.log else self.high - self.low

    def warp(self, value: Scalar) -> Scalar:
        """Natural to warped."""
        return _log(value) if self.log else value

    def unwarp(self, warped: Scalar) -> Scalar:
        """Warped to natural."""
        return _exp(warped) if self.log else warped

    def slope(self, value: float) -> float:
        """Derivative of the natural value with respect to the warped one, at `value`."""
        return value if self.log else 1.0

    def encode(self, value: Any) -> Any:
        """Natural to unit."""
        return (self.warp(value) - self.warp(self.low)) / self.width

    def decode(self, unit: Scalar) -> Scalar:
        """Unit to natural; floats are kept inside `[low, high]` whatever the rounding."""
        value = self.unwarp(self.warp(self.low) + unit * self.width)
        return self.clip(value) if isinstance(value, float) else value

    def step(self, value: float, change: float) -> float:
        """Return the natural value after moving by `change` in warped coordinates, stopped at the bounds."""
        moved = self.warp(float(value)) + change
        if moved >= self.warp(self.high):  # also keeps a huge step from overflowing
            return self.high
        return self.clip(self.unwarp(max(moved, self.warp(self.low))))

    def clip(self, value: float) -> float:
        """Return the nearest value inside `[low, high]`."""
        return min(max(float(value), self.low), self.high)

    def contains(self, value: object) -> bool:
        """Whether `value` is a number inside the range."""
        return isinstance(value, float | int) and self.low <= value <= self.high


@dataclass(frozen=True)
class Integer:
    """A whole number from `low` to `high`, both included; each owns an equal share of the (warped) range."""

    name: str
    low: int
    high: int
    log: bool = False
    only_if: tuple[str, tuple[Value, ...]] | None = None

    def __post_init__(self) -> None:
        _check_range(self.name, self.low, self.high, self.log)

    @property
    def continuous(self) -> bool:
        """Whether a warm start may move this hyper-parameter."""
        return False

    def _edges(self) -> tuple[float, float]:
        low, high = self.low - 0.5, self.high + 0.5
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def encode(self, value: Any) -> Any:
        """Natural to unit: the centre of the value's share."""
        low, high = self._edges()
        return ((math.log(value) if self.log else value) - low) / (high - low)

    def decode(self, unit: Scalar) -> int:
        """Unit to natural."""
        low, high = self._edges()
        position = low + float(unit) * (high - low)
        return min(max(round(math.exp(position) if self.log else position), self.low), self.high)

    def contains(self, value: object) -> bool:
        """Whether `value` is a whole number inside the range."""
        return isinstance(value, int) and self.low <= value <= self.high


@dataclass(frozen=True)
class Categorical:
    """One of a few unordered choices; each owns an equal share of the unit interval."""

    name: str
    choices: tuple[Value, ...]
    only_if: tuple[str, tuple[Value, ...]] | None = None

    def __post_init__(self) -> None:
        require(len(self.choices) > 0, self.name, "choices must not be empty", self.choices, "list one")
        unique = len(set(map(repr, self.choices))) == len(self.choices)
        require(unique, self.name, "choices must differ", self.choices, "remove the duplicates")

    @property
    def continuous(self) -> bool:
        """Whether a warm start may move this hyper-parameter."""
        return False

    def encode(self, value: Any) -> Any:
        """Natural to unit: the centre of the choice's share."""
        return (self.choices.index(value) + 0.5) / len(self.choices)

    def decode(self, unit: Scalar) -> Value:
        """Unit to natural."""
        return self.choices[min(int(float(unit) * len(self.choices)), len(self.choices) - 1)]

    def contains(self, value: object) -> bool:
        """Whether `value` is one of the choices."""
        return value in self.choices


HyperParameter = Real | Integer | Categorical


def _check_range(name: str, low: float, high: float, log: bool) -> None:
    finite = math.isfinite(low) and math.isfinite(high)
    require(finite, name, "low and high must be finite", (low, high), "give two numbers")
    require(low < high, name, "low must be below high", (low, high), "swap or widen the range")
    require(not log or low > 0, name, "a logarithmic range must start above 0", low, "raise low")


class Config(Mapping[str, Value]):
    """A configuration: an immutable, hashable mapping from hyper-parameter names to natural values."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._values.items())))

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


@dataclass(frozen=True)
class SearchSpace:
    """An ordered set of hyper-parameters.

    A hyper-parameter with `only_if = (parent, values)` is active only where its parent (which must stand
    before it) takes one of the values; an inactive one is absent from the configuration, and its coordinate
    in the unit cube is .5, so that a surrogate ignores it.
    """

    parameters: tuple[HyperParameter, ...]
    _by_name: dict[str, HyperParameter] = field(init=False, repr=False, compare=False)

    def __init__(self, parameters: Sequence[HyperParameter]) -> None:
        object.__setattr__(self, "parameters", tuple(parameters))
        object.__setattr__(self, "_by_name", {parameter.name: parameter for parameter in parameters})
        names = [parameter.name for parameter in parameters]
        require(len(names) > 0, "parameters", "must not be empty", names, "name at least one")
        require(len(set(names)) == len(names), "parameters", "names must differ", names, "rename one")
        for index, parameter in enumerate(parameters):
            if parameter.only_if is not None:
                known = parameter.only_if[0] in names[:index]
                rule = "only_if must name a hyper-parameter that stands before it"
                require(known, parameter.name, rule, parameter.only_if[0], "reorder the space")

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
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def continuous(self) -> tuple[Real, ...]:
        """The continuous hyper-parameters, in order: those a warm start may move."""
        return tuple(parameter for parameter in self.parameters if isinstance(parameter, Real))

    def sample(self, rng: np.random.Generator) -> Config:
        """Draw a configuration uniformly from the unit cube (so log-uniformly on logarithmic scales)."""
        return self.decode(rng.random(len(self)))

    def decode(self, unit: Sequence[float] | np.ndarray) -> Config:
        """Unit cube, shape `(len(self),)`, to a configuration of active hyper-parameters."""
        values: dict[str, Value] = {}
        for parameter, coordinate in zip(self.parameters, unit, strict=True):
            if _active(parameter, values):
                values[parameter.name] = parameter.decode(float(coordinate))
        return Config(values)

    def encode(self, config: Mapping[str, Value]) -> np.ndarray:
        """Configuration to the unit cube, shape `(len(self),)`; inactive coordinates are .5."""
        return np.array(
            [p.encode(config[p.name]) if p.name in config else 0.5 for p in self.parameters], dtype=float
        )

    def check(self, config: Mapping[str, Value]) -> None:
        """Raise `InvalidArgumentError` unless `config` holds exactly the active values, each in its range."""
        expected = {p.name for p in self.parameters if _active(p, config)}
        if set(config) != expected:
            raise InvalidArgumentError(
                f"config: must hold exactly {sorted(expected)}, but got {sorted(config)}; "
                "add what is missing and drop the rest"
            )
        for name in expected:
            parameter = self._by_name[name]
            require(
                parameter.contains(config[name]), name, f"must lie in {parameter}", config[name], "clip it"
            )


def _active(parameter: HyperParameter, values: Mapping[str, Value]) -> bool:
    if parameter.only_if is None:
        return True
    parent, allowed = parameter.only_if
    return parent in values and values[parent] in allowed


def parameter_from_spec(name: str, spec: Mapping[str, Any]) -> HyperParameter:
    """Build a hyper-parameter from its description in YAML.

    `{low: 1e-4, high: 1, log: true}` is continuous, `{low: 1, high: 8, integer: true}` whole,
    `{choices: [a, b]}` categorical; `only_if: {parent: [values]}` makes any of them conditional.

    Raises:
        InvalidArgumentError: If keys are missing or unknown, or the range is upside down.
    """
    known = {"low", "high", "log", "integer", "choices", "only_if"}
    unknown = sorted(set(spec) - known)
    require(not unknown, f"space.{name}", f"keys must be among {sorted(known)}", unknown, "remove them")
    condition = spec.get("only_if")
    only_if = None
    if condition:
        parent, values = next(iter(condition.items()))
        only_if = (str(parent), tuple(values))
    if "choices" in spec:
        return Categorical(name, tuple(spec["choices"]), only_if)
    given = "low" in spec and "high" in spec
    require(given, f"space.{name}", "needs low and high, or choices", dict(spec), "add them")
    try:
        if spec.get("integer", False):
            return Integer(name, int(spec["low"]), int(spec["high"]), bool(spec.get("log", False)), only_if)
        return Real(name, float(spec["low"]), float(spec["high"]), bool(spec.get("log", False)), only_if)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"space.{error}") from None

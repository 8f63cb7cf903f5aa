"""Hyper-parameters: the map between natural values, warped values and the unit interval.

Every hyper-parameter has three coordinates. The *natural* value is what training uses (`lr = 3e-3`). The
*warped* one is its natural logarithm where the scale is logarithmic and the value itself elsewhere; steps of
warm starts are taken there. The *unit* one is the warped value rescaled to [0, 1]; samplers and surrogates
work there. The maps are written so that they accept floats, NumPy arrays and torch tensors alike, and are
differentiable for the last.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from hypernudge.errors import (
    LARGEST,
    InvalidArgumentError,
    is_real,
    require,
    require_flag,
    require_real,
    require_whole,
)

Value = float | int | str | bool  # a choice may be anything
Scalar = Any  # float, numpy array or torch tensor: whatever supports arithmetic
Condition = tuple[str, tuple[Value, ...]]  # active only where this parent takes one of these values


def same(a: object, b: object) -> bool:
    """Whether two values of a hyper-parameter are the same; any kind of value, NaN and arrays included."""
    if a is b:
        return True
    try:
        return bool(a == b) or (a != a and b != b)
    except (ValueError, RuntimeError, TypeError):  # arrays and tensors compare element by element
        return type(a) is type(b) and np.array_equal(np.asarray(a), np.asarray(b))


def hashable(value: object) -> Hashable:
    """Return a stand-in for a value that can be a key: the value itself, if it can be one."""
    if isinstance(value, Mapping):
        return "mapping", frozenset((key, hashable(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(hashable, value))
    try:
        hash(value)
    except TypeError:
        return type(value).__name__, id(value)
    return value


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


def check_header(name: object, only_if: object) -> None:
    """Refuse a name that is no text, and a condition that is not `(parent, values)`.

    Raises:
        InvalidArgumentError: Naming `name`, or the hyper-parameter.
    """
    require(isinstance(name, str) and name != "", "name", "must be text", name, "'lr', say")
    if only_if is not None:
        pair = _is_listed(only_if) and len(only_if) == 2  # type: ignore[arg-type]
        ok = pair and isinstance(only_if[0], str) and _is_listed(only_if[1])  # type: ignore[index]
        rule = "only_if must be (parent, values)"
        require(ok, str(name), rule, only_if, "('optimizer', ('sgd',)), say")


def _is_listed(values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str)


@dataclass(frozen=True)
class _Numeric:
    """What continuous and whole hyper-parameters share: a range, and the scale on which it is even."""

    name: str
    low: float
    high: float
    log: bool = False
    only_if: Condition | None = None

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        check_header(self.name, self.only_if)
        require_flag(f"{self.name}.log", self.log)
        finite = is_real(low) and is_real(high) and math.isfinite(float(high) - float(low))
        require(finite, self.name, "low and high must be finite numbers", (low, high), "give two numbers")
        require(low < high, self.name, "low must be below high", (low, high), "swap or widen the range")
        rule = "a logarithmic range must start above 0"
        require(not self.log or low > 0, self.name, rule, low, "raise low")
        for end in ("low", "high"):
            object.__setattr__(self, end, self._plain(getattr(self, end)))

    def _plain(self, bound: Any) -> Any:
        """Return a bound as a number of Python: NumPy's would pass their precision on to every value."""
        return bound if type(bound) in (int, float) else float(bound)

    def warp(self, value: Scalar) -> Scalar:
        """Natural to warped."""
        return _log(value) if self.log else value

    def unwarp(self, warped: Scalar) -> Scalar:
        """Warped to natural."""
        return _exp(warped) if self.log else warped


@dataclass(frozen=True)
class Real(_Numeric):
    """A continuous hyper-parameter on `[low, high]`, on a linear or logarithmic scale.

    Args:
        name: How configurations name it.
        low: Smallest value.
        high: Largest value.
        log: Whether the scale is logarithmic.
        only_if: `(parent, values)`: it is active only where an earlier hyper-parameter has one of the values.

    Raises:
        InvalidArgumentError: For a range that is empty, not finite, or logarithmic and not above 0.
    """

    continuous: ClassVar[bool] = True  # a warm start may move it

    @property
    def width(self) -> float:
        """Length of the range in warped coordinates."""
        return math.log(self.high / self.low) if self.log else self.high - self.low

    def slope(self, value: float) -> float:
        """Derivative of the natural value with respect to the warped one, at `value`."""
        return value if self.log else 1.0

    def encode(self, value: Any) -> Any:
        """Return the unit coordinate of a natural `value`."""
        return (self.warp(value) - self.warp(self.low)) / self.width

    def decode(self, unit: Scalar) -> Scalar:
        """Return the natural value of `unit`; floats are kept inside `[low, high]` whatever the rounding."""
        if type(unit) is float:  # the formula below, to the bit; every start decodes a draw
            log, low, high = self.log, self.low, self.high
            value = (
                math.exp(math.log(low) + unit * math.log(high / low)) if log else low + unit * (high - low)
            )
            return min(max(float(value), low), high)
        value = self.unwarp(self.warp(self.low) + unit * self.width)
        return self.clip(value) if isinstance(value, float) else value

    def decode_all(self, units: np.ndarray) -> np.ndarray:
        """Return the natural values of coordinates `units`, any shape."""
        return np.asarray(np.clip(self.decode(units), self.low, self.high))

    def snap(self, unit: np.ndarray) -> np.ndarray:
        """Return `unit`, any shape: every point of the unit interval is a value."""
        return unit

    def step(self, value: float, change: float) -> float:
        """Return the natural value after moving by `change` in warped coordinates, stopped at the bounds."""
        moved = self.warp(float(value)) + change
        if moved >= self.warp(self.high):  # also keeps a huge step from overflowing
            return self.high
        return self.clip(self.unwarp(max(moved, self.warp(self.low))))

    def clip(self, value: float) -> float:
        """Return the nearest value inside `[low, high]`."""
        return min(max(float(value), self.low), self.high)

    def contains(self, value: Any) -> bool:
        """Whether `value` is a number inside the range."""
        number = type(value) is float or isinstance(value, numbers.Real)  # asking an abstract class is slow
        return number and bool(self.low <= value <= self.high)


@dataclass(frozen=True)
class Integer(_Numeric):
    """A whole number from `low` to `high`, both included; each owns an equal share of the (warped) range.

    Args:
        name: How configurations name it.
        low: Smallest value.
        high: Largest value.
        log: Whether the scale is logarithmic.
        only_if: `(parent, values)`: it is active only where an earlier hyper-parameter has one of the values.

    Raises:
        InvalidArgumentError: For a range that is empty, not finite, or logarithmic and not above 0.
    """

    continuous: ClassVar[bool] = False
    low: int
    high: int

    def _plain(self, bound: Any) -> Any:
        rule = "low and high must be whole numbers"
        require(float(bound).is_integer(), self.name, rule, bound, "round it, or use Real")
        whole = int(bound)
        require(abs(whole) <= LARGEST, self.name, "low and high must lie within 2**63", bound, "use Real")
        return whole

    def _edges(self) -> tuple[float, float]:
        return self.warp(self.low - 0.5), self.warp(self.high + 0.5)

    def encode(self, value: Any) -> Any:
        """Return the unit coordinate of `value`: the centre of its share."""
        low, high = self._edges()
        return (self.warp(value) - low) / (high - low)

    def decode(self, unit: Scalar) -> int:
        """Return the natural value of a coordinate `unit`."""
        low, high = self._edges()
        value: float = self.unwarp(low + float(unit) * (high - low))
        return min(max(round(value), self.low), self.high)

    def decode_all(self, units: np.ndarray) -> np.ndarray:
        """Return the natural values of coordinates `units`, any shape, as floats."""
        low, high = self._edges()
        return np.asarray(np.clip(np.rint(self.unwarp(low + units * (high - low))), self.low, self.high))

    def snap(self, unit: np.ndarray) -> np.ndarray:
        """Move unit coordinates, any shape, to the centres of the shares they lie in."""
        low, high = self._edges()
        return np.asarray((self.warp(self.decode_all(unit)) - low) / (high - low))

    def contains(self, value: Any) -> bool:
        """Whether `value` is a whole number inside the range."""
        whole = isinstance(value, numbers.Integral)
        return whole and bool(self.low <= value <= self.high)


@dataclass(frozen=True, eq=False)
class Categorical:
    """One of a few unordered choices; each owns an equal share of the unit interval.

    Args:
        name: How configurations name it.
        choices: Any values: numbers, names, None, lists, mappings, classes.
        only_if: `(parent, values)`: it is active only where an earlier hyper-parameter has one of the values.

    Raises:
        InvalidArgumentError: If there is no choice, or two are alike.
    """

    name: str
    choices: tuple[Any, ...]
    only_if: Condition | None = None
    continuous: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_header(self.name, self.only_if)
        rule = "choices must be a list or a tuple"
        require(_is_listed(self.choices), self.name, rule, self.choices, "write (a, b)")
        require(len(self.choices) > 0, self.name, "choices must not be empty", self.choices, "list one")
        unique = len(set(map(repr, self.choices))) == len(self.choices)
        require(unique, self.name, "choices must differ", self.choices, "remove the duplicates")
        for choice in self.choices:
            fits = not isinstance(choice, int) or abs(choice) <= LARGEST
            rule = "choices that are whole numbers must lie within 2**63"
            require(fits, self.name, rule, choice, "write it as text, or as a float")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Categorical):
            return NotImplemented
        alike = (self.name, self.only_if) == (other.name, other.only_if)
        return (
            alike and len(self.choices) == len(other.choices) and all(map(same, self.choices, other.choices))
        )

    def __hash__(self) -> int:
        return hash((self.name, len(self.choices)))

    def index(self, value: object) -> int:
        """Return a choice's position: that very object, else one of its type and value, else of its value.

        Raises:
            ValueError: If it is not among the choices.
        """
        for index, choice in enumerate(self.choices):
            if choice is value:
                return index
        equal = [index for index, choice in enumerate(self.choices) if same(choice, value)]
        if not equal:
            raise ValueError(f"{self.name}: {value!r} is none of the choices {self.choices}")
        return next((i for i in equal if type(self.choices[i]) is type(value)), equal[0])

    def encode(self, value: Any) -> Any:
        """Return the unit coordinate of a choice `value`: the centre of its share."""
        return (self.index(value) + 0.5) / len(self.choices)

    def decode(self, unit: Scalar) -> Any:
        """Return the natural value of a coordinate `unit`."""
        return self.choices[min(int(float(unit) * len(self.choices)), len(self.choices) - 1)]

    def decode_all(self, units: np.ndarray) -> np.ndarray:
        """Return the natural values of coordinates `units`, any shape, as objects."""
        choices = np.empty(len(self.choices), dtype=object)
        for index, choice in enumerate(self.choices):  # one by one: a choice may be a list
            choices[index] = choice
        return np.asarray(choices[np.minimum((units * len(choices)).astype(int), len(choices) - 1)])

    def snap(self, unit: np.ndarray) -> np.ndarray:
        """Move unit coordinates, any shape, to the centres of the shares they lie in."""
        count = len(self.choices)
        return np.asarray((np.minimum(np.floor(unit * count), count - 1) + 0.5) / count)

    def contains(self, value: object) -> bool:
        """Whether `value` is one of the choices."""
        return any(same(choice, value) for choice in self.choices)


HyperParameter = Real | Integer | Categorical


def parameter_from_spec(name: str, spec: Mapping[str, Any]) -> HyperParameter:
    """Build a hyper-parameter from its description in YAML.

    `{low: 1e-4, high: 1, log: true}` is continuous, `{low: 1, high: 8, integer: true}` whole,
    `{choices: [a, b]}` categorical; `only_if: {parent: [values]}` makes any of them conditional.

    Raises:
        InvalidArgumentError: If keys are missing or unknown, or the range is upside down.
    """
    require(isinstance(name, str), "space", "names must be text", name, "quote it")
    where = f"space.{name}"
    require(isinstance(spec, Mapping), where, "must be {low, high} or {choices}", spec, "correct it")
    known = {"low", "high", "log", "integer", "choices", "only_if"}
    unknown = sorted(set(map(str, spec)) - known)
    require(not unknown, where, f"keys must be among {sorted(known)}", unknown, "remove them")
    only_if = _condition(where, spec["only_if"]) if "only_if" in spec else None
    if "choices" in spec:
        both = sorted(set(spec) - {"choices", "only_if"})
        require(not both, where, "choices need no range", both, "remove one of the two")
        return Categorical(name, _choices(f"{where}.choices", spec["choices"]), only_if)
    given = "low" in spec and "high" in spec
    require(given, where, "needs low and high, or choices", dict(spec), "add them")
    for option in ("log", "integer"):
        require_flag(f"{where}.{option}", spec.get(option, False))
    log, low, high = spec.get("log", False), spec["low"], spec["high"]
    try:
        if spec.get("integer", False):
            for end in ("low", "high"):
                require_whole(f"{name}.{end}", spec[end], -(2**53), 2**53)
            return Integer(name, int(low), int(high), log, only_if)
        for end in ("low", "high"):
            require_real(f"{name}.{end}", spec[end])
        return Real(name, float(low), float(high), log, only_if)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"space.{error}") from None


def _condition(where: str, given: Any) -> Condition:
    ok = isinstance(given, Mapping) and len(given) == 1 and all(isinstance(key, str) for key in given)
    require(ok, f"{where}.only_if", "must be {parent: [values]}, one parent", given, "correct it")
    ((parent, values),) = given.items()
    return parent, _choices(f"{where}.only_if.{parent}", values)


def _choices(where: str, given: Any) -> tuple[Any, ...]:
    listed = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
    require(listed, where, "must be a list of at least one value", given, "list one")
    choices = tuple(given)
    odd = [c for c in choices if isinstance(c, float) and not is_real(c)]
    require(not odd, where, "must not hold NaN or infinity", odd, "correct them")
    twice = [a for i, a in enumerate(choices) if any(same(a, b) for b in choices[:i])]
    require(not twice, where, "must differ", twice, "remove the duplicates")
    return choices

"""A search space as another tool declares it, and the values of its choices as plain data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypernudge.errors import require
from hypernudge.parameters import same
from hypernudge.space import Categorical, HyperParameter, Integer, Real, Value


@dataclass
class ExternalSpace:
    """A search space as another tool declares it, under that tool's own names.

    What a warm start can make nothing of (an unbounded normal, a function) is left out, and passes through.
    """

    parameters: dict[str, HyperParameter] = field(default_factory=dict)
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)  # the allowed ones, where few are

    def real(self, name: str, low: float, high: float, log: bool = False) -> None:
        """Add a continuous hyper-parameter; a range of one value is a constant and is left out."""
        if low < high:
            self.parameters[name] = Real(name, float(low), float(high), log)

    def whole(self, name: str, low: int, high: int, log: bool = False, values: Sequence[int] = ()) -> None:
        """Add an integer, both bounds included, of which only `values` are allowed if there are some."""
        if low < high:
            self.parameters[name] = Integer(name, int(low), int(high), log)
            if values:
                self.values[name] = tuple(values)

    def choice(self, name: str, choices: Sequence[Any]) -> None:
        """Add a categorical one; a choice that is listed several times, to be drawn more often, is one."""
        different: list[Any] = []
        for choice in map(native, choices):
            if not any(repr(known) == repr(choice) and same(known, choice) for known in different):
                different.append(choice)
        if len(different) > 1:
            self.parameters[name] = Categorical(name, tuple(different))

    def stepped(self, name: str, low: float, high: float, step: float) -> None:
        """Add a continuous one of which only every `step` from `low` is allowed."""
        count = math.floor((high - low) / step + 1e-9)
        self.listed(name, tuple(low + index * step for index in range(count + 1)))

    def listed(self, name: str, values: Sequence[float], log: bool = False) -> None:
        """Add a continuous one of which only `values`, ascending, are allowed."""
        self.real(name, values[0], values[-1], log)
        self.values[name] = tuple(values)

    def snapped(self, name: str, value: Value) -> Value:
        """Return the nearest allowed value."""
        parameter = self.parameters[name]
        if isinstance(parameter, Categorical) or not isinstance(value, int | float):
            return value
        if isinstance(parameter, Real):
            value = parameter.clip(float(value))
        allowed = self.values.get(name)
        if allowed is None:
            return value
        return min(allowed, key=lambda option: abs(parameter.warp(option) - parameter.warp(value)))

    def own(self, name: str, value: Any) -> Any:
        """Return a value as this space holds it: of equal choices, the declared one."""
        value, parameter = native(value), self.parameters[name]
        if isinstance(parameter, Categorical) and parameter.contains(value):
            return parameter.choices[parameter.index(value)]
        return value

    def held(self, values: Mapping[str, Any]) -> ExternalSpace:
        """Return the space in which each of `values` is the only choice of its name."""
        fixed = {n: Categorical(n, (native(v),)) for n, v in values.items() if n in self.parameters}
        return dataclasses.replace(self, parameters={**self.parameters, **fixed})


def check_mapping(argument: str, space: object, of: str, remedy: str) -> None:
    """Refuse a declaration that is no mapping of names.

    Raises:
        InvalidArgumentError: Naming the argument.
    """
    require(isinstance(space, Mapping), argument, f"must map names to {of}", space, remedy)


def check_not_empty(argument: str, space: object, found: ExternalSpace, remedy: str) -> None:
    """Refuse a declaration in which a warm start finds nothing with bounds or choices.

    Raises:
        InvalidArgumentError: Naming the argument.
    """
    rule = "must declare something with bounds or choices"
    require(bool(found.parameters), argument, rule, space, remedy)


def check_space(argument: str, given: ExternalSpace, searched: ExternalSpace) -> None:
    """Refuse a space that is not the one that a tool searches: what is nudged would lie outside of it.

    Args:
        argument: The argument's name.
        given: What the warm start was given.
        searched: What the tool's scheduler or optimizer holds.

    Raises:
        InvalidArgumentError: For the first hyper-parameter that differs, or that the tool does not know.
    """
    for name, parameter in given.parameters.items():
        other = searched.parameters.get(name)
        rule = f"must be the space that is searched, which has {other or f'no {name!r}'}"
        if isinstance(parameter, Categorical) and isinstance(other, Categorical):  # in any order
            alike = len(other.choices) == len(parameter.choices) and all(
                map(other.contains, parameter.choices)
            )
        else:
            alike = other == parameter and given.values.get(name) == searched.values.get(name)
        require(alike, f"{argument}.{name}", rule, parameter, "give both the same space")


def native(value: Any) -> Any:
    """Return NumPy's scalars as Python's, anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; what it cannot is told by its representation."""
    value = native(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return repr(value)


def recovered(value: Any, parameter: HyperParameter | None) -> Any:
    """Return the value that `plain` was made from: the choice that is written like it, else itself."""
    if not isinstance(parameter, Categorical):
        return value
    alike = [choice for choice in parameter.choices if same(plain(choice), value)]
    return next((choice for choice in alike if type(choice) is type(value)), alike[0]) if alike else value

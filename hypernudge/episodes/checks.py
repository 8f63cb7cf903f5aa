"""Argument checks: every refusal is one line that names the argument, the rule, the value and the remedy."""

import difflib
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, shown
from hypernudge.errors import refuse as refuse  # asked for as `checks.refuse`

SEED_LIMIT = 1 << 63


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of `allowed`.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, str) or value not in allowed:
        options = ", ".join(repr(option) for option in allowed)
        near = difflib.get_close_matches(str(value), allowed, n=1)
        refuse(name, f"must be one of {options}", value, f"pass {(near or list(allowed))[0]!r}")
    return value


def flag(name: str, value: Any, *, optional: bool = False) -> Any:
    """Return `value` if it is True or False, or None where that is allowed.

    Raises:
        ValueError: It is not.
    """
    if not (isinstance(value, bool) or (optional and value is None)):
        rule = "must be True, False or None" if optional else "must be True or False"
        refuse(name, rule, value, "pass one of them")
    return value


def at_least(name: str, value: Any, bound: int) -> int:
    """Return `value` as an int if it is a whole number of at least `bound`.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        refuse(name, "must be a whole number", value, f"pass an int of at least {bound}")
    if value < bound:
        refuse(name, f"must be at least {bound}", value, "pass a larger number")
    return int(value)


def number(name: str, value: Any, *, infinite: bool = False, not_a_number: bool = False) -> float:
    """Return `value` as a plain number if it is one: finite, or infinite or NaN where that is allowed.

    Raises:
        ValueError: It is not.
    """
    given: Any = _alone(value)
    if isinstance(given, bool) or not isinstance(given, numbers.Real):
        refuse(name, "must be a number", value, "pass an int or a float")
    try:
        found = float(given)
    except OverflowError:
        refuse(name, "must fit a float", value, "pass a smaller number")
    if not_a_number:
        return found
    if math.isnan(found) or (not infinite and math.isinf(found)):
        refuse(name, "must not be NaN" if infinite else "must be finite", value, "pass a finite number")
    # Plain types only: NumPy's scalars would not load from a checkpoint with weights_only=True.
    return value if type(value) in (int, float) else found


def _alone(value: Any) -> Any:
    """Return the number in an array without dimensions, which a loss may be; anything else as it is."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def positive(name: str, value: Any) -> float:
    """Return `value` if it is a finite number above zero.

    Raises:
        ValueError: It is not.
    """
    found = number(name, value)
    if found <= 0:
        refuse(name, "must be above 0", value, "pass a positive number")
    return found


def not_negative(name: str, value: Any) -> float:
    """Return `value` if it is a finite number of zero or above.

    Raises:
        ValueError: It is not.
    """
    found = number(name, value)
    if found < 0:
        refuse(name, "must be 0 or above", value, "pass 0 to switch it off")
    return found


def in_unit_interval(name: str, value: Any) -> float:
    """Return `value` if it is a number with `0 < value <= 1`.

    Raises:
        ValueError: It is not.
    """
    found = number(name, value)
    if not 0 < found <= 1:
        refuse(name, "must lie in (0, 1]", value, "pass a fraction")
    return found


def ordered(low_name: str, low: Any, high_name: str, high: Any) -> tuple[float, float]:
    """Return both ends of a range, each a number or infinite, the lower first.

    Raises:
        ValueError: One is no number, or they are the wrong way round.
    """
    low, high = number(low_name, low, infinite=True), number(high_name, high, infinite=True)
    if low > high:
        refuse(low_name, f"must be at most {high_name} ({high!r})", low, "swap them")
    return low, high


def seed(value: Any, *, name: str = "seed", limit: int = SEED_LIMIT) -> int | None:
    """Return `value` if it is None or a whole number in `[0, limit)`.

    Raises:
        ValueError: It is not.
    """
    if value is None:
        return None
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or not 0 <= value < limit:
        rule = f"must be None or a whole number from 0 to 2**{limit.bit_length() - 1} - 1"
        refuse(name, rule, value, "pass for example 0")
    return int(value)


def whole_seed(value: Any, *, name: str = "seed") -> int:
    """Return `value` if it is a seed other than None.

    Raises:
        ValueError: It is not.
    """
    found = seed(value, name=name)
    if found is None:
        refuse(name, "must be a whole number", value, "pass for example 0")
    return found


def finite(name: str, value: float) -> float:
    """Return `value` if it is neither infinite nor NaN.

    Raises:
        ValueError: It is not finite.
    """
    if not math.isfinite(value):
        refuse(name, "must be finite", value, "check the loss for overflow")
    return value


def candidates(name: str, values: Any, allowed: Callable[[float], bool], rule: str) -> tuple[float, ...]:
    """Return the candidates of an axis as floats.

    Args:
        name: Argument name for the message.
        values: The candidates: a list, tuple or array of numbers.
        allowed: Whether a finite number may be a candidate.
        rule: What `allowed` demands, for the message; continues "must all be".

    Raises:
        ValueError: It is no list of numbers, or is empty, or a value is out of range.
    """
    unordered = isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__getitem__")
    if unordered or not hasattr(values, "__len__") or getattr(values, "ndim", 1) != 1:
        refuse(name, "must be a list of numbers", values, "write for example [0.5, 1, 2]")
    if len(values) == 0:
        refuse(name, "must not be empty", values, "a single neutral candidate switches the axis off")
    found: list[float] = []
    for value in values:
        plain = float(number(name, value))
        if not allowed(plain):
            refuse(name, f"must all be {rule}", value, f"correct it in {shown(list(values))}")
        found.append(plain)
    return tuple(found)


def instance_with(name: str, value: Any, members: Iterable[str], remedy: str) -> Any:
    """Return `value` if it is an instance, not a class, and has the members of a protocol.

    Raises:
        ValueError: It is not.
    """
    if isinstance(value, type):
        refuse(name, "must be an instance, not a class", value, remedy)
    lacking = [member for member in members if not hasattr(value, member)]
    if lacking:
        refuse(name, f"must have {', '.join(lacking)}", value, remedy)
    return value


def label(name: str, value: Any, remedy: str) -> str:
    """Return `value` if it is a string that is not empty.

    Raises:
        ValueError: It is not.
    """
    if not isinstance(value, str) or not value:
        refuse(name, "must not be empty" if value == "" else "must be a string", value, remedy)
    return value


def function(name: str, value: Any, remedy: str) -> None:
    """Refuse what cannot be called.

    Raises:
        ValueError: It is not callable.
    """
    if not callable(value):
        refuse(name, "must be callable", value, remedy)


def state(value: Any, keys: Iterable[str], name: str) -> dict[str, Any]:
    """Return `value` if it is a state of exactly the keys `keys`.

    Raises:
        ValueError: It is not; the keys that lack or are unknown are named.
    """
    remedy = "load what state_dict() of the same version returned"
    if not isinstance(value, Mapping):
        refuse(name, "must be a dict from state_dict()", value, remedy)
    expected = set(keys)
    for rule, found in (("lacks", expected - set(value)), ("has unknown", set(value) - expected)):
        if found:
            raise InvalidArgumentError(f"{name}: {rule} {shown(sorted(map(str, found)))}; {remedy}")
    return dict(value)


def state_list(name: str, value: Any, length: int, kind: type | tuple[type, ...] = (int, float)) -> list[Any]:
    """Return `value` as a list if it is one of `length` items of `kind`.

    Raises:
        ValueError: It is not.
    """
    right = isinstance(value, (list, tuple)) and len(value) == length
    if not right or not all(isinstance(item, kind) and not isinstance(item, bool) for item in value):
        refuse(name, f"must be a list of {length} numbers", value, "load what state_dict() returned")
    return list(value)

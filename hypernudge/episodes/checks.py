"""Argument checks: every refusal names the argument, the rule, the value and the remedy."""

import math
from collections.abc import Sequence


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return ``value`` if it is one of ``allowed``.

    Raises:
        ValueError: It is not.
    """
    if value not in allowed:
        options = ", ".join(repr(option) for option in allowed)
        raise ValueError(f"{name} must be one of {options}, but got {value!r}.")
    return value


def at_least(name: str, value: int, bound: int) -> int:
    """Return ``value`` if ``value >= bound``.

    Raises:
        ValueError: It is smaller.
    """
    if value < bound:
        raise ValueError(f"{name} must be at least {bound}, but got {value!r}; pass a larger number.")
    return value


def positive(name: str, value: float) -> float:
    """Return ``value`` if it is above zero.

    Raises:
        ValueError: It is zero or negative.
    """
    if value <= 0:
        raise ValueError(f"{name} must be above 0, but got {value!r}; pass a positive number.")
    return value


def not_negative(name: str, value: float) -> float:
    """Return ``value`` if it is zero or above.

    Raises:
        ValueError: It is negative.
    """
    if value < 0:
        raise ValueError(f"{name} must be 0 or above, but got {value!r}; pass 0 to switch it off.")
    return value


def in_unit_interval(name: str, value: float) -> float:
    """Return ``value`` if ``0 < value <= 1``.

    Raises:
        ValueError: It lies outside.
    """
    if not 0 < value <= 1:
        raise ValueError(f"{name} must lie in (0, 1], but got {value!r}.")
    return value


def finite(name: str, value: float) -> float:
    """Return ``value`` if it is neither infinite nor NaN.

    Raises:
        ValueError: It is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, but got {value!r}; check the loss for overflow.")
    return value


def candidates(name: str, values: Sequence[float], *, zero_allowed: bool) -> tuple[float, ...]:
    """Return the candidates of an axis as floats.

    Args:
        name: Argument name for the message.
        values: The candidates.
        zero_allowed: Whether 0 is a legal candidate.

    Raises:
        ValueError: The list is empty or a value is out of range.
    """
    if len(values) == 0:
        raise ValueError(f"{name} must not be empty; a single neutral candidate switches the axis off.")
    for value in values:
        if value < 0 or (value == 0 and not zero_allowed):
            rule = "0 or above" if zero_allowed else "above 0"
            raise ValueError(f"{name} must all be {rule}, but got {value!r} in {tuple(values)!r}.")
    return tuple(float(value) for value in values)

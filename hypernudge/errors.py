"""Errors a user can act on: each names the argument, the rule, the value it got and the remedy."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable

LONGEST = 200  # characters of a value in a message


class InvalidArgumentError(ValueError):
    """A value that breaks a rule; the message is one line."""


def shown(value: object) -> str:
    """Return a value for an error message: on one line, of bounded length."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # a number of thousands of digits, or data nested as deep
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def require(condition: bool, argument: str, rule: str, value: object, remedy: str) -> None:
    """Raise `InvalidArgumentError` with a one-line message unless `condition` holds."""
    if not condition:
        raise InvalidArgumentError(f"{argument}: {rule}, but got {shown(value)}; {remedy}")


def require_whole(
    argument: str, value: object, low: int = 1, high: int | None = None, remedy: str = "correct it"
) -> None:
    """Raise `InvalidArgumentError` unless `value` is a whole number in `[low, high]`."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    rule = (
        f"must be a whole number >= {low}" if high is None else f"must be a whole number in [{low}, {high}]"
    )
    inside = whole and low <= value and (high is None or value <= high)  # type: ignore[operator]
    require(inside, argument, rule, value, remedy)


def require_between(
    argument: str,
    value: object,
    low: float,
    high: float = math.inf,
    *,
    ends: bool = False,
    remedy: str = "correct it",
) -> None:
    """Refuse a value that is no number in `(low, high)`, with `ends` in `[low, high]`."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    inside = number and (low <= value <= high if ends else low < value < high)  # type: ignore[operator]
    span = f"must be a number in {'[' if ends else '('}{low:g}, {high:g}{']' if ends else ')'}"
    rule = f"must be a finite number above {low:g}" if high == math.inf and not ends else span
    require(inside, argument, rule, value, remedy)


def unknown_name(
    argument: str, value: object, known: Iterable[str], rule: str = "must be one of the known names"
) -> InvalidArgumentError:
    """Return the error for a name that is not known, with the nearest names first."""
    names = sorted(known)
    text = value[:LONGEST] if isinstance(value, str) else shown(value)
    lowered = {name.lower(): name for name in names}
    near = [lowered[n] for n in difflib.get_close_matches(text.lower(), lowered, n=3, cutoff=0.4)]
    remedy = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return InvalidArgumentError(
        f"{argument}: {rule}, but got {shown(value)}; {remedy}known names: {', '.join(names)}"
    )

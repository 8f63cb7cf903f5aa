"""Errors a user can act on: each names the argument, the rule, the value it got and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InvalidArgumentError(ValueError):
    """A value that breaks a rule; the message is one line."""


def require(condition: bool, argument: str, rule: str, value: object, remedy: str) -> None:
    """Raise `InvalidArgumentError` with a one-line message unless `condition` holds."""
    if not condition:
        raise InvalidArgumentError(f"{argument}: {rule}, but got {value!r}; {remedy}")


def unknown_name(
    argument: str, value: object, known: Iterable[str], rule: str = "must be one of the known names"
) -> InvalidArgumentError:
    """Return the error for a name that is not known, with the nearest names first."""
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    near = [lowered[n] for n in difflib.get_close_matches(str(value).lower(), lowered, n=3, cutoff=0.4)]
    remedy = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return InvalidArgumentError(
        f"{argument}: {rule}, but got {value!r}; {remedy}known names: {', '.join(names)}"
    )

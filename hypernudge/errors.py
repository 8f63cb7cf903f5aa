"""Errors a user can act on: each names the argument, the rule, the value it got and the remedy."""

from __future__ import annotations

import difflib
import importlib
import math
import numbers
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

LARGEST = 2**63 - 1  # whole number that every table and file can hold
DEEPEST = 10_000  # layers of a network
WIDEST = 16_384  # units of a layer; two such layers are a gigabyte of weights
LONGEST = 200  # characters of a value in a message


class InvalidArgumentError(ValueError):
    """A value that breaks a rule; the message is one line."""


class NotSavedError(OSError):
    """A trial could not be written to disk: that ends a study, which can go on; the trial has not failed."""


class LostStateError(Exception):
    """The file of a trial that waited is gone or damaged: the trial is trained again."""


def one_line(error: object) -> str:
    """Return a message on one line of bounded length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 2 * LONGEST else f"{text[: 2 * LONGEST]}..."


def last_line(traceback: str) -> str:
    """Return what a traceback ends with: the error itself."""
    return traceback.strip().rpartition("\n")[2]


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
        refuse(argument, rule, value, remedy)


def refuse(argument: str, rule: str, value: object, remedy: str) -> NoReturn:
    """Raise the error of `require`: for a condition that is asked often, so that words are made in time."""
    raise InvalidArgumentError(f"{argument}: {rule}, but got {shown(value)}; {remedy}")


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, NumPy's included, and no boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def require_whole(
    argument: str, value: object, low: int = 1, high: int | None = None, remedy: str = "correct it"
) -> None:
    """Raise `InvalidArgumentError` unless `value` is a whole number in `[low, high]`."""
    whole = is_whole(value)
    high = LARGEST if high is None and whole and value > LARGEST else high  # type: ignore[operator]
    rule = (
        f"must be a whole number >= {low}" if high is None else f"must be a whole number in [{low}, {high}]"
    )
    inside = whole and low <= value and (high is None or value <= high)  # type: ignore[operator]
    require(inside, argument, rule, value, remedy)


def require_path(argument: str, path: object, rule: str) -> None:
    """Refuse what is no path.

    Raises:
        InvalidArgumentError: With the argument's name and the rule.
    """
    given = isinstance(path, str | Path) and str(path) != "" and "\0" not in str(path)
    require(given, argument, rule, path, "'runs/mine', say")


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
    number = _has_float(value)
    inside = number and (low <= value <= high if ends else low < value < high)  # type: ignore[operator]
    span = f"must be a number in {'[' if ends else '('}{low:g}, {high:g}{']' if ends else ')'}"
    rule = f"must be a finite number above {low:g}" if high == math.inf and not ends else span
    require(inside, argument, rule, value, remedy)


def is_real(value: object) -> bool:
    """Whether a value is a finite number, and no boolean."""
    return _has_float(value) and math.isfinite(value)  # type: ignore[arg-type]


def _has_float(value: object) -> bool:
    """Whether a value is a number, and no boolean or whole number that is too large for a float."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def require_real(argument: str, value: object, remedy: str = "correct it") -> None:
    """Refuse a value that is no finite number."""
    require(is_real(value), argument, "must be a finite number", value, remedy)


def require_positive(argument: str, value: object, rule: str, remedy: str) -> None:
    """Refuse a value that is no number above 0; infinity is one."""
    require(_has_float(value) and value > 0, argument, rule, value, remedy)  # type: ignore[operator]


def require_share(argument: str, value: object, remedy: str = "correct it") -> None:
    """Refuse a value that is no number in `[0, 1)`."""
    inside = is_real(value) and 0 <= value < 1  # type: ignore[operator]
    require(inside, argument, "must lie in [0, 1)", value, remedy)


def require_flag(argument: str, value: object) -> None:
    """Refuse a value that is neither true nor false."""
    require(isinstance(value, bool), argument, "must be true or false", value, "correct it")


def require_choice(argument: str, value: object, known: Iterable[str]) -> None:
    """Refuse a value that is none of the names in `known`."""
    names = list(known)
    if not isinstance(value, str) or value not in names:
        raise unknown_name(argument, value, names, f"must be one of {', '.join(map(repr, names))}")


def require_title(argument: str, value: object) -> None:
    """Refuse what is neither None nor a name."""
    named = value is None or (isinstance(value, str) and value.strip() != "")
    require(named, argument, "must be a name, or None", value, "write a text, or leave it out")


def require_names(argument: str, value: Any) -> None:
    """Refuse a value that is no list of texts."""
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    ok = listed and all(isinstance(name, str) for name in value)
    require(ok, argument, "must be a list of names", value, "write [name]")


def require_widths(argument: str, value: Any, least: int = 0) -> None:
    """Refuse a value that is no list of `least` or more sizes of layers."""
    listed = isinstance(value, Sequence) and not isinstance(value, str)
    rule = f"must be a list of {least} or more whole numbers"
    require(listed and len(value) >= least, argument, rule, value, "write [32]")
    for index, width in enumerate(value):
        require_whole(f"{argument}[{index}]", width, 1, WIDEST)


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


class UnavailableError(InvalidArgumentError):
    """What does the work is not there, or cannot go on: workers, a cluster. Nothing is said of the work."""


class MissingExtraError(ImportError):
    """A package that is not installed; the message is one line and names the extra."""


def package(name: str, extra: str, purpose: str) -> Any:
    """Import a package.

    Args:
        name: Its name.
        extra: What brings it.
        purpose: What it is needed for, for the error.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # it is there, and lacks something itself
        message = f"{purpose} needs {name}, which is not installed; pip install 'hypernudge[{extra}]'"
        raise MissingExtraError(message, name=name) from None

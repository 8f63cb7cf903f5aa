"""Former names, still accepted in calls, in YAML and in imports, without a warning.

A plan's hash covers options as they were written: a plan that was committed keeps its words, and so its hash.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hypernudge.errors import InvalidArgumentError

C = TypeVar("C", bound=Callable[..., Any])


def accepts(**former: str) -> Callable[[C], C]:
    """Let a class or a function also take keyword arguments by their former names.

        @accepts(max_units="horizon")
        def probe(max_units: int) -> float: ...

        probe(horizon=27)

    Args:
        **former: The former name of each argument, by its present one.

    Raises:
        InvalidArgumentError: At a call that gives one argument under both names.
    """
    present = {old: new for new, old in former.items()}

    def decorate(target: C) -> C:
        if not inspect.isclass(target):
            function: C = _translating(target, present)
            return function
        target.__init__ = _translating(target.__init__, present)  # type: ignore[method-assign]
        return target

    return decorate


def present_names(target: object) -> Mapping[str, str]:
    """Return what the arguments of `target` are called now, by the former names that it accepts."""
    called = target.__init__ if inspect.isclass(target) else target
    found: Mapping[str, str] = getattr(called, "former_arguments", {})
    return found


def attributes(module: str, **former: str) -> Callable[[str], Any]:
    """Return a module's `__getattr__` under which attributes are also found by their former names.

        __getattr__ = attributes(__name__, OHGW="Literal")

    Args:
        module: Name of the module that has the attributes.
        **former: The former name of each attribute, by its present one.
    """
    present = {old: new for new, old in former.items()}

    def find(name: str) -> Any:
        if name not in present:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(importlib.import_module(module), present[name])

    return find


def adopt(subclass: type, **former: str) -> None:
    """Take methods that a subclass defines by their former names for what they are called now.

    Args:
        subclass: Whose own definitions are looked at.
        **former: The former name of each method, by its present one.
    """
    for new, old in former.items():
        if old in vars(subclass) and new not in vars(subclass):
            setattr(subclass, new, vars(subclass)[old])


def _translating(function: Callable[..., Any], present: Mapping[str, str]) -> Any:
    @functools.wraps(function)
    def call(*positional: Any, **named: Any) -> Any:
        for old in present.keys() & named.keys():
            new = present[old]
            if new in named:
                raise InvalidArgumentError(
                    f"{new}: must be given once, but {old!r} is its former name and there too; remove {old!r}"
                )
            named[new] = named.pop(old)
        return function(*positional, **named)

    call.former_arguments = present  # type: ignore[attr-defined]
    return call

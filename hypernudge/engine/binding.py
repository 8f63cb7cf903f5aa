"""How an engine comes to know its study: what was given with the engine stays, the study gives the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, runtime_checkable

from hypernudge.engine.requirements import check_task
from hypernudge.errors import require
from hypernudge.registry import takes

if TYPE_CHECKING:
    from hypernudge.task import Task

E = TypeVar("E")


@runtime_checkable
class Bindable(Protocol):
    """What an engine offers that a study can give its task."""

    task: Any

    def bound(self, **given: Any) -> Self:
        """Return this engine for a study; what was given here already stays."""
        ...

    def check_study(self, task: Task, budget: float) -> None:
        """Refuse a study that this engine was not built for."""
        ...


def bound(engine: E, given: Mapping[str, Any]) -> E:
    """Return an engine, a dataclass, with those of `given` that it takes.

    Raises:
        InvalidArgumentError: For an argument that differs here and there.
    """
    settings: Any = engine
    fields = {entry.name: entry.default for entry in dataclasses.fields(settings) if entry.init}
    taken = {name: value for name, value in given.items() if name in fields}
    for name, default in fields.items():
        here = getattr(engine, name)
        if name in taken and here != default:
            ok = taken[name] in (default, here)
            rule = f"must be given once, but the engine has {here!r}"
            require(ok, name, rule, taken[name], "drop one of the two")
            taken[name] = here
    changed: E = dataclasses.replace(settings, **taken)
    return changed


def check_bound(task: Any, seed_of: Any) -> None:
    """Refuse a task that is none, or one that is given without the seeds of its trials.

    Raises:
        InvalidArgumentError: Naming what is wrong.
    """
    if task is None:
        return
    check_task(task)
    one = callable(seed_of) and takes(seed_of, 1)
    rule = "must be a function where task is given, of a trial's number"
    require(one, "seed_of", rule, seed_of, "give both, or none: `tune` knows them")

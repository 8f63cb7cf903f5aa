"""How an engine comes to know its study: what was given with the engine stays, the study gives the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, runtime_checkable

from hypernudge.engine.base import Running
from hypernudge.engine.requirements import check_task
from hypernudge.errors import require
from hypernudge.registry import instance, takes

if TYPE_CHECKING:
    from hypernudge.task import Task

E = TypeVar("E")
SPEED = 1e9
"""FLOPs a second of a simulated worker, where nobody says."""
_METHODS = ("submit", "next", "now", "free", "restore")


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


def engine_of(given: Any, supplied: Mapping[str, Any]) -> Any:
    """Return the engine that an argument means, knowing its study.

    Args:
        given: An engine, its name, or a mapping of its name and options.
        supplied: The study's task, seed_of, workers, flops_per_second and deadline; perhaps `build`.

    Raises:
        InvalidArgumentError: If there is no such engine, or the study has what it does not take.
    """
    own = given.get("workers") if isinstance(given, Mapping) else None
    if own is not None:
        rule, remedy = f"must be given once, but engine has {own!r}", "drop one of the two"
        require(supplied["workers"] in (1, own), "workers", rule, supplied["workers"], remedy)
        supplied = {name: value for name, value in supplied.items() if name != "workers"}
    engine = instance("engine", given, has=_METHODS, **supplied)
    if isinstance(engine, Bindable) and engine.task is None:
        engine = engine.bound(**supplied)
    if is_real_time(engine):
        speed, rule = supplied["flops_per_second"], "must be left out with an engine of real workers"
        require(speed == SPEED, "flops_per_second", rule, speed, "their clock is the wall's")
    return engine


def is_real_time(engine: Any) -> bool:
    """Whether an engine's seconds are those of the wall."""
    return getattr(engine, "clock", "virtual") == "wall"


def clock_of(engine: Any, flops_per_second: float) -> dict[str, Any]:
    """Return what decides what a second of the study's clock is."""
    if is_real_time(engine):
        return {"clock": "wall"}
    return {"flops_per_second": float(getattr(engine, "flops_per_second", flops_per_second))}


def started(engine: Any, max_units: int) -> AbstractContextManager[None]:
    """Return what is entered while an engine trains a study; nothing for one that needs no start."""
    return engine.running(max_units) if isinstance(engine, Running) else nullcontext()

"""Everything that a plan names, built once before anything is written.

What is built here and what a cell builds are the same: so a plan that is accepted can be run, and one that is
refused has left nothing behind that the corrected one would collide with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from hypernudge.errors import InvalidArgumentError, MissingExtraError, one_line
from hypernudge.harness.planning.plan import Plan, unlabelled
from hypernudge.registry import build
from hypernudge.results.digests import digest
from hypernudge.results.plan import Variation

if TYPE_CHECKING:
    from hypernudge.space import Value
    from hypernudge.task import Task

T = TypeVar("T")
_OF_TASK = ("task", "model", "training", "space")


def check_buildable(plan: Plan) -> None:
    """Build every distinct task with its training options, and what runs on it, and have it begin.

    A part of a plan (`Plan.part_of`) was checked with the whole, and is not built again.

    Raises:
        InvalidArgumentError: Naming the variation, with what a constructor raised, in one line.
    """
    if plan.part_of:
        return
    from hypernudge.tasks.data.datasets import last_kept

    by_task: dict[str, list[Variation]] = {}
    for variation in plan.variations:
        key = json.dumps([variation.spec.get(part) for part in _OF_TASK], sort_keys=True)
        by_task.setdefault(key, []).append(variation)
    with last_kept():
        for _, members in sorted(by_task.items()):  # tasks on the same data one after the other
            _check(members)


def _check(members: list[Variation]) -> None:
    """Build the task that some variations share, and their distinct schedulers, warm starts and engines."""
    from hypernudge.harness.cells.build import build_task

    first = members[0]
    task = _built(first, "task", partial(build_task, first.spec))
    rule = "must be able to train at the middle of its space"
    _built(first, "task", partial(_begin, task), rule, "correct what it names")
    seen: set[str] = set()
    for variation in members:
        spec = variation.spec
        engine = {key: spec[key] for key in ("engine", "workers", "flops_per_second")}
        for kind, make, given in (
            ("scheduler", _scheduler, spec["scheduler"]),
            ("warm_start", _warm_start, spec["warm_start"]),
            ("engine", _engine, engine),
        ):
            key = digest([kind, given])
            if key not in seen:
                seen.add(key)
                _built(variation, kind, partial(make, given, task))


def _begin(task: Task) -> None:
    """Have a task begin at the middle of its space: what it raises there, it would raise in every cell.

    That is its cost, for which a gradient task makes a step, a fresh state, and the score of that where an
    untrained one can be scored.
    """
    from hypernudge.engine.requirements import unit_flops
    from hypernudge.task import GradientTask

    unit_flops(task, task.space.middle())
    try_score: Callable[[Mapping[str, Value]], None] | None = getattr(task, "try_score", None)
    if try_score is not None:  # a trial that has not begun has no score there
        try_score(task.space.middle())
        return
    state = task.start(0)
    if isinstance(task, GradientTask):
        task.evaluate(state, "validation")


def _scheduler(spec: dict[str, Any], task: Task) -> None:
    build("scheduler", unlabelled(spec), space=task.space)


def _warm_start(spec: dict[str, Any], task: Task) -> None:
    from hypernudge.warmstart.requirements import check_warm_start

    check_warm_start(build("warm_start", unlabelled(spec)), task.space, task)


def _engine(spec: dict[str, Any], task: Task) -> None:
    from hypernudge.harness.cells.build import build_engine

    engine = build_engine(spec, task, int, 1.0)
    check: Callable[[], None] | None = getattr(engine, "check_installed", None)
    if check is not None:
        check()


def _built(
    variation: Variation,
    kind: str,
    make: Callable[[], T],
    rule: str = "must be built",
    remedy: str = "correct its options",
) -> T:
    """Return what `make` returns; whatever a constructor raises becomes one line."""
    where, name = f"variations.{variation.run_id}.{kind}", variation.spec[kind]["name"]
    try:
        return make()
    except (InvalidArgumentError, MissingExtraError) as error:
        raise InvalidArgumentError(f"{where}: {one_line(error)}") from None
    except (Exception, SystemExit) as error:  # a user's constructor may raise anything
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise InvalidArgumentError(
            f"{where}: {name!r} {rule} before anything runs, but raises {reason}; {remedy}"
        ) from None

"""What a variation describes, built: task, scheduler, warm start, and what its record declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from hypernudge.engine.base import Engine
from hypernudge.errors import InvalidArgumentError, one_line, require
from hypernudge.harness.planning.engines import has_real_workers
from hypernudge.harness.planning.plan import unlabelled
from hypernudge.registry import REGISTRY, build
from hypernudge.results.jsonio import plain
from hypernudge.schedulers.base import Scheduler
from hypernudge.task import Task
from hypernudge.warmstart.base import WarmStart


def build_task(spec: dict[str, Any]) -> Task:
    """Build the task of a resolved variation.

    A built-in task takes `space`, `model` and the `training` options. A user's own callable is given its own
    options and those of `training`: it has a space and a model of its own.

    Raises:
        InvalidArgumentError: For an option that the task does not take, or a value that breaks a rule.
    """
    own = {key: value for key, value in spec["task"].items() if key not in ("metric", "metric_range")}
    if own["name"] not in REGISTRY["task"]:
        own.pop("label", None)
        task: Task = build("task", {**own, **spec["training"]})
        _check_choices(task)
        return task
    extra = {"model": spec["model"]} if "model" in spec else {}
    built: Task = build("task", {**own, **extra, **spec["training"], "space": spec["space"]})
    return built


def build_engine(
    spec: dict[str, Any], task: Task, seed_of: Callable[[int], int], deadline: float, **shared: Any
) -> Engine:
    """Build the engine of a resolved variation; real workers build the task themselves.

    Args:
        spec: Of the variation.
        task: Its task.
        seed_of: Maps a trial's number to its seed.
        deadline: Seconds on the study's clock after which no unit counts.
        **shared: What else the engine is given.

    Raises:
        InvalidArgumentError: For an option that it does not take, or a value that breaks a rule.
    """
    if has_real_workers(spec["engine"]):
        supplied: dict[str, Any] = {"build": partial(build_task, spec)}
    else:
        supplied = {"flops_per_second": spec["flops_per_second"]}
    supplied |= {"task": task, "seed_of": seed_of, "workers": spec["workers"], "deadline": deadline, **shared}
    engine: Engine = build("engine", spec["engine"], **supplied)
    return engine


def _check_choices(task: Task) -> None:
    """Refuse choices that no record can hold, before they are drawn."""
    for parameter in task.space:
        for choice in getattr(parameter, "choices", ()):
            try:
                plain(choice)
            except TypeError:
                rule = "choices must be JSON data, for records hold them: text, numbers, lists or mappings"
                remedy = "let the choice be a name, and look the object up in the task"
                require(False, f"space.{parameter.name}", rule, choice, remedy)


@dataclass(frozen=True)
class Prepared:
    """What a cell needs, built; `declared` goes into its record and decides how it is judged."""

    task: Task
    scheduler: Scheduler
    warm_start: WarmStart
    declared: dict[str, Any]


class NotBuiltError(Exception):
    """A constructor has raised, as it would for every cell of the variation; the cause says what."""


def prepare(spec: dict[str, Any]) -> Prepared:
    """Build task, scheduler and warm start of a resolved variation.

    Raises:
        InvalidArgumentError: For an option or a value that breaks a rule.
        NotBuiltError: If a constructor raises anything else, other than what may be over in a moment: an
            error of the operating system, or a lack of memory.
    """
    try:
        return _prepared(spec)
    except (InvalidArgumentError, OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise NotBuiltError(one_line(error)) from error


def _prepared(spec: dict[str, Any]) -> Prepared:
    task = build_task(spec)
    scheduler = build("scheduler", unlabelled(spec["scheduler"]), space=task.space)
    unit_flops = task.unit_flops(task.space.middle())
    declared = {
        "target": spec["target"],
        "metric": spec["task"]["metric"],
        "metric_range": list(spec["task"]["metric_range"]),
        "budget_seconds": _seconds(spec, unit_flops),
        "workers": spec["workers"],
        "flops_per_second": spec["flops_per_second"],
        "max_units": scheduler.max_units,
    }
    if has_real_workers(spec["engine"]):
        declared["clock"] = "wall"
    return Prepared(task, scheduler, build("warm_start", unlabelled(spec["warm_start"])), declared)


def _seconds(spec: dict[str, Any], unit_flops: float) -> float:
    """Return the budget in seconds on the study's clock; units are seconds at the declared speed."""
    if "seconds" in spec["budget"]:
        return float(spec["budget"]["seconds"])
    return float(spec["budget"]["units"] * unit_flops / spec["flops_per_second"] / spec["workers"])

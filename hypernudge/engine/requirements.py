"""What engines need of a task, asked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hypernudge.errors import InvalidArgumentError, is_real, one_line, require, require_whole
from hypernudge.registry import check_instance
from hypernudge.space import SearchSpace

if TYPE_CHECKING:  # plans look at engines' classes; PyTorch would take three seconds
    from hypernudge.space import Value
    from hypernudge.task import Task

TASK = ("name", "space", "start", "advance", "evaluate", "unit_flops")


def check_task(task: Any) -> None:
    """Refuse what is no task, and a task that could train no trial.

    Raises:
        InvalidArgumentError: For a class, a missing member, a space that is none, an error of scores that is
            none, and for a `GradientTask` a number of steps below 1, an optimizer that is none, or a space
            without what the optimizer reads.
    """
    check_instance("task", task)
    missing = [name for name in TASK if not hasattr(task, name)]
    remedy = "write a subclass of GradientTask, or ModuleTask(...) around a module"
    require(not missing, "task", f"must have {list(TASK)}", task, remedy)
    remedy = "SearchSpace([Real('lr', 1e-4, 1.0, log=True)]), say"
    require(isinstance(task.space, SearchSpace), "task.space", "must be a SearchSpace", task.space, remedy)
    from hypernudge.task import GradientTask, NoisyScores

    if isinstance(task, NoisyScores):
        ok = is_real(task.score_error) and task.score_error >= 0
        rule = "must be a finite number >= 0, a standard error"
        require(ok, "task.score_error", rule, task.score_error, "leave it out where nobody knows")
    if isinstance(task, GradientTask):
        _check_gradient_task(task)


def _check_gradient_task(task: Any) -> None:
    from hypernudge.optimizers import SGD, AdamW, check_rule
    from hypernudge.task import GradientTask

    check_rule(task.optimizer, "task.optimizer")
    remedy = "the steps of an epoch, say"
    require_whole("task.steps_per_unit", getattr(task, "steps_per_unit", None), 1, remedy=remedy)
    plain = type(task).advance is GradientTask.advance and "lr" not in task.space
    known = type(task.optimizer) in (SGD, AdamW)
    rule = f"must have 'lr', which the task's optimizer reads ({type(task.optimizer).__name__})"
    remedy = "add it, or give the task an optimizer that reads what there is"
    require(not (plain and known), "task.space", rule, task.space.names, remedy)


def unit_flops(task: Task, config: Mapping[str, Value]) -> float:
    """Return what a unit of a configuration costs, in FLOPs.

    Raises:
        InvalidArgumentError: If the task says something else than a finite number of FLOPs, none below 0.
    """
    flops: Any = task.unit_flops(config)
    rule = "must return a finite number of FLOPs >= 0"
    remedy = "return 1.0 where nobody knows: the clock then counts units"
    require(is_real(flops) and flops >= 0, "task.unit_flops", rule, flops, remedy)
    return float(flops)


def check_cost(task: Task, needed: bool) -> None:
    """Refuse a task that says of the middle of its space that a unit costs nothing that could be counted.

    Args:
        task: What is trained.
        needed: Whether only the budget ends the study: cost that nobody knows, or none, would never end it.
            Otherwise an error of `unit_flops` is an error of the trials, as those of `loss` and `score` are.

    Raises:
        InvalidArgumentError: In one line, with the error that the task raised as its cause.
    """
    try:
        flops = unit_flops(task, task.space.middle())
    except InvalidArgumentError:
        raise
    except Exception as error:
        if not needed:
            return
        raise InvalidArgumentError(
            "task.unit_flops: must tell what a unit costs where only the budget ends the study, but raised "
            f"{type(error).__name__}: {one_line(error)}; correct the task, or give the scheduler max_trials"
        ) from error
    rule = "must be above 0 where only the budget ends the study"
    remedy = "declare a cost, or give the scheduler max_trials"
    require(flops > 0 or not needed, "task.unit_flops", rule, flops, remedy)

"""What a study needs of its scheduler, asked before anything is trained, and of every decision."""

from __future__ import annotations

import math
from typing import Any

from hypernudge.errors import InvalidArgumentError, require, require_whole
from hypernudge.schedulers.base import MAX_UNITS, Done, Resume, Scheduler, Start, Wait
from hypernudge.space import SearchSpace
from hypernudge.trial import History

DECISIONS = (Start, Resume, Wait, Done)


def check_scheduler(scheduler: Scheduler, space: SearchSpace) -> None:
    """Refuse a scheduler that draws from another space than the one that is tuned.

    The order of the hyper-parameters does not matter; a scheduler without an attribute `space` is asked trial
    by trial (`check_decision`).

    Raises:
        InvalidArgumentError: For the first hyper-parameter that differs, or a `max_units` that is no count.
    """
    require_whole("scheduler.max_units", scheduler.max_units, 1, MAX_UNITS)
    own: Any = getattr(scheduler, "space", space)
    remedy = "build the scheduler with task.space"
    require(isinstance(own, SearchSpace), "scheduler.space", "must be a SearchSpace", own, remedy)
    asked, found = ({parameter.name: parameter for parameter in each} for each in (space, own))
    for name in asked | found:
        rule = f"must be as in the task's space, which has {asked.get(name, f'no {name!r}')}"
        same = asked.get(name) == found.get(name)
        require(same, f"scheduler.space.{name}", rule, found.get(name, "nothing"), remedy)


def is_unlimited(scheduler: Scheduler) -> bool:
    """Whether only a budget ends a study; of one without an attribute `max_trials` nobody knows."""
    return getattr(scheduler, "max_trials", 0) is None


def check_end(scheduler: Scheduler, budget: float) -> None:
    """Refuse a study that could never end: any number of trials, and no budget.

    Raises:
        InvalidArgumentError: For an infinite budget where `max_trials` is None.
    """
    rule = "must be finite where the scheduler may start any number of trials (max_trials=None)"
    remedy = "give seconds on the study's clock, or the scheduler max_trials"
    require(budget != math.inf or not is_unlimited(scheduler), "budget", rule, budget, remedy)


def check_decision(decision: object, history: History, space: SearchSpace) -> None:
    """Refuse what is no decision, a configuration outside the space, and waiting for nothing.

    Raises:
        InvalidArgumentError: For a scheduler that breaks its protocol.
    """
    if isinstance(decision, Start):
        try:
            space.check(decision.config)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(
                f"scheduler: must start configurations of the task's space; {error}"
            ) from None
        return
    rule = "must return Start(...), Resume(...), Wait() or Done()"
    require(isinstance(decision, DECISIONS), "scheduler", rule, decision, "return one of them")
    waits = isinstance(decision, Wait) and not history.trials
    require(not waits, "scheduler", "must not wait before the first trial", decision, "return Start(...)")

"""The shape of a schedule, whether it is one of ours or a scheduler of PyTorch that is already built."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from hypernudge.errors import require
from hypernudge.registry import instance
from hypernudge.suggestion.copies import rates
from hypernudge.tasks.module.schedules import Constant, Schedule

MOST_STEPS = 20_000  # of a scheduler that are looked at; of longer ones every so many


@dataclass(frozen=True)
class Recorded(Schedule):
    """The factors on the first rate that a scheduler would give, in equal steps over the whole training.

    Args:
        name: Of the scheduler.
        factors: At least one.
    """

    name: str = ""
    factors: tuple[float, ...] = (1.0,)

    def shape(self, progress: float, hp: Mapping[str, Any]) -> float:
        """Return the factor at a share of the training."""
        place, last = progress * len(self.factors), len(self.factors) - 1
        before = min(int(place), last)
        after = self.factors[min(before + 1, last)]
        return self.factors[before] + min(place - before, 1.0) * (after - self.factors[before])

    @property
    def falls(self) -> bool:
        """Whether its end is below half of its peak."""
        return self.factors[-1] < 0.5 * max(self.factors)


def schedule_of(given: Any, steps: int, every: int = 1) -> Schedule:
    """Return a schedule by name, options or instance; for a scheduler of PyTorch, what it would do.

    Args:
        given: As `suggest` takes it.
        steps: Of the training.
        every: Optimizer steps between two of a scheduler's.

    Raises:
        InvalidArgumentError: If it is none.
    """
    if isinstance(given, ReduceLROnPlateau):
        return Constant()
    if not isinstance(given, LRScheduler):
        made: Schedule = instance("schedule", given, has=("factor",))
        return made
    return Recorded(name=type(given).__name__, factors=_factors(given, steps, every))


def _factors(scheduler: LRScheduler, steps: int, every: int) -> tuple[float, ...]:
    """Step a copy of a scheduler, on a copy of its optimizer that shares all tensors."""
    optimizer: torch.optim.Optimizer = scheduler.optimizer
    memo: dict[int, Any] = {}
    for group in optimizer.param_groups:
        memo |= {id(p): p for p in group["params"]}
    for state in optimizer.state.values():
        memo |= {id(value): value for value in state.values() if isinstance(value, Tensor)}
    given = rates(optimizer)
    place = max(range(len(given)), key=lambda k: given[k] > 0)  # the first with a rate
    base, rule = given[place], "must be of an optimizer with a rate above 0"
    require(base > 0, "schedule", rule, base, "build the optimizer with one")
    turns = max(1, min(-(-steps // every), MOST_STEPS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the optimizer has not stepped
        twin = copy.deepcopy(scheduler, memo)
        found = []
        for _ in range(turns):
            found.append(float(twin.optimizer.param_groups[place]["lr"]) / base)
            twin.step()
    return tuple(found)


def falls(schedule: Schedule) -> bool:
    """Whether a schedule's rate falls towards the end."""
    return schedule.falls if isinstance(schedule, Recorded) else not isinstance(schedule, Constant)

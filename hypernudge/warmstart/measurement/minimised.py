"""A task whose scores are to be made small, as what measures it must see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hypernudge.task import GradientTask, ShortTraining

if TYPE_CHECKING:
    from hypernudge.space import Value
    from hypernudge.task import Split, Task


class Minimised:
    """A task without gradients, its scores negated: larger is better, as everywhere in the library.

    Args:
        task: Everything else is its own.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def start(self, seed: int) -> Any:
        """As the task's."""
        return self._task.start(seed)

    def advance(self, state: Any, hp: Mapping[str, Value]) -> bool:
        """As the task's."""
        return self._task.advance(state, hp)

    def evaluate(self, state: Any, split: Split) -> float:
        """Return the negated score."""
        return -self._task.evaluate(state, split)

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """As the task's."""
        return self._task.unit_flops(hp)


def seen_by_warm_starts(task: Task, sign: int) -> Any:
    """Return the task as warm starts see it: one that would be measured by its scores larger-is-better.

    A stated loss, and that of a short training, are smaller-is-better whatever the score is.

    Args:
        task: What is tuned.
        sign: -1 where its scores are to be made small.
    """
    return task if sign > 0 or isinstance(task, GradientTask | ShortTraining) else Minimised(task)

"""A unit that was just scored, for whoever wants to look at it before training goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:  # plans look at engines' classes; PyTorch would take three seconds
    from torch import Tensor

    from hypernudge.task import Task

Weights: TypeAlias = "Mapping[str, Tensor]"


@dataclass(frozen=True)
class Scored:
    """A unit that an engine has just scored.

    Attributes:
        trial: Its trial.
        unit: How far that was trained.
        score: On the validation part, as the task gives it.
        weights: Returns the weights that were scored; None if the task has none, or they are gone.
        test: Scores the test part.
        lasting: Whether both can be called later, too.
    """

    trial: int
    unit: int
    score: float
    weights: Callable[[], Weights | None]
    test: Callable[[], float]
    lasting: bool = False


@runtime_checkable
class Weighted(Protocol):
    """What a task offers whose weights can be kept."""

    def weights(self, state: Any) -> Weights | None:
        """Return copies, on the CPU, of what a state is scored with; None if they are gone."""
        ...


def scored_alone(task: Task, state: Any, trial: int, unit: int, score: float) -> Scored:
    """Return a unit of a trial that has a state of its own, which the next unit changes."""

    def weights() -> Weights | None:
        return task.weights(state) if isinstance(task, Weighted) else None

    return Scored(trial, unit, score, weights, lambda: task.evaluate(state, "test"))

"""What the tools tune, and the clock they are compared on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution

from hypernudge import ModuleLoss, Task
from hypernudge.warmstart.base import WarmStart

Space = dict[str, BaseDistribution]
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Workload:
    """A training with its search space.

    Attributes:
        name: Of the task, in tables.
        title: The same at the beginning of a sentence.
        space: What is tuned.
        training: Trains a configuration with a seed, and yields the validation score after each step of it.
        measured: What a warm start must know of the training.
        policy: Makes the warm start; its argument is the longest training in steps, if it is told.
        step_flops: Cost of a step, to charge a warm start with.
        steps: Steps of a whole training.
        unit: What the clock counts.
        per_step: How many of these a step is.
        budget: Of a run, in the same.
        past: Configurations that won earlier studies, for those that are given them as a beginning.
    """

    name: str
    title: str
    space: Space
    training: Callable[[Config, int], Iterator[float]]
    measured: Callable[[], ModuleLoss | Task]
    policy: Callable[[int | None], WarmStart]
    step_flops: Callable[[Config], float]
    steps: int
    unit: str
    per_step: float
    budget: float
    past: tuple[dict[str, Any], ...] = ()

    def clock(self) -> Clock:
        """Return the clock of a new run."""
        return Clock(self)


@dataclass
class Clock:
    """Time so far, and the scores at each."""

    of: Workload
    time: float = 0.0
    scores: list[tuple[float, float]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.time >= self.of.budget

    def step(self, score: float) -> None:
        """Count a step; what ends after the budget does not count."""
        self.time += self.of.per_step
        if self.time <= self.of.budget:
            self.scores.append((self.time, score))

    def fee(self, flops: float, hp: Config) -> None:
        """Charge the warm start of a trial with the steps that its FLOPs would have bought."""
        if flops:
            self.time += self.of.per_step * flops / self.of.step_flops(hp)

    def best_at(self, share: float) -> float:
        """Return the best score by a share of the budget."""
        return max(score for at, score in self.scores if at <= share * self.of.budget)

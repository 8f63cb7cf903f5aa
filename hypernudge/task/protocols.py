"""What a task may be and offer: the least that trains, and what engines and warm starts ask besides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from hypernudge.optimizers import Params
from hypernudge.space import SearchSpace, Value
from hypernudge.workspace import Workspace

Batch = dict[str, Tensor]
Split = Literal["validation", "test"]


@runtime_checkable
class Task(Protocol):
    """Anything that trains in units. Scores are larger-is-better.

    `metric_range` holds the worst and the best possible score, infinite where there is no bound.
    """

    name: str
    space: SearchSpace
    metric: str
    metric_range: tuple[float, float]

    def start(self, seed: int) -> Any:
        """Return the state of an untrained trial; everything random in it follows from `seed`."""
        ...

    def advance(self, state: Any, hp: Mapping[str, Value]) -> bool:
        """Train `state` in place for one unit with `hp`; return False if it diverged."""
        ...

    def evaluate(self, state: Any, split: Split) -> float:
        """Return the score of `state` on a split; NaN where it has none."""
        ...

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Return the declared cost of one unit of training, in FLOPs."""
        ...


@runtime_checkable
class StatesCost(Protocol):
    """What a task offers besides if a formula says what a unit costs: then a warm start may weigh it."""

    def stated_flops(self, hp: Mapping[str, Value]) -> float:
        """Return what `unit_flops` does, in microseconds: nothing is built, trained or counted."""
        ...


@runtime_checkable
class Studied(Protocol):
    """What a task offers besides if it must know the study that trains it."""

    def study(self, units: int) -> AbstractContextManager[None]:
        """Return what is entered while a study runs whose longest training has `units` units."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """What a task offers besides whose score means other numbers as well."""

    def reported(self, score: float, split: Split) -> Mapping[str, float]:
        """Return those numbers by name, for a finite score on a split."""
        ...


@runtime_checkable
class NoisyScores(Protocol):
    """What a task says besides whose scores are means of few random results, such as games.

    Attributes:
        score_error: Standard error of a score, in the score's own unit.
    """

    score_error: float


@runtime_checkable
class ShortTraining(Protocol):
    """What a task without gradients offers besides: a training so short that differences of it are cheap."""

    def short_loss(
        self, hp: Mapping[str, Value], seed: int, batch_size: int, index: int, held_out: bool
    ) -> tuple[float, float]:
        """Return the loss, smaller is better, after a short training on few data, and its FLOPs.

        Everything random follows from `seed` and `index`, nothing from `hp`: so that two losses differ by
        the values alone (common random numbers).

        Args:
            hp: The configuration.
            seed: Of the trial.
            batch_size: Samples that are asked for; a task may need more to learn anything from.
            index: Another number has other data.
            held_out: Whether the loss is that of data that did not train.
        """
        ...


@runtime_checkable
class PriorFits(Protocol):
    """What a task says besides for which a shipped prior fits better than that of tables.

    Attributes:
        shipped_prior: Its name, such as `"language"`: what `Informed` goes by where nobody names a prior, if
            it knows the task's update rule. A name that is not known is refused before anything is trained.
    """

    shipped_prior: str


class BatchedTask(Protocol):
    """A gradient task for many trials at once, its members; every tensor has the member dimension first."""

    def batches(
        self,
        seeds: Sequence[int],
        steps: Sequence[int],
        count: int,
        hp: Mapping[str, Tensor],
        work: Workspace,
    ) -> Iterator[Batch]:
        """Yield the mini-batches of `count` steps; member `i` has `seeds[i]` and begins at `steps[i]`.

        Each may lie in `work`, to be overwritten by the next.
        """
        ...

    def gradients(
        self, params: Params, buffers: Params, batch: Batch, hp: Mapping[str, Tensor], work: Workspace
    ) -> tuple[Tensor, Params, Params]:
        """Return the training losses `(members,)`, their gradients, and new values of the buffers.

        `params` are those that training descends on, `hp` holds `(members,)` by name. What the loss does not
        use has no gradient. Gradients may lie in `work`.
        """
        ...

    def scores(self, params: Params, split: Split, work: Workspace) -> list[float]:
        """Return the members' scores on a split."""
        ...

    def member_bytes(self, params: Params) -> int:
        """Estimate the working memory of one step of one member with tensors `params`, in bytes."""
        ...

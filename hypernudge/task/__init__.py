"""The task protocol: what a user writes to have their own training tuned.

Two depths. A `Task` is anything that can be trained in units and scored: XGBoost, reinforcement learning, a
command. A `GradientTask` states its loss as a pure function of parameters, batch and hyper-parameters; then
hyper-gradients are exact, warm starts are cheap, and many trials can be trained as one computation.

    class Mine(GradientTask):
        name, space, batch_size, steps_per_unit = "mine", SearchSpace([Real("lr", 1e-4, 1, log=True)]), 32, 40

        def init(self, seed): ...                  # -> {name: tensor}
        def batch(self, seed, step): ...           # -> {name: tensor}, a pure function of its arguments
        def loss(self, params, batch, hp): ...     # -> scalar tensor, differentiable in params and hp
        def score(self, params, split): ...        # -> float, larger is better
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from hypernudge.errors import require
from hypernudge.flops import count_flops
from hypernudge.optimizers import SGD, Optimizer, Params
from hypernudge.renamed import adopt, attributes
from hypernudge.space import Real, SearchSpace, Value
from hypernudge.task.protocols import Batch as Batch
from hypernudge.task.protocols import BatchedTask as BatchedTask
from hypernudge.task.protocols import NoisyScores as NoisyScores
from hypernudge.task.protocols import PriorFits as PriorFits
from hypernudge.task.protocols import Reporting as Reporting
from hypernudge.task.protocols import ShortTraining as ShortTraining
from hypernudge.task.protocols import Split as Split
from hypernudge.task.protocols import StatesCost as StatesCost
from hypernudge.task.protocols import Studied as Studied
from hypernudge.task.protocols import Task as Task

T = TypeVar("T")
__getattr__ = attributes(__name__, BatchedTask="Route")


@dataclass
class TrainingState:
    """Parameters, optimizer state and position of one trial."""

    params: Params
    optimizer_state: Params
    seed: int
    step: int = 0


class GradientTask(ABC):
    """A task whose loss is a pure function; subclasses write `init`, `batch`, `loss` and `score`.

    Class or instance attributes: `name`, `space`, `batch_size` (samples per step), `steps_per_unit` (steps in
    one unit, an epoch as a rule); optionally `metric`, `metric_range`, `optimizer`, and `buffers`: names in
    `init`'s result that training sets instead of descending on them, such as running statistics. `loss` may
    not read them; `loss_and_buffers` returns their new values. With `one_at_a_time` every engine trains
    trials by `start` and `advance`, which a subclass may then write in its own way.
    """

    name: str
    space: SearchSpace
    batch_size: int
    steps_per_unit: int
    metric: str = "accuracy"
    metric_range: tuple[float, float] = (0.0, 1.0)
    optimizer: Optimizer = SGD()
    buffers: tuple[str, ...] = ()
    one_at_a_time: bool = False
    _counts_at_middle: ClassVar[bool] = True  # of the space: is its own cost that of any configuration?

    @abstractmethod
    def init(self, seed: int) -> Params:
        """Return the initial parameters that belong to `seed`."""

    @abstractmethod
    def batch(self, seed: int, step: int) -> Batch:
        """Return the mini-batch of `step` under `seed`: a pure function; resuming needs no loader state.

        Every tensor has the batch dimension first. Random numbers of an augmentation belong in here; what
        they do, scaled by its magnitude, belongs in `loss`.
        """

    def plain_batch(self, seed: int, step: int) -> Batch:
        """Return the batch of `step` under `seed` for losses at augmentation 0: all that these read."""
        return self.batch(seed, step)

    @abstractmethod
    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the training loss of `params` on `batch`, a scalar; `hp` holds floats or scalar tensors.

        To be tuned in batches it must consist of tensor operations only, without branches on values.
        """

    def by_hand(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> tuple[Tensor, Params] | None:
        """Return `loss` on `batch`, a scalar, and its gradient with respect to `params`; None: by autograd.

        A probe asks: on small networks a graph takes longer than the arithmetic.
        """
        del params, batch, hp
        return None

    @abstractmethod
    def score(self, params: Params, split: Split) -> float:
        """Return the score of `params` on a split, `"validation"` or `"test"`; larger is better."""

    def loss_and_buffers(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> tuple[Tensor, Params]:
        """Return the loss of `params`, a scalar, and new values of `buffers` after `batch`, no graph."""
        return self.loss(params, batch, hp), {}

    def at(self, config: Mapping[str, Value]) -> GradientTask:
        """Return the task whose loss is that of `config`: itself, unless a value changes what is trained."""
        del config
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        adopt(cls, batched="route")

    def batched(self, device: torch.device, shared: Mapping[str, Value]) -> BatchedTask | None:
        """Return a faster way to train many members at once; None for the general one, `torch.vmap`.

        Args:
            device: Where the members are trained.
            shared: Values of the hyper-parameters that are equal for all members of a cohort.
        """
        del device, shared
        return None

    def trained(self, params: Params) -> Params:
        """Return those of `params` that training descends on: all but `buffers`."""
        if not self.buffers:
            return params
        return {name: value for name, value in params.items() if name not in self.buffers}

    def start(self, seed: int) -> TrainingState:
        """Return the state of an untrained trial of `seed`."""
        params = self.init(seed)
        return TrainingState(params, self.optimizer.init(self.trained(params)), seed)

    def advance(self, state: TrainingState, hp: Mapping[str, Value]) -> bool:
        """Train `state` in place for `steps_per_unit` steps; return False once the loss is not finite."""
        floats = {name: value for name, value in hp.items() if isinstance(value, int | float)}
        leaves = {name: value.requires_grad_(True) for name, value in self.trained(state.params).items()}
        tensors = list(leaves.values())
        total = torch.zeros((), device=tensors[0].device)
        for _ in range(self.steps_per_unit):
            batch = self.batch(state.seed, state.step)
            loss, buffers = self.loss_and_buffers(state.params, batch, hp)
            grads = torch.autograd.grad(loss, tensors, allow_unused=True)
            # What the loss does not use stays as it is, decay included, as in PyTorch's optimizers.
            used = {name: grad for name, grad in zip(leaves, grads, strict=True) if grad is not None}
            moved = leaves if len(used) == len(leaves) else {name: leaves[name] for name in used}
            self.optimizer.update_(moved, used, state.optimizer_state, floats)
            for name, value in buffers.items():
                state.params[name].copy_(value.detach())
            total += loss.detach()
            state.step += 1
        return math.isfinite(total.item())

    def evaluate(self, state: TrainingState, split: Split) -> float:
        """Return the score of a trial's parameters, those of `state`, on a split."""
        with torch.no_grad():
            return float(self.score(state.params, split))

    def weights(self, state: TrainingState) -> Params | None:
        """Return copies, on the CPU, of what `state` is scored with; None if they are gone."""
        return {name: value.detach().cpu().clone() for name, value in state.params.items()}

    @cached_property
    def _flops(self) -> dict[str, float]:
        return {}

    def counted(self, what: str, work: Callable[[], T]) -> tuple[T, float]:
        """Run `work()`; return its result and its FLOPs, counted the first time for each name `what`.

        FLOPs are those of matrix products and convolutions. Counting slows a run down about threefold, so
        everything of the same shape should carry the same name.
        """
        if what in self._flops:
            return work(), self._flops[what]
        result, self._flops[what] = count_flops(work)
        return result, self._flops[what]

    def flops_of(self, what: str, work: Callable[[], object]) -> float:
        """Return the FLOPs that `counted` knows under `what`; if none, call `work`, which has it counted."""
        if what not in self._flops:
            work()
        return self._flops[what]

    @property
    def step_flops(self) -> float:
        """FLOPs of one loss and gradient on one batch."""
        if "step" not in self._flops:
            self._count_step()
        flops = self._flops["step"]
        remedy = "define `step_flops` on the task"
        require(flops > 0, self.name, "the counted FLOPs of a training step must be positive", flops, remedy)
        return flops

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Return the declared cost of one unit: `steps_per_unit` losses and gradients."""
        del hp
        return self.step_flops * self.steps_per_unit

    def step_parts(self, size: int) -> tuple[float, float] | None:
        """Return the FLOPs of a loss on `size` samples, and of its gradient once the loss is there.

        They are those of a training step, which a study counts anyway, or their share of one where the task
        `costs_by_sample`. None where that says nothing: the task declares what a step costs, counts in a way
        of its own, computes its batches or initial parameters with operations that count, has choices that a
        loss may depend on, or its loss raises.
        """
        if size != self.batch_size and not self.costs_by_sample:
            return None
        own = type(self)
        if own.counted is not GradientTask.counted or own.step_flops is not GradientTask.step_flops:
            return None
        if self._counts_at_middle and any(not isinstance(parameter, Real) for parameter in self.space):
            return None
        if "step" not in self._flops:
            try:
                self._count_step()
            except Exception:  # it will raise in training, where it is reported
                return None
        if "loss" not in self._flops:
            return None
        loss, step = (self._flops[what] / self.batch_size * size for what in ("loss", "step"))
        return loss, step - loss

    @property
    def costs_by_sample(self) -> bool:
        """Whether every operation of the loss that counts has the samples of a batch as a dimension."""
        return False

    def _count_step(self) -> None:
        (params, batch), before = count_flops(lambda: (self.init(0), self.batch(0, 0)))
        leaves = [value.requires_grad_(True) for value in self.trained(params).values()]
        loss, forward = count_flops(lambda: self.loss(params, batch, self._middle_values()))
        _, backward = count_flops(lambda: torch.autograd.grad(loss, leaves, allow_unused=True))
        self._flops["step"] = before + forward + backward
        if not before:
            self._flops["loss"] = forward

    def _middle_values(self) -> Mapping[str, Any]:
        return {parameter.name: parameter.decode(0.5) for parameter in self.space}

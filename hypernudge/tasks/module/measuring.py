"""The measuring face of a PyTorch training: its loss as a pure function of parameters, batch and values.

Nothing that is called here changes the model: parameters and buffers are swapped in for the call, buffers are
copies. What a forward pass draws (dropout) belongs to the mini-batch, that is to seed and step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from hypernudge.errors import require
from hypernudge.optimizers import Optimizer, Params
from hypernudge.random import integer
from hypernudge.registry import takes
from hypernudge.space import SearchSpace
from hypernudge.task import Batch, GradientTask, Split
from hypernudge.tasks.module.mini_batches import MiniBatches, flattened
from hypernudge.tasks.module.recomputation import stored_activations
from hypernudge.tasks.module.seeded import seeded

Names = Mapping[str, str]
Loss = Callable[[nn.Module, Any, Mapping[str, Any]], Tensor]
Score = Callable[[nn.Module, Any], float]
ADDRESS = "seed of the forward pass"  # beside the tensors of a batch


def check_functions(model: Any, loss: Any) -> None:
    """Refuse what is no builder of models, and no loss of a model.

    Raises:
        InvalidArgumentError: Naming `model` or `loss`.
    """
    builds = callable(model) and not isinstance(model, nn.Module) and takes(model, 1)
    rule, remedy = "must be a function of the configuration that builds the model", "write lambda hp: Net()"
    require(builds, "model", rule, model, remedy)
    bare = isinstance(loss, nn.Module | type) or getattr(loss, "__module__", "") == "torch.nn.functional"
    rule, remedy = "must be a function of (model, batch, hp)", "write lambda model, batch, hp: ..."
    require(callable(loss) and not bare and takes(loss, 3), "loss", rule, loss, remedy)


def forward_seed(seed: int, step: int) -> int:
    """Return the seed under which the forward pass of a training step draws."""
    return integer(seed, "forward", step)


def build(
    model: Callable[[Mapping[str, Any]], nn.Module],
    values: Mapping[str, Any],
    seed: int,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Return a fresh model in training mode, on a device and of a type where they are given.

    Raises:
        InvalidArgumentError: If there is nothing to train in it.
    """
    with seeded(seed):
        module = model(values)
    rule = "must return an nn.Module"
    require(isinstance(module, nn.Module), "model", rule, type(module).__name__, "write lambda hp: Net()")
    module.to(device=device, dtype=dtype)
    module.train()
    lazy = any(map(is_lazy, (*module.parameters(), *module.buffers())))
    rule, remedy = "must know its shapes", "pass inputs through it in the function that builds it"
    require(not lazy, "model", rule, "uninitialised lazy modules", remedy)
    trainable = any(value.requires_grad for value in module.parameters())
    require(trainable, "model", "must have trainable parameters", type(module).__name__, "unfreeze some")
    return module


class Noted(dict[str, Any]):
    """Values by name, which note what is read of them."""

    def __init__(self, values: Mapping[str, Any], names: set[str]) -> None:
        super().__init__(values)
        self.names = names

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default."""
        return self[name] if name in self else default  # noqa: SIM401 -- that would be this method

    def __iter__(self) -> Iterator[str]:
        self.names.update(super().keys())
        return super().__iter__()

    def keys(self) -> Any:
        """Return the names."""
        return list(self)

    def values(self) -> Any:
        """Return the values."""
        return [self[name] for name in self]

    def items(self) -> Any:
        """Return names with values."""
        return [(name, self[name]) for name in self]

    # What `dict` would do without asking any of these.

    def copy(self) -> dict[str, Any]:
        """Return the values by name."""
        return dict(self.items())

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()

    def pop(self, name: str, *default: Any) -> Any:
        """Remove a value and return it, or the default."""
        self.names.add(name)
        return super().pop(name, *default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """Return a value, or set it to the default."""
        self.names.add(name)
        return super().setdefault(name, default)


class Closed(nn.Module):
    """A model with a function of it as one module, so that a functional call swaps the model's parameters."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *arguments: Any) -> Any:
        """Return the function's value."""
        return self.function(self.model, *arguments)


@dataclass(frozen=True)
class Recipe:
    """What both faces of a training are made of.

    Attributes:
        model: Builds the model of a configuration.
        loss: `loss(model, batch, hp)`, a scalar tensor.
        optimizer: The update rule.
        device: Where the model and its batches are; as they come if None.
        dtype: Of parameters and inputs with decimals; as they come if None.
    """

    model: Callable[[Mapping[str, Any]], nn.Module]
    loss: Loss
    optimizer: Optimizer
    device: torch.device | None = None
    dtype: torch.dtype | None = None

    def moved(self, value: Tensor, device: torch.device) -> Tensor:
        """Return a part of a batch on a device, of the right type."""
        dtype = self.dtype if value.is_floating_point() else None
        return value.to(device=device, dtype=dtype, non_blocking=True)


class MeasuredTask(GradientTask):
    """A training at one configuration.

    Args:
        recipe: Model, loss and optimizer.
        batches: What is read.
        space: What is tuned.
        values: The configuration under the user's own names, with whatever is constant in it.
        names: Names in `space` to the user's own, where they differ.
        steps_per_unit: Steps between two scores; None where nobody knows.
        score: `score(model, split)` if there is one, and what it gets for each split.
        with_buffers: Whether buffers (statistics of BatchNorm) are part of what `init` returns, so that
            training sets them. Without, they stay inside the model as they are at first.
        name: In records.
        noted: Gets the names that model and loss read, if given.
    """

    _counts_at_middle: ClassVar[bool] = False  # but at its configuration

    def __init__(
        self,
        recipe: Recipe,
        batches: MiniBatches,
        space: SearchSpace,
        values: Mapping[str, Any],
        names: Names,
        *,
        steps_per_unit: int | None = None,
        score: tuple[Score, Mapping[str, Any]] | None = None,
        with_buffers: bool = False,
        name: str = "module",
        noted: set[str] | None = None,
    ) -> None:
        self.space, self.name = space, name
        self.batch_size = batches.batch_size
        if steps_per_unit is not None:
            self.steps_per_unit = steps_per_unit
        self.optimizer = recipe.optimizer
        self.recipe = recipe
        self._batches = batches
        self._values = dict(values)
        self._names = names
        self._score = score
        self._with_buffers = with_buffers
        self._noted = noted
        self._closed: Closed | None = None
        self._seed = 0
        self._rest: Params = {}
        self._differing = False
        self._moving: list[str] | None = None  # nobody knows before the first loss
        self._pack: Callable[[Batch], Any] = dict

    def init(self, seed: int) -> Params:
        """Return the trainable parameters of a fresh model; what is frozen stays inside it."""
        module = build(
            self.recipe.model, self._given(self._values), seed, self.recipe.device, self.recipe.dtype
        )
        closed = Closed(module, self.recipe.loss)
        params = {name: p.detach().clone() for name, p in closed.named_parameters() if p.requires_grad}
        buffers = dict(closed.named_buffers())
        rest = {name: p.detach() for name, p in closed.named_parameters() if not p.requires_grad} | buffers
        if self._closed is not None and seed != self._seed:
            self._differing |= any(not torch.equal(rest[name], self._rest[name]) for name in rest)
        self._closed, self._seed, self._rest = closed, seed, rest
        if self._with_buffers:
            self.buffers = tuple(buffers)
            params |= {name: value.clone() for name, value in buffers.items()}
        return params

    def batch(self, seed: int, step: int) -> Batch:
        """Return the mini-batch of `step`, flat, with the seed of what its forward pass draws."""
        flat, self._pack = flattened(self._batches.read(seed, step))
        size = len(next(iter(flat.values())))
        return {**flat, ADDRESS: torch.full((size,), forward_seed(seed, step))}

    def loss(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> Tensor:
        """Return the user's loss; equal random numbers (dropout) at every call with a batch."""
        return self.loss_and_buffers(params, batch, hp)[0]

    def loss_and_buffers(self, params: Params, batch: Batch, hp: Mapping[str, Any]) -> tuple[Tensor, Params]:
        """Return the user's loss, and the values of the buffers after this batch.

        Raises:
            RuntimeError: For several trials at once, if what is frozen differs between them.
        """
        assert self._closed is not None, "init comes first"
        first = next(iter(params.values()))
        together = torch._C._functorch.is_batchedtensor(first)
        if together and self._differing:
            raise RuntimeError("frozen parameters and buffers differ between initialisations")
        parts = {name: value for name, value in batch.items() if name != ADDRESS}
        moved = self._pack({name: self.recipe.moved(value, first.device) for name, value in parts.items()})
        own: Mapping[str, Any] = self._values | {
            self._names.get(name, name): value for name, value in hp.items()
        }
        buffers = {name: params.get(name, value).clone() for name, value in self._closed.named_buffers()}
        still = {} if together else self._still()
        swapped = {**params, **buffers, **still}
        own = self._given(own)
        seed = self._seed if together or ADDRESS not in batch else int(batch[ADDRESS][0])
        with seeded(seed), stored_activations():
            result: Tensor = functional_call(self._closed, swapped, (moved, own))
        check_scalar(result)
        if self._moving is None and not together:
            self._moving = [name for name, value in still.items() if not torch.equal(value, self._rest[name])]
        return result, {name: swapped[name].detach() for name in self.buffers}

    def _still(self) -> Params:
        """Return copies of what is frozen and moved by the model itself, as a momentum encoder is."""
        assert self._closed is not None, "init comes first"
        frozen = [name for name, p in self._closed.named_parameters() if not p.requires_grad]
        names = frozen if self._moving is None else self._moving
        return {name: self._rest[name].clone() for name in names}

    def _given(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return values if self._noted is None else Noted(values, self._noted)

    def score(self, params: Params, split: Split) -> float:
        """Return the user's score of these parameters in evaluation mode."""
        if self._score is None:
            raise NotImplementedError("a ModuleLoss has no score")
        parts = self._score[1]
        return self.scored_on(params, parts[split]) if split in parts else float("nan")

    def scored_on(self, params: Params, part: Any) -> float:
        """Return the user's score of these parameters on a part of the data."""
        assert self._closed is not None, "init comes first"
        assert self._score is not None, "there is one"
        function, model = self._score[0], self._closed.model
        model.eval()
        try:
            with seeded(forward_seed(self._seed, -1)), torch.no_grad():
                return float(functional_call(Closed(model, function), params, (part,)))
        finally:
            model.train()

    def check_builds_anew(self) -> None:
        """Refuse a model whose weights an earlier trial may have trained; frozen ones may be shared.

        Raises:
            InvalidArgumentError: If two calls of `model` return the same trainable parameter.
        """
        assert self._closed is not None, "init comes first"
        known = {id(value) for value in self._closed.model.parameters() if value.requires_grad}
        again = build(
            self.recipe.model, self._given(self._values), self._seed, self.recipe.device, self.recipe.dtype
        )
        shared = [name for name, value in again.named_parameters() if id(value) in known]
        rule = "must build a new module at every call, for trials would go on from one another's weights"
        value = f"the same {shared[0]!r} twice" if shared else ""
        remedy = "build it inside: lambda hp: Net(), or copy what is pretrained: lambda hp: deepcopy(net)"
        require(not shared, "model", rule, value, remedy)

    def try_step(self) -> None:
        """Make one step but for the step, as it is counted."""
        params = self.init(0)
        leaves = [value.requires_grad_(True) for value in self.trained(params).values()]
        loss = self.loss(params, self.batch(0, 0), self._middle_values())
        torch.autograd.grad(loss, leaves, allow_unused=True)

    def _middle_values(self) -> Mapping[str, Any]:
        return {}  # it is at a configuration


def check_scalar(loss: object) -> None:
    """Refuse a loss that cannot be differentiated.

    Raises:
        InvalidArgumentError: If it is no scalar tensor.
    """
    ok = isinstance(loss, Tensor) and loss.dim() == 0
    require(ok, "loss", "must return a scalar tensor", loss, "take the mean over the batch")

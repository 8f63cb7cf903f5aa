"""Throw-away copies of a training: model, optimizer and loss, tied to each other as the originals."""

from __future__ import annotations

import copy
import inspect
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hypernudge.errors import InvalidArgumentError, one_line, require

GUESS = 1e-3  # rate that an optimizer is built with where it asks for one; it is replaced
BUILT_BY = "must be an optimizer over the model's parameters, its class, or a function of them"


def plain(model: Any) -> nn.Module:
    """Return the module inside `torch.compile`, `DistributedDataParallel` and `DataParallel`.

    Raises:
        InvalidArgumentError: If it is no module, or has been split over several devices.
    """
    require(
        isinstance(model, nn.Module), "model", "must be a torch.nn.Module", model, "pass the network itself"
    )
    while True:
        if isinstance(model, DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        else:
            break
    split = [type(p).__name__ for p in model.parameters() if type(p).__name__ in ("DTensor", "FlatParameter")]
    remedy = "ask for a suggestion before it is sharded"
    require(not split, "model", "must be whole on one device", split[:1], remedy)
    return model  # type: ignore[no-any-return]


def built(optimizer: Any, model: nn.Module) -> torch.optim.Optimizer:
    """Return an optimizer over the model's parameters: the one that is given, or a new one.

    Raises:
        InvalidArgumentError: If it is none, or trains none of the model's parameters.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    remedy = "unfreeze a layer"
    require(bool(trained), "model", "must have a parameter that requires a gradient", len(trained), remedy)
    made = optimizer if isinstance(optimizer, torch.optim.Optimizer) else None
    remedy = "torch.optim.AdamW(model.parameters()), say"
    if made is None:
        require(callable(optimizer), "optimizer", BUILT_BY, optimizer, remedy)
        made = _from(optimizer, trained)
    ours = {id(p) for p in model.parameters()}
    trains = any(id(p) in ours for group in made.param_groups for p in group["params"])
    require(trains, "optimizer", BUILT_BY, f"a {type(made).__name__} over others", remedy)
    rises = any(group.get("maximize") for group in made.param_groups)
    require(not rises, "optimizer", "must minimise the loss", "maximize=True", "negate the loss instead")
    return made


def _from(build: Callable[..., Any], trained: Sequence[Tensor]) -> torch.optim.Optimizer:
    try:
        needs = inspect.signature(build).parameters["lr"].default is inspect.Parameter.empty
    except (KeyError, ValueError, TypeError):
        needs = False
    try:
        made = build(list(trained), lr=GUESS) if needs else build(list(trained))
    except Exception as error:
        raise InvalidArgumentError(
            f"optimizer: {BUILT_BY}, but building it raised {type(error).__name__}: {one_line(error)}; "
            "pass the optimizer itself"
        ) from error
    require(isinstance(made, torch.optim.Optimizer), "optimizer", BUILT_BY, made, "pass the optimizer itself")
    return made  # type: ignore[no-any-return]


def rates(optimizer: torch.optim.Optimizer) -> list[float]:
    """Return the learning rate of each group as it was given, not as a schedule has changed it since.

    Raises:
        InvalidArgumentError: If a group has none.
    """
    rule, remedy = "must have groups with a learning rate `lr`", "pass another optimizer"
    named = all("lr" in group for group in optimizer.param_groups)
    require(named, "optimizer", rule, type(optimizer).__name__, remedy)
    return [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]


def ratios(optimizer: torch.optim.Optimizer) -> list[float]:
    """Return the rate of each group over the first that is above 0; 1 for all where there is none."""
    found = rates(optimizer)
    first = first_rate(optimizer)
    return [1.0 if first is None else rate / first for rate in found]


def first_rate(optimizer: torch.optim.Optimizer) -> float | None:
    """Return the first rate above 0 of the groups; None where there is none.

    Raises:
        InvalidArgumentError: If a group has no rate.
    """
    return next((rate for rate in rates(optimizer) if rate > 0), None)


def takes_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether `step` can be given a closure, as PyTorch's can."""
    try:
        inspect.signature(optimizer.step).bind(None)
    except TypeError:
        return False
    except ValueError:  # of compiled code that does not say what it takes
        return True
    return True


@dataclass
class Training:
    """A copy of a training, whose steps change nothing else.

    Attributes:
        parameters: What the optimizer trains, as the copy was made: a model may freeze some as it goes.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Any
    ratios: list[float]
    parameters: list[Tensor]

    def set_rate(self, rate: float) -> None:
        """Set the rate of the first group that has one, and of the others in proportion."""
        for group, ratio in zip(self.optimizer.param_groups, self.ratios, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * ratio)
            else:
                group["lr"] = rate * ratio


def copied(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Any) -> Training:
    """Return a copy in training mode; tied weights are tied, moments are those of the original.

    A loss that is a function is not copied; a module or a method of one is.

    Raises:
        InvalidArgumentError: If the model cannot be copied.
    """
    memo: dict[int, Any] = {id(kept): kept.detach().clone() for kept in _results(model)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that say that they are copied
            twin = copy.deepcopy(model, memo)
            bound = isinstance(loss, types.MethodType) and isinstance(loss.__self__, nn.Module)
            loss = copy.deepcopy(loss, memo) if bound or isinstance(loss, nn.Module) else loss
            steps = _copied(optimizer, memo)
    except Exception as error:
        raise InvalidArgumentError(
            f"model: must be copied by copy.deepcopy, but got {type(error).__name__}: {one_line(error)}; "
            "keep what cannot be copied (a lock, a file) out of the module"
        ) from error
    if not model.training:
        twin.train()
    for module in twin.modules():  # Accelerate puts a `forward` there that still computes with the original
        if "_original_forward" in module.__dict__ and "forward" in module.__dict__:
            module.forward = module.__dict__["_original_forward"]
    trained = [p for group in steps.param_groups for p in group["params"] if p.requires_grad]
    training = Training(twin, steps, loss, ratios(optimizer), trained)
    start = getattr(steps, "train", None)
    if callable(start):  # schedule-free optimizers
        start()
    return training


def _results(model: nn.Module) -> Iterator[Tensor]:
    """Yield tensors that modules keep of their last forward pass: `deepcopy` refuses what has a history.

    `torch.nn.utils.weight_norm` and `spectral_norm` keep a weight so, and compute it again in the next pass.
    """
    for module in model.modules():
        for value in vars(module).values():
            held = value if isinstance(value, list | tuple) else [value]
            yield from (one for one in held if isinstance(one, Tensor) and not one.is_leaf)


def _copied(optimizer: torch.optim.Optimizer, memo: dict[int, Any]) -> torch.optim.Optimizer:
    """Return a copy without hooks and without what schedulers have put in the place of `step`."""
    twin = copy.deepcopy(optimizer, memo)
    for name, value in vars(optimizer).items():  # attributes of other people's optimizers, which no state has
        if name not in vars(twin) and not callable(value) and not name.startswith("_optimizer_"):
            setattr(twin, name, copy.deepcopy(value, memo))
    return twin

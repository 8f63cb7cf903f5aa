"""How a loss is computed from a model and a mini-batch, whatever of the usual forms the user's has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hypernudge.errors import InvalidArgumentError, one_line, require

Loss = Callable[[Any, Any], Any]


def checked(loss: Any) -> None:
    """Refuse what cannot compute a loss.

    Raises:
        InvalidArgumentError: If it is neither None nor callable, or a class.
    """
    ok = loss is None or (callable(loss) and not isinstance(loss, type))
    require(ok, "loss", "must be a function of (model, batch), a criterion, or None", loss, "write one")


def is_criterion(loss: Any) -> bool:
    """Whether a loss takes outputs and targets: a module, or a function of `torch.nn.functional`."""
    function = loss.func if isinstance(loss, functools.partial) else loss
    home = getattr(function, "__module__", "")
    return isinstance(function, nn.Module) or home in ("torch.nn.functional", "torch._C._nn")


def loss_of(loss: Any, model: nn.Module, batch: Any, differentiable: bool = True) -> Tensor:
    """Return the loss of a mini-batch, a scalar; with a gradient, unless that is not asked for.

    Raises:
        InvalidArgumentError: If it is none.
    """
    if loss is None:
        value = _scalar(_called(model, batch))
    elif is_criterion(loss):
        pair = isinstance(batch, Sequence) and len(batch) == 2
        remedy = "give loss=lambda model, batch: ..."
        require(pair, "data", "must yield (inputs, targets) for a criterion", type(batch).__name__, remedy)
        value = loss(_called(model, batch[0]), batch[1])
    else:
        value = _scalar(loss(model, batch))
    single = isinstance(value, Tensor) and value.numel() == 1
    got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    require(single, "loss", "must be one number, a tensor", got, "return the mean over the mini-batch")
    rule, remedy = (
        "must be differentiable by the model's parameters",
        "compute it with the model that is given",
    )
    require(value.requires_grad or not differentiable, "loss", rule, value, remedy)
    return value.reshape(())  # type: ignore[no-any-return]


@contextmanager
def explained(first: bool) -> Iterator[None]:
    """Say what a loss is called with, where the first call shows that it takes something else.

    Raises:
        InvalidArgumentError: In place of a `TypeError` or `AttributeError`, which is its cause.
    """
    try:
        yield
    except (TypeError, AttributeError) as error:
        if not first:
            raise
        raise InvalidArgumentError(
            "loss: must be a function of (model, batch), a criterion, or None where model(batch) is the loss,"
            f" but computing it raised {type(error).__name__}: {one_line(error)}; "
            "give loss=lambda model, batch: ..."
        ) from error


def _called(model: nn.Module, batch: Any) -> Any:
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


def _scalar(output: Any) -> Any:
    """Return the loss in what a model has returned: itself, `.loss`, `["loss"]`, or the first of a tuple."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        found = output.get("loss")
    elif hasattr(output, "loss"):
        found = output.loss
    else:
        found = output[0] if isinstance(output, tuple | list) and output else None
    if not isinstance(found, Tensor):
        raise InvalidArgumentError(
            f"loss: must be a tensor, or the output's `loss`, but got a {type(output).__name__}; "
            "give loss=lambda model, batch: ..., or labels in the batch"
        )
    return found


def autocast(precision: str, device: torch.device) -> Any:
    """Return the context in which forward passes run."""
    kinds = {"bf16": torch.bfloat16, "fp16": torch.float16}
    enabled = precision in kinds
    return torch.autocast(device.type, dtype=kinds.get(precision, torch.bfloat16), enabled=enabled)

"""Everything that reading data and computing losses may change, put back afterwards.

Trials train a copy, so weights are safe. What is left are generators of random numbers, wherever an object
keeps one, counters and caches of data sets and samplers, lists that hooks write to, and, where a loss is not
computed by the model that it is given, gradients and buffers.
"""

from __future__ import annotations

import functools
import random
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MOST_OBJECTS = 100_000
LONGEST_CONTAINER = 1_000  # entries of a list or mapping that are looked at
_ATOMS = (str, bytes, int, float, complex, type, types.ModuleType, Tensor, np.ndarray, np.generic)
_THREADS = ("threading", "_thread", "queue", "logging", "multiprocessing", "concurrent", "asyncio")
_TRAINERS = ("lightning", "pytorch_lightning", "lightning_fabric", "transformers", "accelerate")
_FOREIGN = frozenset(_THREADS + _TRAINERS)  # objects of these hold threads, or the state of a whole program
Undo = Callable[[], None]


@contextmanager
def untouched(*roots: Any) -> Iterator[None]:
    """Put back what hangs on some objects, as far as attributes, closures and short containers lead.

    Values of tensors are put back where a module holds them as buffers or gradients; other tensors are not
    looked into.
    """
    undo: list[Undo] = []
    kept: list[Any] = list(roots)  # what is visited stays alive, so that no address is used again
    seen: set[int] = set()
    while kept and len(seen) < MOST_OBJECTS:
        one = kept.pop()
        if one is None or isinstance(one, _ATOMS) or id(one) in seen:
            continue
        seen.add(id(one))
        undo.append(functools.partial(_same, one))
        kept.extend(_visit(one, undo))
    try:
        yield
    finally:
        for put_back in undo:
            put_back()


def _same(one: Any) -> None:
    """Hold an object; there is nothing to put back."""


def _visit(one: Any, undo: list[Undo]) -> list[Any]:
    """Note how an object is put back, and return what it refers to."""
    if isinstance(one, torch.Generator):
        state = one.get_state()
        undo.append(lambda: _same(one.set_state(state)))
    elif isinstance(one, np.random.Generator):
        undo.append(functools.partial(setattr, one.bit_generator, "state", one.bit_generator.state))
    elif isinstance(one, np.random.RandomState):
        undo.append(functools.partial(one.set_state, one.get_state()))
    elif isinstance(one, random.Random):
        undo.append(functools.partial(one.setstate, one.getstate()))
    elif isinstance(one, types.FunctionType):
        return [_content(cell) for cell in one.__closure__ or ()]
    elif isinstance(one, types.MethodType):
        return [one.__self__, one.__func__]
    elif isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    elif isinstance(one, list | set | dict):
        return _container(one, undo)
    elif isinstance(one, tuple):
        return list(one) if len(one) <= LONGEST_CONTAINER else []
    else:
        return _object(one, undo)
    return []


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that was not given a value
        return None


def _container(one: Any, undo: list[Undo]) -> list[Any]:
    if len(one) > LONGEST_CONTAINER:
        return []
    before = one.copy()

    def put_back() -> None:
        if isinstance(one, list):
            if len(one) != len(before) or any(a is not b for a, b in zip(one, before, strict=True)):
                one[:] = before
        elif isinstance(one, dict):
            _put_back_mapping(one, before)
        elif one != before:
            one.clear()
            one.update(before)

    undo.append(put_back)
    return list(before.values() if isinstance(before, dict) else before)


def _put_back_mapping(now: dict[Any, Any], before: dict[Any, Any]) -> None:
    if list(now) != list(before) or any(now[key] is not before[key] for key in before):
        now.clear()
        now.update(before)


def _object(one: Any, undo: list[Undo]) -> list[Any]:
    module = type(one).__module__.partition(".")[0]
    attributes = getattr(one, "__dict__", None)
    if not isinstance(attributes, dict) or (module in _FOREIGN and not isinstance(one, nn.Module)):
        return []
    if isinstance(one, nn.Module):
        _module(one, undo)
    before = dict(attributes)
    # What has locks or threads of its own may be at work meanwhile: it stays as it is then.
    if not any(type(value).__module__.partition(".")[0] in _THREADS for value in before.values()):
        undo.append(lambda: _put_back_mapping(one.__dict__, before))
    return list(before.values())


def _module(one: nn.Module, undo: list[Undo]) -> None:
    """Note the buffers of a module, without its parts, and the gradients of its parameters."""
    for buffer in one._buffers.values():
        if buffer is not None:
            undo.append(functools.partial(_put_back_values, buffer, buffer.detach().clone()))
    for parameter in one._parameters.values():
        if parameter is not None:
            grad = parameter.grad
            values = None if grad is None else grad.detach().clone()
            undo.append(functools.partial(_put_back_gradient, parameter, grad, values))


def _put_back_values(held: Tensor, values: Tensor) -> None:
    if not torch.equal(held, values):
        with torch.no_grad():
            held.detach().copy_(values)


def _put_back_gradient(parameter: Tensor, grad: Tensor | None, values: Tensor | None) -> None:
    parameter.grad = grad
    if grad is not None and values is not None:
        _put_back_values(grad, values)

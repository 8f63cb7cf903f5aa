"""The state of a trial of any task as plain data, and back: no class is named by what is written.

What can be said: tensors, arrays, numbers, texts and containers of them; random generators; modules,
optimizers and whatever has `state_dict` and `load_state_dict`; and objects whose attributes can be said. They
are restored *into* a state that the task's own `start` has just made, which has the classes. What a new state
shares with every other one, such as the data, is left out.

A task that knows better has `state_dict(state)` and `load_state_dict(state, content)`.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from hypernudge.engine.workers.sharing import Sharing
from hypernudge.errors import InvalidArgumentError

if TYPE_CHECKING:  # a worker whose task has no tensors need not import PyTorch
    from hypernudge.task import Task


REMEDY = "give the task state_dict(state) and load_state_dict(state, content)"
_PLAIN = (bool, int, float, str, bytes, type(None))
_TAG = "__is__"
_CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)


class UnsaidStateError(InvalidArgumentError):
    """A state with something in it that no file can hold; what a user should know, not a failed trial."""


class Checkpointed(Protocol):
    """What a task offers that says and restores its own states."""

    def state_dict(self, state: Any) -> Mapping[str, Any]:
        """Return a state as tensors, numbers, texts, bytes and containers of them."""
        ...

    def load_state_dict(self, state: Any, content: Mapping[str, Any]) -> None:
        """Bring a state that `start` has just made to where `state_dict` said."""
        ...


def _says_itself(task: object) -> TypeGuard[Checkpointed]:
    return hasattr(task, "state_dict") and hasattr(task, "load_state_dict")  # `isinstance` is slow at this


def content_of(task: Task, state: Any, fresh: Any) -> Any:
    """Return a state as plain data.

    Args:
        task: Whose it is.
        state: Of a trial that was trained.
        fresh: Another one that `start` has made, which is not changed.

    Raises:
        UnsaidStateError: If something in it cannot be said, naming that.
    """
    if _says_itself(task):
        return {"own": _said(dict(task.state_dict(state)), None, "state", ())}
    said = _said(state, fresh, "state", ())
    twice = Sharing(_attributes, _PLAIN, _CODE).first(state, fresh)
    if twice is not None:
        where, value, before = twice
        raise _unsaid(where, value, f"shares its memory with {before}")
    return {"state": said}


def restored(task: Task, content: Mapping[str, Any], fresh: Any) -> Any:
    """Return the state that `content_of` said; `fresh`, which `start` has just made, becomes it.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: If it is none of this task.
    """
    if _says_itself(task):
        task.load_state_dict(fresh, _read(content["own"], None))
        return fresh
    return _read(content["state"], fresh)


def _said(value: Any, like: Any, where: str, within: tuple[int, ...]) -> Any:
    """Return a value as plain data; `like` is what stands in its place in a new state, None for nothing."""
    if type(value) in _PLAIN:
        return value
    if value is like:
        return {_TAG: "shared"}
    if id(value) in within:
        raise _unsaid(where, value, "holds itself")
    within = (*within, id(value))
    if isinstance(value, np.generic):
        return {_TAG: "array", "data": _tensor(np.asarray(value), where), "scalar": True}
    if type(value) is np.ndarray:
        return {_TAG: "array", "data": _tensor(value, where), "scalar": False}
    if isinstance(value, np.random.Generator):
        return {_TAG: "numpy", "data": _said(dict(value.bit_generator.state), None, where, within)}
    if isinstance(value, random.Random):
        return {_TAG: "python", "data": value.getstate()}
    found = _said_of_torch(value, where)
    if found is not None:
        return found
    if type(value) in (list, tuple):
        peers = like if type(like) is type(value) else ()
        entries = [
            _said(entry, peers[i] if i < len(peers) else None, f"{where}[{i}]", within)
            for i, entry in enumerate(value)
        ]
        return entries if type(value) is list else tuple(entries)
    if type(value) in (set, frozenset):
        return {_TAG: type(value).__name__, "data": [_said(entry, None, where, within) for entry in value]}
    if type(value) is dict:
        return _said_mapping(value, like if type(like) is dict else {}, where, within)
    if isinstance(value, _CODE):
        if _same_code(value, like):
            return {_TAG: "shared"}
        raise _unsaid(where, value, "is code")
    if type(value) is not type(like):
        raise _unsaid(where, value, "has no counterpart in a new state that could be filled in")
    if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
        return {_TAG: "loads", "data": _said(dict(value.state_dict()), None, f"{where}.state_dict()", within)}
    if isinstance(value, dict | list | tuple | set):
        raise _unsaid(where, value, f"is a kind of {type(value).__mro__[1].__name__}")
    names = _attributes(value)
    if not names:
        raise _unsaid(where, value, "has no attributes")
    said = {n: _said(getattr(value, n), getattr(like, n, None), f"{where}.{n}", within) for n in names}
    return {_TAG: "object", "data": said}


def _said_mapping(value: Mapping[Any, Any], like: Mapping[Any, Any], where: str, within: Any) -> Any:
    for key in value:
        if type(key) not in _PLAIN and not (type(key) is tuple and all(type(k) in _PLAIN for k in key)):
            raise _unsaid(where, key, "is a key")
    said = {key: _said(entry, like.get(key), f"{where}[{key!r}]", within) for key, entry in value.items()}
    return {_TAG: "dict", "data": said} if _TAG in said else said


def _said_of_torch(value: Any, where: str) -> Any:
    """Return what is said of something of PyTorch's; None for anything else."""
    if not any(kind.__module__.partition(".")[0] == "torch" for kind in type(value).__mro__):
        return None
    import torch

    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided or (value.grad_fn is not None and value.requires_grad):
            reason = "is sparse" if value.layout != torch.strided else "belongs to a graph: detach it"
            raise _unsaid(where, value, reason)
        data = value.detach()
        # Of a view only its own part is written, not all that lies behind it.
        data = data.clone() if data.untyped_storage().nbytes() > data.nbytes else data
        return {_TAG: "leaf", "data": data} if value.requires_grad else data
    if isinstance(value, torch.Generator):
        return {_TAG: "torch", "data": value.get_state()}
    if isinstance(value, torch.nn.Module):
        own = {name: entry.detach() for name, entry in value.state_dict().items()}
        training = [name for name, module in value.named_modules() if module.training]
        return {_TAG: "module", "data": own, "training": training}
    if isinstance(value, torch.dtype | torch.Size | torch.device):
        return tuple(value) if isinstance(value, torch.Size) else {_TAG: "shown", "data": str(value)}
    return None


def _tensor(array: np.ndarray, where: str) -> Any:
    import torch

    try:
        return torch.from_numpy(np.ascontiguousarray(array)).reshape(array.shape)
    except TypeError:
        raise _unsaid(where, array, f"has the type {array.dtype}") from None


def _same_code(value: Any, like: Any) -> bool:
    """Whether two functions are one, made twice: a `lambda` in `start` is new each time."""
    if isinstance(value, FunctionType) and isinstance(like, FunctionType):
        return value.__code__ is like.__code__ and not value.__closure__ and not like.__closure__
    return bool(value == like)


def _attributes(value: Any) -> list[str]:
    if hasattr(value, "__dict__"):
        return list(vars(value))
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return []


def _unsaid(where: str, value: Any, reason: str) -> UnsaidStateError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    what = where if value is None else f"{where}, a {kind},"
    return UnsaidStateError(
        f"task: its states must be data that a file can hold, but {what} {reason}; {REMEDY}"
    )


def _read(said: Any, like: Any) -> Any:
    """Return the value that was said; in the place of `like`, which an object is restored into."""
    if type(said) in (list, tuple):
        peers = like if type(like) is type(said) else ()
        entries = [_read(entry, peers[i] if i < len(peers) else None) for i, entry in enumerate(said)]
        return entries if type(said) is list else tuple(entries)
    if type(said) is not dict:
        return _on_device(said, like)
    if _TAG not in said:
        peers = like if type(like) is dict else {}
        return _filled(like, {key: _read(entry, peers.get(key)) for key, entry in said.items()})
    return _READERS[said[_TAG]](said, like)


def _filled(like: Any, entries: dict[Any, Any]) -> dict[Any, Any]:
    """Return a dictionary, the very one that stood there: something else may refer to it."""
    if type(like) is not dict:
        return entries
    like.clear()
    like.update(entries)
    return like


def _on_device(said: Any, like: Any) -> Any:
    device = getattr(like, "device", None)
    moves = device is not None and hasattr(said, "to")
    return said.to(device) if moves else said


def _read_leaf(said: Mapping[str, Any], like: Any) -> Any:
    """An optimizer may hold the leaf that is there: it is filled in, where there is one."""
    import torch

    data = said["data"]
    fits = isinstance(like, torch.Tensor) and like.requires_grad and like.shape == data.shape
    if not fits:
        return _on_device(data, like).requires_grad_(True)
    with torch.no_grad():
        like.copy_(data)
    return like


def _read_array(said: Mapping[str, Any], like: Any) -> Any:
    array = said["data"].numpy()
    return array[()] if said["scalar"] else array


def _read_generator(said: Mapping[str, Any], like: Any) -> Any:
    if said[_TAG] == "numpy":
        state = _read(said["data"], None)
        if not isinstance(like, np.random.Generator):
            like = np.random.Generator(getattr(np.random, _bit_generator(state["bit_generator"]))())
        like.bit_generator.state = state
        return like
    if said[_TAG] == "python":
        like = like if isinstance(like, random.Random) else random.Random()
        like.setstate(said["data"])
        return like
    import torch

    like = like if isinstance(like, torch.Generator) else torch.Generator()
    like.set_state(said["data"])
    return like


def _bit_generator(name: str) -> str:
    known = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
    if name not in known:
        raise ValueError(f"unknown generator {name!r}")
    return name


def _read_module(said: Mapping[str, Any], like: Any) -> Any:
    like.load_state_dict(said["data"])
    training = set(said["training"])
    for name, module in like.named_modules():
        module.training = name in training
    return like


def _read_loading(said: Mapping[str, Any], like: Any) -> Any:
    like.load_state_dict(_read(said["data"], None))
    return like


def _read_object(said: Mapping[str, Any], like: Any) -> Any:
    values = said["data"]
    for name in _attributes(like):
        if name not in values and hasattr(like, "__dict__"):
            delattr(like, name)
    for name, value in values.items():
        object.__setattr__(like, name, _read(value, getattr(like, name, None)))
    return like


def _read_shown(said: Mapping[str, Any], like: Any) -> Any:
    import torch

    name = str(said["data"])
    if name.startswith("torch."):
        found = getattr(torch, name.removeprefix("torch."))
        if not isinstance(found, torch.dtype):
            raise ValueError(f"unknown type {name!r}")
        return found
    return torch.device(name)


_READERS = {
    "shared": lambda said, like: like,
    "array": _read_array,
    "numpy": _read_generator,
    "python": _read_generator,
    "torch": _read_generator,
    "set": lambda said, like: set(_read(said["data"], None)),
    "frozenset": lambda said, like: frozenset(_read(said["data"], None)),
    "dict": lambda said, like: _filled(
        like,
        {key: _read(e, (like if type(like) is dict else {}).get(key)) for key, e in said["data"].items()},
    ),
    "leaf": _read_leaf,
    "module": _read_module,
    "loads": _read_loading,
    "object": _read_object,
    "shown": _read_shown,
}

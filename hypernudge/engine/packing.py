"""A training state as its skeleton and its numbers: the numbers can then lie in a file.

The numbers are tensors (arrays and long texts of bytes become some), which `torch.load` reads with
`weights_only=True`. The skeleton, everything between them, is a pickle that never leaves this process. What a
pickle would lose without a word (hooks, what an object's own `__getstate__` leaves out), what it cannot hold
(lambdas, generators, locks), and memory that two parts share, is refused.
"""

from __future__ import annotations

import collections
import copyreg
import datetime
import decimal
import fractions
import functools
import io
import pathlib
import random
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pickle import Pickler, PicklingError, Unpickler
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LONG = 4096  # bytes from which a text of bytes is worth a place in a file
_ATOMS = (type(None), bool, int, float, complex, str, bytes, type, types.FunctionType)
_FAITHFUL: tuple[type, ...] = (
    *(collections.OrderedDict, collections.defaultdict, collections.deque, collections.Counter),
    *(functools.partial, types.MethodType, types.BuiltinFunctionType, range, slice, complex, bytearray),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, decimal.Decimal),
    *(fractions.Fraction, random.Random, np.random.Generator, np.random.RandomState),
    *(np.random.SeedSequence, torch.Size, torch.dtype, torch.device),
)
"""Types with a way of their own to be pickled that loses nothing."""
_FAMILIES = (
    *(type, types.FunctionType),  # by their names: a lambda has none
    *(Enum, pathlib.PurePath, np.generic, np.dtype, np.random.BitGenerator),
)
_OF_AN_OPTIMIZER = {
    *("defaults", "state", "param_groups"),
    *("_zero_grad_profile_name", "_warned_capturable_if_run_uncaptured"),  # it sets them again by itself
}


class UnpackableError(Exception):
    """A state that cannot be packed, and why."""


@dataclass(frozen=True)
class _Number:
    """How a number looks that was taken out of a state."""

    kind: str
    requires_grad: bool = False
    dtype: Any = None
    shape: tuple[int, ...] = ()
    order: str = "C"
    grad: int | None = None  # place of a tensor's gradient among the numbers


@dataclass(frozen=True)
class Packed:
    """A state in two parts.

    Attributes:
        skeleton: All but the numbers; for this process only.
        kinds: What each tensor was.
        shared: Objects that the state only refers to.
        tensors: The numbers.
        size: Bytes of all of it.
    """

    skeleton: bytes
    kinds: tuple[_Number, ...]
    shared: tuple[Any, ...]
    tensors: tuple[Tensor, ...]
    size: int


def pack(state: Any, shared: Iterable[Any] = ()) -> Packed:
    """Take a state apart; its tensors are not copied.

    Args:
        state: Any object.
        shared: What the state may refer to without owning it: stays as it is.

    Raises:
        UnpackableError: If the same state would not come out of it.
    """
    file = io.BytesIO()
    packer = _Packer(file, shared)
    try:
        packer.dump(state)
    except UnpackableError:
        raise
    except (PicklingError, TypeError, AttributeError, RecursionError) as error:
        raise UnpackableError(str(error)) from None
    except Exception as error:  # a user's object may refuse in any way
        raise UnpackableError(f"{type(error).__name__}: {error}") from None
    size = _size(packer.tensors)
    skeleton = file.getvalue()
    return Packed(
        skeleton, tuple(packer.kinds), tuple(packer.shared), tuple(packer.tensors), size + len(skeleton)
    )


def unpack(packed: Packed, tensors: Iterable[Tensor]) -> Any:
    """Return the state that was packed.

    Args:
        packed: Its skeleton.
        tensors: Its numbers, which become part of it.

    Raises:
        ValueError: If they are not as many as were taken out, or of another kind.
    """
    numbers = list(tensors)
    if len(numbers) != len(packed.kinds):
        raise ValueError(f"{len(numbers)} tensors, not {len(packed.kinds)}")
    return _Unpacker(packed, numbers).load()


def _size(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of all memory that tensors lie in; they may share it, if they know that they do."""
    storages = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = (str(tensor.device), storage.data_ptr(), storage.nbytes())
    before, end = "", 0
    for device, first, length in sorted(storages.values()):
        if length and device == before and first < end:
            raise UnpackableError("two arrays, or an array and a tensor, share their memory")
        before, end = device, first + length
    return sum(length for _, _, length in storages.values())


class _Packer(Pickler):
    """Pickles a state without its numbers."""

    def __init__(self, file: io.BytesIO, shared: Iterable[Any]) -> None:
        super().__init__(file, protocol=5)
        self._own = {id(thing): thing for thing in shared if not isinstance(thing, _ATOMS)}
        self._places: dict[int, int] = {}
        self._alive: list[Any] = []  # else another object could get the same `id`
        self.kinds: list[_Number] = []
        self.tensors: list[Tensor] = []
        self.shared: list[Any] = []

    def persistent_id(self, obj: Any) -> tuple[str, int] | None:
        """Return the place of what is not pickled: a number, or something that is shared."""
        if id(obj) in self._own:
            self.shared.append(obj)
            return "shared", len(self.shared) - 1
        if isinstance(obj, Tensor):
            return "number", self._place(obj, self._tensor)
        if type(obj) is np.ndarray and not obj.dtype.hasobject:
            return "number", self._place(obj, self._array)
        if type(obj) is torch.Generator:
            return "number", self._place(obj, self._generator)
        if type(obj) in (bytes, bytearray) and len(obj) >= LONG:
            return "number", self._place(obj, self._bytes)
        return None

    def _place(self, obj: Any, take: Any) -> int:
        if id(obj) not in self._places:
            self._alive.append(obj)
            take(obj)
            self._places[id(obj)] = len(self.kinds) - 1
        return self._places[id(obj)]

    def _add(self, kind: _Number, tensor: Tensor) -> None:
        self.kinds.append(kind)
        self.tensors.append(tensor)

    def _tensor(self, tensor: Tensor) -> None:
        plain = (
            type(tensor) in (Tensor, nn.Parameter)
            and tensor.layout == torch.strided
            and tensor.device.type != "meta"
            and not (tensor.is_quantized or tensor.is_conj() or tensor.is_neg() or tensor.is_inference())
        )
        bare = tensor.is_leaf and not tensor._backward_hooks and not tensor.__dict__
        if not (plain and bare):
            raise UnpackableError("a tensor with a graph, hooks or attributes, or of a special kind")
        grad = None if tensor.grad is None else self._place(tensor.grad, self._tensor)
        kind = "parameter" if isinstance(tensor, nn.Parameter) else "tensor"
        self._add(_Number(kind, tensor.requires_grad, grad=grad), tensor.detach())

    def _array(self, array: np.ndarray[Any, Any]) -> None:
        order = "C" if array.flags.c_contiguous else "F"
        if not (array.flags.writeable and array.flags.forc):  # one of the two orders
            raise UnpackableError("an array that is read only, or not contiguous")
        kind = _Number("array", dtype=array.dtype, shape=array.shape, order=order)
        raw = array.reshape(-1, order="C" if order == "C" else "F").view(np.uint8)
        self._add(kind, torch.from_numpy(raw))

    def _bytes(self, text: bytes | bytearray) -> None:
        raw = np.frombuffer(text, np.uint8).copy()
        self._add(_Number(type(text).__name__), torch.from_numpy(raw))

    def _generator(self, generator: torch.Generator) -> None:
        self._add(_Number("generator", dtype=generator.device), generator.get_state())

    def reducer_override(self, obj: Any) -> Any:
        """Refuse what would not come back as it was."""
        kind = type(obj)
        if isinstance(obj, _FAMILIES) or kind in _FAITHFUL or _is_global(obj):
            return NotImplemented
        if isinstance(obj, torch.optim.Optimizer):
            return self._optimizer(obj)
        if isinstance(obj, nn.Module):  # whose `__getstate__` leaves out what was compiled, and nothing else
            faithful = _reduced_as(nn.Module, kind) and obj._compiled_call_impl is None
        else:
            own = kind in copyreg.dispatch_table or hasattr(kind, "__setstate__")
            faithful = _reduced_as(object, kind) and not own
        if faithful:
            return NotImplemented
        raise UnpackableError(f"a {kind.__module__}.{kind.__qualname__}")

    def _optimizer(self, optimizer: torch.optim.Optimizer) -> Any:
        """Refuse what its own `__getstate__` leaves out: hooks, and whatever was put on it."""
        lost = sorted(
            name
            for name, value in vars(optimizer).items()
            if name not in _OF_AN_OPTIMIZER and (value or not name.startswith("_optimizer_"))
        )
        if _reduced_as(torch.optim.Optimizer, type(optimizer)) and not lost:
            return NotImplemented
        raise UnpackableError(f"an optimizer with {', '.join(lost) or 'a state of its own'}")


def _is_global(obj: Any) -> bool:
    """Whether an object is what its own name says: Cython's functions are of no type that Python knows."""
    name, module = getattr(obj, "__qualname__", None), getattr(obj, "__module__", None)
    return isinstance(name, str) and getattr(sys.modules.get(str(module)), name, None) is obj


def _reduced_as(base: type, kind: type) -> bool:
    """Whether an object is reduced to its attributes in the way of its base class."""
    names = ("__reduce_ex__", "__reduce__", "__getstate__")
    return all(getattr(kind, name) is getattr(base, name) for name in names)


class _Unpacker(Unpickler):
    """Puts numbers back into a skeleton."""

    def __init__(self, packed: Packed, tensors: list[Tensor]) -> None:
        super().__init__(io.BytesIO(packed.skeleton))
        self._packed = packed
        self._numbers = [_number(kind, tensor) for kind, tensor in zip(packed.kinds, tensors, strict=True)]
        for kind, number in zip(packed.kinds, self._numbers, strict=True):
            if kind.grad is not None:
                number.grad = self._numbers[kind.grad]

    def persistent_load(self, pid: tuple[str, int]) -> Any:
        """Return what was not pickled."""
        where: Mapping[str, Any] = {"number": self._numbers, "shared": self._packed.shared}
        return where[pid[0]][pid[1]]


def _number(kind: _Number, tensor: Tensor) -> Any:
    if kind.kind == "parameter":
        return nn.Parameter(tensor, kind.requires_grad)
    if kind.kind == "tensor":
        return tensor.requires_grad_(kind.requires_grad)
    if kind.kind == "generator":
        generator = torch.Generator(kind.dtype)
        generator.set_state(tensor)
        return generator
    if kind.kind == "array":
        flat = tensor.numpy().view(kind.dtype)
        return flat.reshape(kind.shape, order="C" if kind.order == "C" else "F").copy("K")
    return (bytearray if kind.kind == "bytearray" else bytes)(tensor.numpy().tobytes())

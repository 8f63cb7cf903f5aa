"""Parts of a state that are one: a list held twice, two views of an array. Written, they would become two.

What a new state holds twice, too, is restored in place, and stays one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np


class _Memory(NamedTuple):
    """Memory of a tensor or an array."""

    device: str
    start: int
    end: int
    storage: int  # what is written once, however many tensors lie in all of it; 0 for nothing such
    where: str


class Sharing:
    """Finds them in one state.

    Args:
        attributes: Returns the names of an object's attributes.
        plain: Types whose values have no parts.
        code: Types of code.
    """

    def __init__(self, attributes: Any, plain: tuple[type, ...], code: tuple[type, ...]) -> None:
        self._attributes, self._plain, self._code = attributes, plain, code
        self._seen: dict[int, tuple[str, Any]] = {}
        self._memory: list[_Memory] = []

    def first(self, state: Any, fresh: Any) -> tuple[str, Any, str] | None:
        """Return where something stands for the second time, it, and where before; None if nothing does.

        Args:
            state: The state.
            fresh: A new one.
        """
        twice = next(self._walk(state, fresh, "state"), None)
        if twice is not None:
            return twice
        before = None
        for memory in sorted(self._memory):
            overlap = before is not None and memory.device == before.device and memory.start < before.end
            if before is not None and overlap and not 0 < memory.storage == before.storage:
                return memory.where, None, before.where
            if before is None or memory.device != before.device or memory.end > before.end:
                before = memory
        return None

    def _walk(self, value: Any, like: Any, where: str) -> Iterator[tuple[str, Any, str]]:
        if isinstance(value, (*self._plain, *self._code)) or value is like:
            return
        if isinstance(value, np.generic):
            return
        if type(value) is tuple:
            yield from self._entries(value, like, where)
            return
        if self._is_tensor(value):
            yield from self._tensor(value, like, where)
            return
        in_place = type(value) is type(like) and not isinstance(value, list | set | np.ndarray)
        known = self._seen.get(id(value))
        if known is not None:
            if not (in_place and known[1] is like):
                yield where, value, known[0]
            return
        self._seen[id(value)] = where, like
        if isinstance(value, np.ndarray):
            if value.nbytes:
                self._memory.append(_Memory("cpu", *_bounds(value), 0, where))
        elif type(value) is list:
            yield from self._entries(value, like, where)
        elif type(value) is dict:
            peers: Mapping[Any, Any] = like if type(like) is dict else {}
            for key, entry in value.items():
                yield from self._walk(entry, peers.get(key), f"{where}[{key!r}]")
        elif not hasattr(value, "state_dict") and not isinstance(value, set | frozenset):
            for name in self._attributes(value):
                yield from self._walk(getattr(value, name), getattr(like, name, None), f"{where}.{name}")

    def _entries(self, value: Any, like: Any, where: str) -> Iterator[tuple[str, Any, str]]:
        peers = like if type(like) is type(value) else ()
        for i, entry in enumerate(value):
            yield from self._walk(entry, peers[i] if i < len(peers) else None, f"{where}[{i}]")

    def _tensor(self, value: Any, like: Any, where: str) -> Iterator[tuple[str, Any, str]]:
        storage = value.untyped_storage()
        whole = storage.nbytes() <= value.nbytes and not value.requires_grad  # else it is written by itself
        known = self._seen.get(id(value))
        if known is not None:
            if not whole and not (value.requires_grad and known[1] is like):
                yield where, value, known[0]
            return
        self._seen[id(value)] = where, like
        if value.nbytes and storage.data_ptr():
            start = value.data_ptr()
            end = start + value.nbytes if value.is_contiguous() else storage.data_ptr() + storage.nbytes()
            place = storage._cdata if whole else 0
            self._memory.append(_Memory(str(value.device), start, end, place, where))

    @staticmethod
    def _is_tensor(value: Any) -> bool:
        torch = sys.modules.get("torch")
        return torch is not None and isinstance(value, torch.Tensor)


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """Return where the memory of an array begins and ends."""
    start = int(array.__array_interface__["data"][0])
    steps = [stride * (length - 1) for stride, length in zip(array.strides, array.shape, strict=True)]
    return start + sum(min(0, s) for s in steps), start + sum(max(0, s) for s in steps) + array.itemsize

"""Memory that a computation overwrites instead of asking for it anew at every step."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import prod

import torch
from torch import Tensor


class Workspace:
    """Tensors by name, made once and as large as the largest use of the name so far.

    Fresh memory costs a page fault for every few kilobytes, which on small layers takes longer than their
    arithmetic. What a name returned is overwritten by the next use of the name; so a workspace belongs to one
    thread at a time.
    """

    def __init__(self) -> None:
        self._held: dict[Hashable, Tensor] = {}
        self._framed: dict[Hashable, tuple[int, ...]] = {}

    def empty(
        self, name: Hashable, shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None
    ) -> Tensor:
        """Return a contiguous tensor of `shape` with any content, on the device and of the type of `like`.

        Args:
            name: What it is for; together with type and device it says which memory is used.
            shape: Its shape.
            like: A tensor on the same device.
            dtype: Another type than that of `like`.
        """
        dtype = dtype or like.dtype
        key, size = (name, dtype, like.device), prod(shape)
        held = self._held.get(key)
        if held is None or held.numel() < size:
            held = self._held[key] = torch.empty(size, dtype=dtype, device=like.device)
        return held[:size].view(*shape)

    def framed(self, name: Hashable, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return what `empty` does, zero wherever its users never write; it keeps what they wrote."""
        result = self.empty(name, shape, like)
        key = (name, like.dtype, like.device)
        known = (result.data_ptr(), *shape)
        if self._framed.get(key) != known:
            result.zero_()
            self._framed[key] = known
        return result

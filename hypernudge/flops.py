"""Counting the FLOPs of a piece of work, without the seconds that PyTorch's own counter takes to start.

`torch.utils.flop_counter.FlopCounterMode` imports the compiler on first use (four seconds where a small
study takes one). This mode uses the same formulas and skips that; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

T = TypeVar("T")


def _matrix_vector(matrix: Any, vector: Any, **_: Any) -> int:
    return 2 * int(matrix.numel())


def _dot(a: Any, b: Any, **_: Any) -> int:
    return 2 * int(a.numel())


# PyTorch's registry leaves these out; a linear model with one output consists of nothing else.
_MORE: dict[Any, Callable[..., int]] = {torch.ops.aten.mv: _matrix_vector, torch.ops.aten.dot: _dot}


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is ever compiled, so there is nothing to protect from the compiler

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        formula = flop_registry.get(packet, _MORE.get(packet))
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def count_flops(work: Callable[[], T]) -> tuple[T, float]:
    """Run `work()`; return its result and the FLOPs of its matrix products, convolutions and attention."""
    with _Counter() as counter:  # type: ignore[no-untyped-call]
        result = work()
    return result, float(counter.total)

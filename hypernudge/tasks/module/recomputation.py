"""Activation checkpointing is off while a loss is measured.

A checkpointed layer computes its forward pass again during the backward pass. By then a functional call has
put the model's own parameters back, so that the gradient would be that of other parameters, without an error.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import disable_saved_tensors_hooks

_UNKNOWN = "a model cannot be measured with activation checkpointing: build it without"
_lock = threading.Lock()
_within = 0  # in how many threads and levels
_before: dict[str, Any] = {}  # what the last one to leave puts back


class _Reentrant:
    """Stands for `CheckpointFunction`, of `use_reentrant=True`."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *arguments: Any) -> Any:
        del preserve_rng_state
        differs = any(isinstance(given, Tensor) and given.requires_grad for given in arguments)
        with nullcontext() if differs else torch.no_grad():  # without such an input it has no gradient at all
            return function(*arguments)


def _once(*arguments: Any, **options: Any) -> Iterator[None]:
    """Stand for the generator of `use_reentrant=False`, which lets the layer run between two steps."""
    del arguments, options
    yield


_PLAIN: dict[str, Any] = {
    "CheckpointFunction": _Reentrant,
    "_checkpoint_without_reentrant_generator": _once,
    "_checkpoint_without_reentrant_generator_impl": _once,  # of newer versions
}


@contextmanager
def stored_activations() -> Iterator[None]:
    """Within it, `torch.utils.checkpoint` stores what it would compute again; results are the same.

    PyTorch has no switch for that. Parts of it are replaced for the whole process: elsewhere this costs
    memory, for a moment. Where they are not known, a model with checkpointing raises.
    """
    module = sys.modules.get("torch.utils.checkpoint")
    if module is None:
        yield
        return
    if not hasattr(module, "_checkpoint_without_reentrant_generator"):
        with disable_saved_tensors_hooks(_UNKNOWN):
            yield
        return
    global _within, _before
    with _lock:
        if _within == 0:
            _before = {name: getattr(module, name) for name in _PLAIN if hasattr(module, name)}
            for name in _before:
                setattr(module, name, _PLAIN[name])
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                for name, was in _before.items():
                    setattr(module, name, was)

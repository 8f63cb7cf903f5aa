"""Attention that can be differentiated twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel

_lock = threading.Lock()
_within = 0  # in how many threads and levels
_plain = ExitStack()  # what the last one to leave puts back


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Within it, `scaled_dot_product_attention` is computed by plain operations.

    PyTorch's fused kernels have no second derivative ("derivative for ... is not implemented"), on CPUs as on
    GPUs; plain operations have. The forward pass must run within; its results are those of the fused kernels
    up to rounding. PyTorch has one switch for the whole process: threads that are within at the same time
    set it once, and the last one to leave puts it back.
    """
    global _within
    with _lock:
        if _within == 0:
            _plain.enter_context(sdpa_kernel(SDPBackend.MATH))
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                _plain.close()

"""Attention that can be differentiated twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.backends import cuda

# PyTorch's switches, of CPUs too: how to read and to set them, and how they stand for plain operations.
_PLAIN: tuple[tuple[Callable[[], bool], Callable[[bool], None], bool], ...] = (
    (cuda.flash_sdp_enabled, cuda.enable_flash_sdp, False),
    (cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp, False),
    (cuda.cudnn_sdp_enabled, cuda.enable_cudnn_sdp, False),
    (cuda.math_sdp_enabled, cuda.enable_math_sdp, True),
)
_lock = threading.Lock()
_within = 0  # in how many threads and levels
_before: list[bool] = []  # what the last one to leave puts back


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Within it, `scaled_dot_product_attention` is computed by plain operations.

    PyTorch's fused kernels have no second derivative ("derivative for ... is not implemented"), on CPUs as on
    GPUs; plain operations have. The forward pass must run within; its results are those of the fused kernels
    up to rounding. The switches are the whole process's: threads that are within at the same time turn them
    once, and the last one to leave turns them back, which `torch.nn.attention.sdpa_kernel` cannot do.
    """
    global _within, _before
    with _lock:
        if _within == 0:
            _before = [enabled() for enabled, _, _ in _PLAIN]
            for _, enable, plain in _PLAIN:
                enable(plain)
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if _within == 0:
                for (_, enable, _), was in zip(_PLAIN, _before, strict=True):
                    enable(was)

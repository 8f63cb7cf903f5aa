"""Attention that can be differentiated twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Within it, `scaled_dot_product_attention` is computed by plain operations.

    PyTorch's fused kernels have no second derivative ("derivative for ... is not implemented"), on CPUs as on
    GPUs; plain operations have. The forward pass must run within; its results are those of the fused kernels
    up to rounding.
    """
    with sdpa_kernel(SDPBackend.MATH):
        yield

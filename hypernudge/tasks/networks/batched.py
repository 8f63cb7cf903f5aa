"""A chain of layers for many members at once: every tensor has the member first and the sample last.

With the sample last, a convolution is one matrix product per member on columns that are copied in runs of a
whole mini-batch. In one trial on the small CNN (64 members, one thread, busy machine) grouped convolution
took 1.06 times as long at batches of 32, but 0.72 times at 128: which is faster depends on the batch, and
only this one is built. `torch.vmap` over `as_function` is the slow twin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 -- the usual name
from torch import Tensor, nn

from hypernudge.optimizers import Params

Layer = Callable[[Params, Tensor], Tensor]
Geometry = tuple[int, int, int, int, int, int]  # kernel height and width, strides, paddings


def as_batched_function(network: nn.Module) -> Layer | None:
    """Return `f(params, x)`, or None if the network is not a plain chain of known layers.

    Parameters are stacked, `(members, ...)`; `x` is `(members or 1, *sample, n)`, one for inputs that all
    members share; the result is `(members, classes, n)`.
    """
    layers = _chain(network, "")
    if layers is None:
        return None
    known = layers

    def call(params: Params, x: Tensor) -> Tensor:
        for layer in known:
            x = layer(params, x)
        return x

    return call


def _chain(module: nn.Module, prefix: str) -> list[Layer] | None:
    if isinstance(module, nn.Sequential):
        parts = [_chain(child, f"{prefix}{name}.") for name, child in module.named_children()]
        return None if any(part is None for part in parts) else [f for part in parts for f in part or []]
    sequence = getattr(module, "layers", None)
    if isinstance(sequence, nn.Sequential) and getattr(module, "is_chain", False):
        return _chain(sequence, f"{prefix}layers.")
    leaf = _leaf(module, prefix)
    return None if leaf is None else [leaf]


def _leaf(module: nn.Module, prefix: str) -> Layer | None:
    weight, bias = f"{prefix}weight", f"{prefix}bias"
    if isinstance(module, nn.Linear):
        return lambda params, x: _affine(params[weight], x, params.get(bias))
    if isinstance(module, nn.Conv2d):
        plain = module.padding_mode == "zeros" and module.groups == 1 and module.dilation == (1, 1)
        if not plain or isinstance(module.padding, str):
            return None
        (kh, kw), (sh, sw), (ph, pw) = module.kernel_size, module.stride, module.padding
        return lambda params, x: _convolution(
            params[weight], x, params.get(bias), (kh, kw, sh, sw, int(ph), int(pw))
        )
    if isinstance(module, nn.ReLU):
        return lambda params, x: F.relu(x)
    if isinstance(module, nn.Flatten) and module.start_dim == 1 and module.end_dim == -1:
        return lambda params, x: x.flatten(1, -2)
    return None


def _affine(weight: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
    """`(members, out, in) x (members or 1, in, n)` plus `(members, out)`."""
    x = x.expand(weight.shape[0], -1, -1)
    return torch.bmm(weight, x) if bias is None else torch.baddbmm(bias.unsqueeze(-1), weight, x)


def _convolution(weight: Tensor, x: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Cross-correlation of `(members or 1, channels, height, width, n)` as in `torch.conv2d`."""
    columns: Tensor = _Columns.apply(x, geometry)
    height, width = _out_size(x.shape[2], x.shape[3], geometry)
    out = _affine(weight.flatten(2), columns, bias)
    return out.view(*out.shape[:2], height, width, x.shape[-1])


def _out_size(height: int, width: int, geometry: Geometry) -> tuple[int, int]:
    kh, kw, sh, sw, ph, pw = geometry
    return (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1


class _Columns(torch.autograd.Function):
    """Patches as columns: `(m, c, h, w, n)` to `(m, c * kh * kw, out_h * out_w * n)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, geometry: Geometry) -> Tensor:
        ctx.geometry, ctx.size = geometry, tuple(x.shape)
        kh, kw, sh, sw, ph, pw = geometry
        m, c, height, width, n = x.shape
        padded = x
        if ph or pw:
            padded = x.new_empty((m, c, height + 2 * ph, width + 2 * pw, n))
            padded[:, :, ph : ph + height, pw : pw + width].copy_(x)
            # Only the border: filling everything with zeros took as long as a matrix product.
            for border in (padded[:, :, :ph], padded[:, :, ph + height :]):
                border.zero_()
            for border in (padded[..., :pw, :], padded[..., pw + width :, :]):
                border.zero_()
        padded = padded.contiguous()
        oh, ow = _out_size(height, width, geometry)
        a, b, row, column, _ = padded.stride()
        windows = padded.as_strided((m, c, kh, kw, oh, ow, n), (a, b, row, column, sh * row, sw * column, 1))
        return windows.reshape(m, c * kh * kw, oh * ow * n)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Fold.apply(grads[0], ctx.geometry, ctx.size), None


class _Fold(torch.autograd.Function):
    """The adjoint of `_Columns`, so that second derivatives exist as well."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, geometry: Geometry, size: tuple[int, ...]) -> Tensor:
        ctx.geometry = geometry
        kh, kw, sh, sw, ph, pw = geometry
        m, c, height, width, n = size
        oh, ow = _out_size(height, width, geometry)
        patches = columns.view(m, c, kh, kw, oh, ow, n)
        folded = columns.new_zeros(size)
        for i in range(kh):
            into_rows, of_rows = _inside(i, sh, ph, height, oh)
            for j in range(kw):
                into, of = _inside(j, sw, pw, width, ow)
                folded[:, :, into_rows, into].add_(patches[:, :, i, j, of_rows, of])
        return folded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Columns.apply(grads[0], ctx.geometry), None, None


def _inside(offset: int, stride: int, padding: int, size: int, out: int) -> tuple[slice, slice]:
    """Return which inputs a kernel's row at `offset` touches, and for which outputs: padding is left out."""
    first = max(0, -((offset - padding) // stride))
    last = min(out - 1, (size - 1 + padding - offset) // stride)
    start = offset + stride * first - padding
    return slice(start, start + stride * (last - first) + 1, stride), slice(first, last + 1)

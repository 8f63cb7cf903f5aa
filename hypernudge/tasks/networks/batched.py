"""A chain of layers for many members at once, forwards and backwards by hand.

Every tensor has the member first and the sample last. With the sample last, a convolution is one matrix
product per member on columns that are copied in runs of a whole mini-batch. Without autograd a step has half
the operations, and every intermediate result lies in a `Workspace`, valid until the next use of it.
`torch.vmap` over `as_function` with autograd is the reference implementation.

A member's numbers do not depend on who else is in the cohort: every operation treats members one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hypernudge.optimizers import Params
from hypernudge.tasks.networks.chain import chain, flattens_samples
from hypernudge.workspace import Workspace


class Layer(Protocol):
    """One layer of a chain; parameters are stacked, `(members, ...)`."""

    def forward(self, params: Params, x: Tensor, work: Workspace) -> tuple[Tensor, Any]:
        """Return the output, and what `backward` needs; may overwrite `x`."""
        ...

    def backward(
        self, params: Params, kept: Any, out: Tensor, grads: Params, first: bool, work: Workspace
    ) -> Tensor | None:
        """Enter the parameters' gradients into `grads`; return the input's unless the layer is the first.

        `out` is the gradient of the output, which may be overwritten.
        """
        ...


class BatchedChain:
    """A network as a function of stacked parameters, with its gradient; made by `batched_chain`."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = list(layers)

    def __call__(self, params: Params, x: Tensor) -> Tensor:
        """Map `(members, *sample, n)`, or `(1, ...)` for shared inputs, to `(members, classes, n)`."""
        return self.forward(params, x)[0]

    def forward(self, params: Params, x: Tensor, work: Workspace | None = None) -> tuple[Tensor, list[Any]]:
        """Return the outputs, and what `backward` needs; both lie in `work`, fresh memory if absent."""
        tape, work = [], work or Workspace()
        for layer in self._layers:
            x, kept = layer.forward(params, x, work)
            tape.append(kept)
        return x, tape

    def backward(self, params: Params, tape: list[Any], out: Tensor, work: Workspace | None = None) -> Params:
        """Return the gradients of all parameters, given the outputs' `out`, which is overwritten.

        They lie in `work`, as what `forward` kept does.
        """
        grads: Params = {}
        work = work or Workspace()
        # Layers below the lowest one with parameters have nothing to learn.
        lowest = next(i for i, layer in enumerate(self._layers) if isinstance(layer, _LEARNING))
        for i in range(len(self._layers) - 1, lowest - 1, -1):
            below = self._layers[i].backward(params, tape[i], out, grads, i == lowest, work)
            if below is not None:
                out = below
        return grads


def batched_chain(network: nn.Module) -> BatchedChain | None:
    """Return the network for many members, or None if it is not a plain chain of known layers."""
    layers: list[Layer] = []
    for prefix, module in chain(network):
        layer = _leaf(module, prefix, learns=any(isinstance(below, _LEARNING) for below in layers))
        if layer is None:
            return None
        layers.append(layer)
    return BatchedChain(layers) if any(isinstance(layer, _LEARNING) for layer in layers) else None


def _leaf(module: nn.Module, prefix: str, learns: bool) -> Layer | None:
    """Return the layer, None if it is not a known one; `learns` says whether one with parameters is below."""
    weight, bias = f"{prefix}weight", f"{prefix}bias" if getattr(module, "bias", None) is not None else None
    if isinstance(module, nn.Linear):
        return _Affine(weight, bias)
    if isinstance(module, nn.Conv2d):
        plain = module.padding_mode == "zeros" and module.groups == 1 and module.dilation == (1, 1)
        if not plain or isinstance(module.padding, str):
            return None
        (kh, kw), (sh, sw), (ph, pw) = module.kernel_size, module.stride, module.padding
        return _Convolution(weight, bias, (kh, kw, sh, sw, int(ph), int(pw)))
    if isinstance(module, nn.ReLU):
        return _Rectifier(in_place=learns)  # below that lie the task's own data
    return _Flatten() if flattens_samples(module) else None


class _Affine:
    def __init__(self, weight: str, bias: str | None) -> None:
        self._weight, self._bias = weight, bias

    def forward(self, params: Params, x: Tensor, work: Workspace) -> tuple[Tensor, Tensor]:
        """`(members, out, in) x (members or 1, in, n)` plus `(members, out)`."""
        weight = params[self._weight].flatten(2)
        if x.shape[0] < weight.shape[0]:
            x = x.expand(weight.shape[0], -1, -1)
        out = work.empty((self._weight, "forward"), (*weight.shape[:2], x.shape[2]), x)
        if self._bias is None:
            return torch.bmm(weight, x, out=out), x
        return torch.baddbmm(params[self._bias].unsqueeze(-1), weight, x, out=out), x

    def backward(
        self, params: Params, kept: Tensor, out: Tensor, grads: Params, first: bool, work: Workspace
    ) -> Tensor | None:
        weight = params[self._weight]
        flat = weight.flatten(2)
        product = torch.bmm(out, kept.mT, out=work.empty((self._weight, "gradient"), flat.shape, out))
        grads[self._weight] = product.view_as(weight)
        if self._bias is not None:
            grads[self._bias] = out.sum(-1)
        if first:
            return None
        below = work.empty((self._weight, "below"), (*flat.shape[::2], out.shape[2]), out)
        return torch.bmm(flat.mT, out, out=below)


class _Convolution:
    """Cross-correlation of `(members or 1, channels, height, width, n)`, as in `torch.conv2d`."""

    def __init__(self, weight: str, bias: str | None, geometry: Geometry) -> None:
        self._affine, self._geometry, self._weight = _Affine(weight, bias), geometry, weight

    def forward(self, params: Params, x: Tensor, work: Workspace) -> tuple[Tensor, Any]:
        height, width = _out_size(x.shape[2], x.shape[3], self._geometry)
        columns = columns_of(x, self._geometry, work, self._weight)
        out, columns = self._affine.forward(params, columns, work)
        return out.view(*out.shape[:2], height, width, x.shape[-1]), (columns, x.shape)

    def backward(
        self, params: Params, kept: Any, out: Tensor, grads: Params, first: bool, work: Workspace
    ) -> Tensor | None:
        columns, size = kept
        below = self._affine.backward(params, columns, out.flatten(2), grads, first, work)
        if below is None:
            return None
        return folded(below, self._geometry, work.empty((self._weight, "folded"), size, out))


_LEARNING = (_Affine, _Convolution)


class _Rectifier:
    def __init__(self, in_place: bool) -> None:
        self._in_place = in_place

    def forward(self, params: Params, x: Tensor, work: Workspace) -> tuple[Tensor, Tensor]:
        del params, work
        x = x.relu_() if self._in_place else x.relu()
        return x, x

    def backward(
        self, params: Params, kept: Tensor, out: Tensor, grads: Params, first: bool, work: Workspace
    ) -> Tensor:
        del params, grads, first, work
        # As autograd does it: where the output is NaN the gradient passes, so that divergence shows.
        masked: Tensor = torch.ops.aten.threshold_backward.grad_input(out, kept, 0, grad_input=out)
        return masked


class _Flatten:
    def forward(self, params: Params, x: Tensor, work: Workspace) -> tuple[Tensor, Any]:
        del params, work
        return x.flatten(1, -2), x.shape

    def backward(
        self, params: Params, kept: Any, out: Tensor, grads: Params, first: bool, work: Workspace
    ) -> Tensor:
        del params, grads, first, work
        return out.view(kept)


Geometry = tuple[int, int, int, int, int, int]  # kernel height and width, strides, paddings


def _out_size(height: int, width: int, geometry: Geometry) -> tuple[int, int]:
    kh, kw, sh, sw, ph, pw = geometry
    return (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1


def columns_of(x: Tensor, geometry: Geometry, work: Workspace, name: str) -> Tensor:
    """Return patches as columns: `(m, c, h, w, n)` to `(m, c * kh * kw, out_h * out_w * n)`."""
    kh, kw, sh, sw, ph, pw = geometry
    m, c, height, width, n = x.shape
    if ph or pw:
        padded = work.framed((name, "padded"), (m, c, height + 2 * ph, width + 2 * pw, n), x)
        padded[:, :, ph : ph + height, pw : pw + width].copy_(x)
        x = padded
    x = x.contiguous()
    oh, ow = _out_size(height, width, geometry)
    a, b, row, column, _ = x.stride()
    windows = x.as_strided((m, c, kh, kw, oh, ow, n), (a, b, row, column, sh * row, sw * column, 1))
    columns = work.empty((name, "columns"), windows.shape, x).copy_(windows)
    return columns.view(m, c * kh * kw, oh * ow * n)


def folded(columns: Tensor, geometry: Geometry, result: Tensor) -> Tensor:
    """Return the transpose of `columns_of` in `result`: patches added up where they came from."""
    kh, kw, sh, sw, ph, pw = geometry
    m, c, height, width, n = result.shape
    oh, ow = _out_size(height, width, geometry)
    patches = columns.view(m, c, kh, kw, oh, ow, n)
    result.zero_()
    for i in range(kh):
        into_rows, of_rows = _inside(i, sh, ph, height, oh)
        for j in range(kw):
            into, of = _inside(j, sw, pw, width, ow)
            result[:, :, into_rows, into].add_(patches[:, :, i, j, of_rows, of])
    return result


def _inside(offset: int, stride: int, padding: int, size: int, out: int) -> tuple[slice, slice]:
    """Return which inputs a kernel's row at `offset` touches, and for which outputs: padding is left out."""
    first = max(0, -((offset - padding) // stride))
    last = min(out - 1, (size - 1 + padding - offset) // stride)
    start = offset + stride * first - padding
    return slice(start, start + stride * (last - first) + 1, stride), slice(first, last + 1)

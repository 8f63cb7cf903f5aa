"""Telling a pretrained network from a new one by its weights: trained matrices are not random any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from hypernudge.episodes.noise.gradients import local_tensor
from hypernudge.episodes.ranks import active_group, collective_device

LEAST_SIDE, MOST_SIDE = 16, 2048
"""Matrices with a shorter side are not looked at; of a longer one evenly spaced rows or columns are."""
ABOVE = 1.2
"""A matrix is trained whose largest singular value is more than so many times the edge. Random ones reach
1.1; what begins as sinusoids or as equal rows (tables of positions, say) is beyond it."""
SHARE = 0.25
"""A network is pretrained where more than that of what is looked at lies in trained matrices: new ones have
5 % at most, by tables of positions; see benchmarks/results/episodes_fine_tuning."""
ITERATIONS, VECTORS = 10, 4


@torch.no_grad()
def trained_share(optimizer: Optimizer, process_group: Any = None) -> float:
    """Return how much of an optimizer's parameters lies in matrices that training has shaped.

    The singular values of a matrix of independent entries end at the Marchenko-Pastur edge,
    `s (sqrt(m) + sqrt(n))` for `m` rows, `n` columns and a root mean square of `s`; those of orthogonal
    and constant ones, zeros and identities lie below it. Training adds a few large ones, and in the end a
    heavy tail (Martin and Mahoney 2021, "Implicit self-regularization in deep neural networks", JMLR 22:165).

    Only what is trained counts: a new head on a frozen network is new. Kernels are flattened to
    `(out, rest)`. What has a side below 16 or is no dense tensor of floating point is not looked at; a matrix
    with an entry that is not finite is not taken for trained. Nothing is changed, no generator's state
    either. Costs about 25 passes over the parameters, and a few copies of one matrix, of 2048 rows and
    columns at most; reads each device once.

    Args:
        optimizer: Holds the parameters; of sharded ones this rank's part is looked at.
        process_group: Ranks that must find the same, by one collective; None for all of them.

    Returns:
        A share of the entries of matrices that were looked at, in [0, 1]; 0 where there are none.
    """
    ratios, sizes = _ratios(parameter for group in optimizer.param_groups for parameter in group["params"])
    counts = [
        float(sum(size for ratio, size in zip(ratios, sizes, strict=True) if ratio > ABOVE)),
        float(sum(sizes)),
    ]
    group = active_group(process_group)
    if group is not None:
        device = collective_device(group)
        kind = torch.float32 if device.type == "mps" else torch.float64
        sums = torch.tensor(counts, dtype=kind, device=device)
        torch.distributed.all_reduce(sums, group=group)
        counts = sums.tolist()
    return counts[0] / counts[1] if counts[1] else 0.0


def over_edge(matrix: Tensor) -> Tensor:
    """Return the largest singular value over the Marchenko-Pastur edge, a scalar in float32.

    Rows and columns are first brought to one scale, since layers that are put together from parts need not
    have one, and then freed of a common offset, since weights may begin positive; entries of 0 stay. The
    value is found by power iteration from four fixed vectors, so it is a lower bound, and close where it is
    beyond the edge. 0 where an entry is not finite.

    Args:
        matrix: Shape `(m, n)`, floating point.
    """
    largest = matrix.abs().amax()  # in its own precision: squares of float16 overflow
    scaled = (matrix / torch.where(largest > 0, largest, 1)).float()
    present = scaled != 0
    for side in (1, 0):
        size = scaled.square().mean(side, keepdim=True).sqrt()
        scaled = torch.where(size > 0, scaled / size, 0)
    offset = scaled.sum() / present.sum().clamp_min(1)
    # What rounding leaves of a constant matrix is no signal.
    scaled = torch.where(present & ((scaled - offset).abs() > 1e-5), scaled - offset, 0)
    vectors = _start(scaled.shape[1]).to(scaled.device)
    # A step may be taken under autocast, whose float16 overflows.
    with torch.autocast(scaled.device.type, enabled=False):
        for _ in range(ITERATIONS):
            vectors = scaled.T @ (scaled @ vectors)
            vectors = vectors / vectors.norm(dim=0).clamp_min(1e-30)
        found = (scaled @ vectors).norm(dim=0).amax()
    # Rows and columns of nothing but zeros are not there: a matrix may begin with a part of it switched off.
    rows, columns = ((scaled != 0).any(side).sum().float() for side in (1, 0))
    spread = scaled.norm() / (rows * columns).clamp_min(1).sqrt()
    edge = (spread * (rows.sqrt() + columns.sqrt())).clamp_min(1e-30)
    return torch.where(largest.isfinite(), found / edge, 0)


def matrix_of(parameter: Tensor) -> Tensor | None:
    """Return what is looked at of a parameter, a matrix; None where there is nothing to see."""
    if not parameter.requires_grad:
        return None
    held = local_tensor(parameter.detach())
    dense = held.layout is torch.strided and not held.is_nested and not held.is_meta
    if not dense or not held.is_floating_point() or held.dim() < 2 or held.numel() == 0:
        return None
    matrix = held.reshape(held.shape[0], -1)
    if min(matrix.shape) < LEAST_SIDE:
        return None
    by_row, by_column = (-(-side // MOST_SIDE) for side in matrix.shape)
    return matrix[::by_row, ::by_column]


def _ratios(parameters: Iterable[Tensor]) -> tuple[list[float], list[int]]:
    """Return each matrix's singular value over the edge, and the entries of its parameter."""
    found: dict[torch.device, list[tuple[Tensor, int]]] = {}
    for parameter in parameters:
        matrix = matrix_of(parameter)
        if matrix is not None:
            found.setdefault(matrix.device, []).append((over_edge(matrix), local_tensor(parameter).numel()))
    ratios: list[float] = []
    sizes: list[int] = []
    for pairs in found.values():
        ratios += torch.stack([ratio for ratio, _ in pairs]).tolist()
        sizes += [size for _, size in pairs]
    return ratios, sizes


def _start(columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(columns)
    return torch.randn(columns, VECTORS, generator=generator, dtype=torch.float32, device="cpu")

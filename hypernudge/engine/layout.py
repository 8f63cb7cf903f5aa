"""Named tensors of one member as one row, and of many members as one matrix with views into it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from hypernudge.optimizers import Params


@dataclass(frozen=True)
class Layout:
    """Names and shapes of tensors, in order, and their floating-point type.

    A member's tensors lie one after another in a row of `size` numbers; so an optimizer step on a whole
    cohort is a handful of operations on a matrix `(members, size)`, whatever the number of layers.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensors: Params) -> Layout | None:
        """Return the layout of a member's tensors; None unless all have one floating-point type."""
        dtypes = {value.dtype for value in tensors.values()}
        dtype = next(iter(dtypes), torch.float32)
        if len(dtypes) > 1 or not dtype.is_floating_point:
            return None
        return cls(tuple(tensors), tuple(tuple(value.shape) for value in tensors.values()), dtype)

    @property
    def size(self) -> int:
        """Numbers in a row."""
        return sum(prod(shape) for shape in self.shapes)

    def row(self, tensors: Params, device: torch.device) -> Tensor:
        """Return a member's tensors as a row on `device`."""
        parts = [tensors[name].detach().reshape(-1) for name in self.names]
        return torch.cat(parts).to(device) if parts else torch.empty(0, dtype=self.dtype, device=device)

    def views(self, rows: Tensor) -> Params:
        """Return views by name into `rows`, `(members, size)` or one row `(size,)`."""
        lead = rows.shape[:-1]
        parts = torch.split(rows, [prod(shape) for shape in self.shapes], dim=-1) if self.names else ()
        return {
            name: part.view((*lead, *shape))
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }

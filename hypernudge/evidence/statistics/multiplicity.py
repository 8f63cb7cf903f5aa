"""Holm's step-down correction, and the smallest adjusted p that a family could reach.

statsmodels offers the same correction; importing it costs more time than evaluating a small study, so the ten
lines are here and the tests hold them to statsmodels.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray


def holm(p_values: NDArray[np.float64] | Sequence[float]) -> NDArray[np.float64]:
    """Adjusted p values: reject where they are below alpha, and the family-wise error is at most alpha.

    Args:
        p_values: shape (m,), each in [0, 1].

    Returns:
        shape (m,), in the order given, each at least as large as its input.

    Raises:
        ValueError: a p value is NaN or outside [0, 1].

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or bool(np.any(~((p >= 0) & (p <= 1)))):
        raise ValueError(
            "p_values must be one-dimensional with entries in [0, 1]; decide missing tests first."
        )
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty(p.size)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def holm_by_family(p_values: Sequence[float], families: Sequence[Hashable]) -> NDArray[np.float64]:
    """Holm within each family; shape (m,), in the order given.

    Raises:
        ValueError: lengths differ, or a p value is invalid.
    """
    if len(p_values) != len(families):
        raise ValueError(
            f"p_values and families must have equal length, got {len(p_values)} and {len(families)}; "
            "name one family per p value."
        )
    adjusted = np.ones(len(p_values))
    for family in dict.fromkeys(families):
        members = [i for i, name in enumerate(families) if name == family]
        adjusted[members] = holm([p_values[i] for i in members])
    return adjusted

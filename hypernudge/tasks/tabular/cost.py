"""What boosting costs in FLOPs: a stated model, for a histogram's additions cannot be counted from outside.

A round grows `outputs` trees (one, or one per class). A tree of depth `D` has at most `L = min(2^D, rows)`
leaves. Each level adds gradient and second derivative of every sampled row to the histogram of every sampled
column; each of the `L - 1` splits is searched over the bins of every sampled column:

    FLOPs = rounds * outputs * (2 * rows * columns * D + 16 * bins * (L - 1))

So cost grows with rounds, rows and leaves; sampling lowers it. It is declared before training, an upper
bound: penalties that keep a tree small are not counted on. Wall time stands beside it in every record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

ADDITIONS = 2  # per row, column and level: gradient, and second derivative
SEARCH = 16  # per bin of a column and split: running sums, and a gain for either side of the missing
SAMPLED_COLUMNS = ("colsample_bytree", "colsample_bylevel", "colsample_bynode")


def boosting_flops(
    hp: Mapping[str, Any], *, rows: int, columns: int, outputs: int, rounds: int, bins: int
) -> float:
    """Return the declared cost of `rounds` rounds.

    Args:
        hp: Hyper-parameters by XGBoost's names.
        rows: Of the training part.
        columns: Features.
        outputs: Trees of a round.
        rounds: How many.
        bins: Of all columns' histograms.
    """
    sampled = max(1.0, rows * float(hp.get("subsample", 1.0)))
    share = math.prod(float(hp.get(name, 1.0)) for name in SAMPLED_COLUMNS)
    depth, most = int(hp.get("max_depth", 6)), int(hp.get("max_leaves", 0))
    leaves = min(2.0**depth if depth else math.inf, most or math.inf, sampled)
    levels = depth or max(1.0, math.log2(leaves))
    tree = share * (ADDITIONS * sampled * columns * levels + SEARCH * bins * (leaves - 1))
    return rounds * outputs * int(hp.get("num_parallel_tree", 1)) * tree

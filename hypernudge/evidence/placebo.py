"""The budget-matched placebo: what if the baseline had been given the warm start's compute as extra budget?

On the declared clock a method already pays for its warm starts, so equal time is equal compute. The placebo
asks for more: the method's bill is handed to the baseline on top. By the method's own moment t it had spent a
share s of its compute on warm starts; a baseline with that compute added would be where the plain one is
after t / (1 - s), so it reaches the target at (1 - s) times the baseline's time. No run is needed for it, and
it errs in the placebo's favour: the whole share is credited from the first second on.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hypernudge.evidence.comparisons import Comparison
from hypernudge.evidence.effects import effects
from hypernudge.evidence.intervals import Interval
from hypernudge.evidence.paired import TimePairs, paired_test

Floats = NDArray[np.float64]


def against_placebo(comparison: Comparison) -> tuple[Interval, float]:
    """Geometric-mean ratio against the placebo with its 95 % interval, and the paired p (exploratory).

    A baseline that missed the target stays a miss at the same cap: the extra budget ends where the plain one
    did, in seconds of the placebo's clock, which is again in its favour.

    Args:
        comparison: With at least one pair.
    """
    frame = comparison.frame
    pairs = TimePairs(
        frame["baseline.time"].to_numpy(dtype=np.float64),
        frame["baseline.reached"].to_numpy(dtype=bool),
        frame["baseline.final"].to_numpy(dtype=np.float64),
        frame["method.time"].to_numpy(dtype=np.float64),
        frame["method.reached"].to_numpy(dtype=bool),
        frame["method.final"].to_numpy(dtype=np.float64),
    )
    total = frame["method.total_flops"].to_numpy(dtype=np.float64)
    spent = frame["method.warm_start_flops"].to_numpy(dtype=np.float64)
    share = np.divide(spent, total, out=np.zeros_like(spent), where=total > 0)
    faster = replace(pairs, baseline_time=pairs.baseline_time * (1 - np.minimum(share, 0.99)))
    return effects(faster).ratio, paired_test(faster).p_value

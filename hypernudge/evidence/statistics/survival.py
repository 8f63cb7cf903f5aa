"""The Kaplan-Meier estimate: what share has reached the target by time t, with censored cells kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def kaplan_meier_cdf(
    time: NDArray[np.float64], reached: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share that has reached the target (one minus the Kaplan-Meier survival function).

    With one common budget this is the empirical distribution function; cells censored earlier leave the risk
    set there.

    Args:
        time: shape (n,), seconds; the moment of censoring where not reached.
        reached: shape (n,), the event indicator.

    Returns:
        times, shape (k,), the distinct event times, ascending; share, shape (k,), from each of them on.

    Raises:
        ValueError: shapes differ or a time is not finite.

    Source: Kaplan & Meier (1958), J. Am. Stat. Assoc. 53.
    """
    time, reached = np.asarray(time, dtype=np.float64), np.asarray(reached, dtype=bool)
    if time.shape != reached.shape or time.ndim != 1 or not bool(np.all(np.isfinite(time))):
        raise ValueError("time and reached must be one-dimensional, of equal length, and every time finite.")
    events = np.unique(time[reached])
    ordered = np.sort(time)
    at_risk = time.size - np.searchsorted(ordered, events, side="left")
    hits = np.sort(time[reached])
    happened = np.searchsorted(hits, events, side="right") - np.searchsorted(hits, events, side="left")
    surviving = np.cumprod(1.0 - happened / np.maximum(at_risk, 1)).astype(np.float64)
    return events, 1.0 - surviving

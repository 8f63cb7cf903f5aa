"""Where hyper-parameters were sampled, where they were nudged to, and where the winners sat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 10
_LOG_SPAN = 30.0


@dataclass(frozen=True)
class Shift:
    """Shift of one hyper-parameter in one variation.

    Attributes:
        name: The hyper-parameter.
        log_scale: Whether values were compared as log10.
        sampled: shape (trials,), on that scale.
        nudged: shape (trials,), on that scale, same order.
        winner: shape (cells,), nudged values of the trials that held the final incumbent.
        nudged_shift: Mean of nudged minus sampled.
        winner_shift: Mean of the winners minus mean of the sampled.
        nudged_kl: KL divergence (nats) of nudged from sampled.
        winner_kl: KL divergence (nats) of the winners from sampled; biased upwards for few winners.
    """

    name: str
    log_scale: bool
    sampled: Floats
    nudged: Floats
    winner: Floats
    nudged_shift: float
    winner_shift: float
    nudged_kl: float
    winner_kl: float


def numeric_hyperparameters(trials: pd.DataFrame) -> list[str]:
    """Names that were sampled as numbers in at least one trial, in the order recorded."""
    return [
        column.removeprefix("sampled.")
        for column in trials.columns
        if column.startswith("sampled.")
        and pd.api.types.is_numeric_dtype(trials[column].dropna().infer_objects())
    ]


def log_scaled(sampled: Floats) -> bool:
    """Whether values are better read as log10: all positive, and the 5-95 % range spans a factor of 30."""
    if sampled.size == 0 or float(sampled.min()) <= 0:
        return False
    low, high = np.quantile(sampled, [0.05, 0.95])
    return bool(high / low >= _LOG_SPAN)


def hyperparameter_shifts(trials: pd.DataFrame) -> list[Shift]:
    """Shift of every numeric hyper-parameter over the trials of one variation."""
    shifts = []
    for name in numeric_hyperparameters(trials):
        known = trials[[f"sampled.{name}", f"nudged.{name}", "winner"]].dropna()
        sampled = known[f"sampled.{name}"].to_numpy(dtype=np.float64)
        nudged = known[f"nudged.{name}"].to_numpy(dtype=np.float64)
        if sampled.size == 0:
            continue
        log_scale = log_scaled(sampled) and float(nudged.min()) > 0
        if log_scale:
            sampled, nudged = np.log10(sampled), np.log10(nudged)
        winner = nudged[known["winner"].to_numpy(dtype=bool)]
        shifts.append(
            Shift(
                name=name,
                log_scale=log_scale,
                sampled=sampled,
                nudged=nudged,
                winner=winner,
                nudged_shift=float(np.mean(nudged - sampled)),
                winner_shift=float(winner.mean() - sampled.mean()) if winner.size else math.nan,
                nudged_kl=kl_divergence(nudged, sampled),
                winner_kl=kl_divergence(winner, sampled),
            )
        )
    return shifts


def kl_divergence(values: Floats, reference: Floats, bins: int = BINS) -> float:
    """KL divergence (nats) of `values` from `reference`, over equal-probability bins of the reference.

    Bins at the reference's quantiles make the estimate indifferent to the scale of the axis; half a count is
    added to every bin, so it is finite, and biased towards the uniform for few values.

    Args:
        values: shape (n,).
        reference: shape (m,).
        bins: Number of bins.

    Returns:
        NaN when either is empty.
    """
    if values.size == 0 or reference.size == 0:
        return math.nan
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    shares = []
    for sample in (values, reference):
        counts = np.bincount(np.searchsorted(edges, sample, side="right"), minlength=edges.size + 1) + 0.5
        shares.append(counts / counts.sum())
    return float(np.sum(shares[0] * (np.log(shares[0]) - np.log(shares[1]))))

"""A single target is brittle: the comparison again, over a grid of targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hypernudge.evidence.loading.outcomes import Curves, outcomes
from hypernudge.evidence.loading.study import StudyResults
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.evidence.verdicts.comparisons import Comparison
from hypernudge.results.plan import Variation

Floats = NDArray[np.float64]

POINTS = 9


def target_sensitivity(study: StudyResults, comparison: Comparison, points: int = POINTS) -> pd.DataFrame:
    """Ratio of times to target over a grid of targets.

    The grid holds the quantiles .1 to .9 of what the baseline had reached at the end, and the declared target
    in its place; targets that repeat are left out.

    Returns:
        Columns target, declared, ratio, low, high, reached_baseline, reached_method; ascending by target.
        Empty without pairs.
    """
    frame = comparison.frame
    if frame.empty:
        return pd.DataFrame()
    final = frame["baseline.final"].to_numpy(dtype=np.float64)
    grid = np.unique([*np.quantile(final, np.linspace(0.1, 0.9, points)), comparison.method.target])
    sides = [_times(study, run, frame, grid) for run in (comparison.baseline, comparison.method)]
    rows = []
    for index, target in enumerate(grid):
        (base, hit), (own, reached) = ((times[index], got[index]) for times, got in sides)
        interval = mean_interval(np.log(own) - np.log(base)).exp()
        rows.append(
            {
                "target": float(target),
                "declared": bool(target == comparison.method.target),
                "ratio": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "reached_baseline": int(hit.sum()),
                "reached_method": int(reached.sum()),
            }
        )
    return pd.DataFrame(rows)


def _times(
    study: StudyResults, run: Variation, frame: pd.DataFrame, grid: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Times and hits of the paired cells of a run, shape (targets, pairs), from the improvements alone."""
    cells = study.cells[study.cells["run_id"] == run.run_id]
    position = pd.Series(cells.index.to_numpy(), index=cells["seed"].to_numpy()).loc[frame.index].to_numpy()
    budget = cells["budget"].loc[position].to_numpy(dtype=np.float64)
    floor = cells["floor"].loc[position].to_numpy(dtype=np.float64)
    crashed = (cells["status"].loc[position] == "crashed").to_numpy()
    best = study.incumbents
    local = np.full(len(study.cells), -1)
    local[position] = np.arange(position.size)
    kept = local[best.cell] >= 0
    curves = Curves(local[best.cell[kept]], best.time[kept], best.validation[kept], best.test[kept])
    times, hits = [], []
    for target in grid:
        result = outcomes(curves, target=np.full(position.size, target), budget=budget, floor=floor)
        times.append(np.where(crashed, budget, result.time))
        hits.append(result.reached & ~crashed)
    return np.array(times), np.array(hits)

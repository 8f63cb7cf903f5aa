"""From curves to outcomes: time to target with censoring, best-so-far area, final scores.

One cell, scores .2 at 10 s, .7 at 30 s, .6 at 40 s, a target of .65 and a budget of 100 s: it reaches the
target at 30 s, its best is .7, and the area under the incumbent is (0*10 + .2*20 + .7*70) / 100 = .53.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Curves:
    """Scores of many cells in long form; entry i is one trained unit of one trial.

    Attributes:
        cell: shape (m,), index 0..c-1 of the cell.
        time: shape (m,), seconds on the deterministic clock at which the scores were known.
        validation: shape (m,), larger is better; NaN for a diverged trial, which never becomes the incumbent.
        test: shape (m,), the same unit's test score (only ever read at the incumbent).
    """

    cell: Ints
    time: Floats
    validation: Floats
    test: Floats

    def __post_init__(self) -> None:
        shapes = {name: np.shape(getattr(self, name)) for name in ("cell", "time", "validation", "test")}
        if len(set(shapes.values())) != 1 or len(shapes["cell"]) != 1:
            raise ValueError(f"all four arrays must be one-dimensional and of equal length, got {shapes}.")


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of c cells; every array has shape (c,).

    Attributes:
        time: Seconds to the target, the budget where censored.
        reached: Whether the target was reached within the budget.
        auc: Area under the incumbent over [0, budget], divided by the budget; the floor counts until the
            first score.
        final: Best validation score within the budget, NaN where none was seen.
        test: Test score of that incumbent (the earliest of equals).
    """

    time: Floats
    reached: NDArray[np.bool_]
    auc: Floats
    final: Floats
    test: Floats


@dataclass(frozen=True)
class Incumbents:
    """The improvements alone, in long form, ordered by cell and time; arrays of shape (k,).

    `entry` is the position of the improvement in the curves it came from.
    """

    cell: Ints
    time: Floats
    validation: Floats
    test: Floats
    entry: Ints

    def last(self) -> Ints:
        """Position of the final incumbent of every cell that has one, ascending by cell."""
        return np.flatnonzero(np.append(self.cell[1:] != self.cell[:-1], True)[: self.cell.size])


def incumbents(curves: Curves, budget: Floats) -> Incumbents:
    """Moments at which a cell's best validation score improved within its budget.

    Args:
        curves: Scores of c cells.
        budget: shape (c,), seconds; a score exactly at the budget counts.
    """
    usable = np.isfinite(curves.validation) & (curves.time <= budget[curves.cell])
    # Equal times keep the order of the record, so the earliest of simultaneous equals stays the incumbent.
    index = np.flatnonzero(usable)
    index = index[np.lexsort((curves.time[index], curves.cell[index]))]
    cell, score = curves.cell[index], curves.validation[index]
    if index.size == 0:
        return Incumbents(cell, curves.time[index], score, curves.test[index], index)
    # Running maximum within cells in one sweep: dense ranks, lifted so that each cell lies above the one
    # before it.
    _, rank = np.unique(score, return_inverse=True)
    lifted = rank.astype(np.int64) + cell * np.int64(index.size)
    best = np.maximum.accumulate(lifted)
    improved = np.ones(index.size, dtype=bool)
    improved[1:] = best[1:] > best[:-1]
    kept = index[improved]
    return Incumbents(curves.cell[kept], curves.time[kept], curves.validation[kept], curves.test[kept], kept)


def outcomes(curves: Curves, *, target: Floats, budget: Floats, floor: Floats) -> Outcomes:
    """Outcomes of all cells at once.

    Args:
        curves: Scores of c cells, in any order.
        target: shape (c,), tau: the incumbent must be at least this.
        budget: shape (c,), seconds, positive.
        floor: shape (c,), worst possible score; what the incumbent is worth before the first score.

    Raises:
        ValueError: shapes differ, a budget is not positive, or a cell index is out of range.
    """
    target, budget, floor = _check(curves, target, budget, floor)
    count = budget.size
    best = incumbents(curves, budget)
    time, reached = budget.copy(), np.zeros(count, dtype=bool)
    hit = best.validation >= target[best.cell]
    np.minimum.at(time, best.cell[hit], best.time[hit])
    reached[best.cell[hit]] = True
    final, test = np.full(count, np.nan), np.full(count, np.nan)
    last = best.last()
    final[best.cell[last]], test[best.cell[last]] = best.validation[last], best.test[last]
    # Each improvement holds until the next one of its cell, or until the budget.
    until = np.append(best.time[1:], 0.0)[: best.cell.size]
    until[last] = budget[best.cell[last]]
    gain = np.maximum(best.validation, floor[best.cell]) - floor[best.cell]
    area = np.bincount(best.cell, weights=gain * (until - best.time), minlength=count)
    return Outcomes(time, reached, floor + area / budget, final, test)


def incumbent_on_grid(best: Incumbents, cells: Ints, grid: Floats, floor: float) -> Floats:
    """Incumbent of some cells at given moments.

    Args:
        best: Improvements of all cells.
        cells: shape (k,), which cells.
        grid: shape (g,), seconds, ascending.
        floor: Value before the first score; NaN leaves it undefined.

    Returns:
        shape (k, g).
    """
    values = np.full((len(cells), len(grid)), floor)
    for row, cell in enumerate(cells):
        start, stop = np.searchsorted(best.cell, [cell, cell + 1])
        position = np.searchsorted(best.time[start:stop], grid, side="right")
        seen = position > 0
        values[row, seen] = best.validation[start:stop][position[seen] - 1]
    return values


def rung_survival(milestones: list[list[int]]) -> dict[int, float]:
    """Share of the started trials that reached each rung.

    Args:
        milestones: for every trial started, the rungs (in units) it reached.

    Returns:
        rung -> share, ascending by rung; empty without trials.
    """
    rungs = sorted({rung for reached in milestones for rung in reached})
    return {rung: sum(rung in reached for reached in milestones) / len(milestones) for rung in rungs}


def _check(curves: Curves, target: Floats, budget: Floats, floor: Floats) -> tuple[Floats, Floats, Floats]:
    target, budget, floor = (np.asarray(value, dtype=np.float64) for value in (target, budget, floor))
    if not target.shape == budget.shape == floor.shape or budget.ndim != 1:
        raise ValueError(
            "target, budget and floor must have one entry per cell, got shapes "
            f"{target.shape}, {budget.shape}, {floor.shape}."
        )
    if not bool(np.all(np.isfinite(budget) & (budget > 0))):
        raise ValueError("budget must be finite and positive seconds; declare one for every cell.")
    if not bool(np.all(np.isfinite(floor))):
        raise ValueError(
            "floor must be finite; declare a metric range, or pass the worst score seen in the task."
        )
    if curves.cell.size and not (curves.cell.min() >= 0 and curves.cell.max() < budget.size):
        raise ValueError(
            f"cell must index the {budget.size} cells described by budget, got {curves.cell.max()}."
        )
    return target, budget, floor

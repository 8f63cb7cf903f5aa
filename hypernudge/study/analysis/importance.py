"""Which hyper-parameters matter, by a forest that learns the scores from the configurations; with intervals.

Trials are drawn with replacement many times, each draw gets a forest of its own, and the trials that it left
out judge that forest. What varies between draws is how sure the answer is.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hypernudge.errors import InvalidArgumentError, package, require_choice, require_whole
from hypernudge.space import SearchSpace
from hypernudge.study.analysis.encoding import space_of
from hypernudge.study.results import none_scored

if TYPE_CHECKING:
    from hypernudge.study.study import Study

Floats = NDArray[np.float64]
Method = Literal["fanova", "permutation"]
FEWEST = 8
"""Trials below which there is no answer."""
ENOUGH = 10
"""Trials for each hyper-parameter below which the answer is called uncertain."""
_DRAWS = 30
_TREES = 16
_MOST = 1500  # trials that a forest is grown on; of more, so many are drawn
_LEAVES = 200  # leaves that a tree may have, about
_REPEATS = 5  # shuffles of a column
_COVERED = 0.75  # share of the trials that must have a score at the unit that is chosen


@dataclass(frozen=True)
class Importance:
    """How much each hyper-parameter matters, the most important first.

    Attributes:
        method: "fanova" or "permutation".
        names: Hyper-parameters.
        share: Share of the variance of the scores' ranks that each explains, in [0, 1], mean over the draws.
        low: 2.5 % of the draws lie below.
        high: 97.5 % of the draws lie below.
        first: In which share of the draws it is the most important.
        unit: Scores are those after so many units of training.
        trials: How many trials were looked at.
        lost: How many of them failed or diverged, and count as the last.
        explained: Share of the variance of the ranks that forests explain in trials they have not seen, mean
            over the draws; 0 or below if they know nothing.
    """

    method: Method
    names: tuple[str, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    first: tuple[float, ...]
    unit: int
    trials: int
    lost: int
    explained: float

    @property
    def warning(self) -> str:
        """Why the order is not to be relied on; empty if nothing speaks against it."""
        if self.explained < 0.1:
            share = f"{max(self.explained, 0):.0%}"
            return f"the forest explains {share} of unseen trials: no order is to be relied on"
        if self.trials < ENOUGH * len(self.names):
            return f"{self.trials} trials, below {ENOUGH} for each hyper-parameter: the order is uncertain"
        if self.first[0] < 0.9:
            return f"{self.names[0]} is first in {self.first[0]:.0%} of the draws: the order is uncertain"
        return ""


def importance(study: Study, method: Method = "fanova", unit: int | None = None, seed: int = 0) -> Importance:
    """Return which hyper-parameters matter; see `Study.importance`."""
    require_choice("method", method, get_args(Method))
    require_whole("seed", seed, 0)
    ensemble = package("sklearn.ensemble", "harness", "importance")
    chosen = _unit(study, unit)
    space = space_of(study)
    assert space is not None  # there is a score, so a trial
    points, scores, lost = _table(study, space, chosen)
    if len(scores) < FEWEST:
        raise InvalidArgumentError(
            f"importance: must have {FEWEST} trials scored after unit {chosen} or lost, but "
            f"got {len(scores)}; run more, or give unit="
        )
    ranks = package("scipy.stats", "harness", "importance").rankdata(scores) / len(scores)
    rng = np.random.default_rng(seed)
    shares, explained = [], []
    size = min(len(ranks), _MOST)
    for _ in range(_DRAWS):
        drawn = rng.integers(len(ranks), size=size)
        left = rng.permutation(np.setdiff1d(np.arange(len(ranks)), drawn))[:_MOST]
        if np.ptp(ranks[drawn]) == 0 or left.size < 2:
            continue
        forest = ensemble.RandomForestRegressor(
            n_estimators=_TREES,
            min_samples_leaf=max(2, size // _LEAVES),
            max_features=max(1, math.ceil(2 * len(space) / 3)),
            random_state=int(rng.integers(2**31)),
        ).fit(points[drawn], ranks[drawn])
        spread = float(np.var(ranks[left]))
        error = float(np.mean((forest.predict(points[left]) - ranks[left]) ** 2))
        explained.append(1 - error / spread if spread > 0 else 0.0)
        if method == "fanova":
            shares.append(main_effects(forest, len(space)))
        else:
            shares.append(total_effects(forest, points[left], ranks[left], int(rng.integers(2**31))))
    if not shares:
        raise InvalidArgumentError(
            f"importance: scores after unit {chosen} must differ, but all {len(scores)} are equal; give unit="
        )
    found = np.array(shares)
    order = np.argsort(-found.mean(0), kind="stable")
    first = np.bincount(found.argmax(1), minlength=len(space)) / len(found)
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    columns = (tuple(float(v) for v in column[order]) for column in (found.mean(0), low, high, first))
    share, lower, upper, firsts = columns
    ordered = tuple(space.names[index] for index in order)
    mean = float(np.mean(explained))
    return Importance(method, ordered, share, lower, upper, firsts, chosen, len(scores), lost, mean)


def _unit(study: Study, unit: int | None) -> int:
    """Return the unit whose scores are compared: the last that most trials with a score have reached."""
    counts = Counter(u.unit for trial in study.trials for u in trial.units if math.isfinite(u.validation))
    if not counts:
        why = none_scored(list(study.trials)) if study.trials else "tune first, or open another study"
        raise InvalidArgumentError(f"importance: the study must have a score, but got none; {why}")
    if unit is not None:
        require_whole("unit", unit, 1, max(counts))
        return int(unit)
    most = max(counts.values())
    return max(number for number, count in counts.items() if count >= _COVERED * most)


def _table(study: Study, space: SearchSpace, unit: int) -> tuple[Floats, Floats, int]:
    """Return points of the unit cube (n, d), scores (n,), larger is better, and how many trials were lost.

    What failed or diverged before the unit counts as worse than all others.
    """
    kept, scores, lost = [], [], 0
    for trial in study.trials:
        found = [u.validation for u in trial.units if u.unit == unit and math.isfinite(u.validation)]
        failed = trial.status in ("failed", "diverged")
        if found or failed:
            kept.append(SearchSpace.encode(space, trial.config))  # of a table, also what is no row
            scores.append(study.about.sign * found[0] if found else -math.inf)
            lost += not found
    points = np.array(kept, dtype=np.float64).reshape(len(kept), len(space))
    return points, np.array(scores, dtype=np.float64), lost


def total_effects(forest: Any, points: Floats, ranks: Floats, seed: int) -> Floats:
    """Return each column's total Sobol index, shape (d,), by shuffling the columns of unseen trials.

    With independent columns, shuffling one adds twice the variance that it takes part in to the squared error
    (Breiman 2001; Gregorutti, Michel and Saint-Pierre 2017).

    Args:
        forest: A fitted forest.
        points: shape (n, d).
        ranks: shape (n,).
        seed: Of the shuffles.
    """
    inspection = package("sklearn.inspection", "harness", "importance")
    done = inspection.permutation_importance(
        forest, points, ranks, scoring="neg_mean_squared_error", n_repeats=_REPEATS, random_state=seed
    )
    spread = 2 * float(np.var(ranks))
    added: Floats = done.importances_mean
    return np.clip(added / spread, 0, None) if spread > 0 else np.zeros_like(added)


def main_effects(forest: Any, width: int) -> Floats:
    """Return each column's first-order Sobol index, shape (d,), over the unit cube: the mean over the trees.

    Exact for each tree, which is constant on boxes: functional ANOVA (Hutter, Hoos and Leyton-Brown 2014).

    Args:
        forest: A fitted forest.
        width: d.
    """
    found = [_main_effects(*boxes(tree.tree_, width)) for tree in forest.estimators_]
    return np.asarray(np.mean(found, axis=0))


def boxes(tree: Any, width: int) -> tuple[Floats, Floats, Floats]:
    """Return a tree's leaves: values (n,), and the corners (n, d) of their boxes in the unit cube."""
    values, lows, highs = [], [], []
    waiting = [(0, np.zeros(width), np.ones(width))]
    while waiting:
        node, low, high = waiting.pop()
        if tree.children_left[node] < 0:
            values.append(float(tree.value[node].item()))
            lows.append(low)
            highs.append(high)
            continue
        feature, edge = tree.feature[node], float(np.clip(tree.threshold[node], 0, 1))
        below, above = high.copy(), low.copy()
        below[feature], above[feature] = min(high[feature], edge), max(low[feature], edge)
        waiting += [(tree.children_left[node], low, below), (tree.children_right[node], above, high)]
    return np.array(values), np.array(lows), np.array(highs)


def _main_effects(values: Floats, low: Floats, high: Floats) -> Floats:
    sides = high - low
    volumes = sides.prod(axis=1)
    mean = float(volumes @ values)
    total = float(volumes @ (values - mean) ** 2)
    found = np.zeros(low.shape[1])
    if total <= 0:  # one leaf
        return found
    for column in range(low.shape[1]):
        edges = np.unique(np.concatenate([low[:, column], high[:, column]]))
        others = np.delete(sides, column, axis=1).prod(axis=1)
        steps = np.zeros(edges.size)
        np.add.at(steps, np.searchsorted(edges, low[:, column]), values * others)
        np.add.at(steps, np.searchsorted(edges, high[:, column]), -values * others)
        marginal = np.cumsum(steps)[:-1]  # constant between two edges
        found[column] = np.diff(edges) @ (marginal - mean) ** 2 / total
    return found

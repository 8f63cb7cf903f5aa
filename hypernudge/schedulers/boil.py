"""BOIL: Bayesian optimisation over configuration and training length, from whole learning curves.

Nguyen, Schulze, Osborne: Bayesian Optimization for Iterative Learning, NeurIPS 2020. There is no public
implementation that could be used as a reference: this one follows the paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from hypernudge.errors import require_whole
from hypernudge.random import Streams, stream
from hypernudge.schedulers.base import (
    MAX_CANDIDATES,
    Decision,
    SamplerSpec,
    Start,
    check_sampling,
    start_or_end,
)
from hypernudge.space import SearchSpace
from hypernudge.surrogates.gp import (
    GP,
    expected_improvement,
    negative_log_likelihood,
    squared_distances,
)
from hypernudge.surrogates.gp_sampler import nearby, spread
from hypernudge.surrogates.observations import Curves, features, trained
from hypernudge.trial import History

NOISE = 5e-4
# Boxes of section 3.1 and the appendix: l_x, l_t of the kernel, midpoint m0 and growth g0 of the sigmoid.
LOW, HIGH = np.array([0.03, 0.3, -2.0, 0.5]), np.array([0.3, 0.6, 3.0, 2.0])
LOG_CONDITION = 15.0  # of the kernel matrix: limits how many virtual points are added


@dataclass(frozen=True)
class BOIL:
    """Chooses a configuration and how long to train it, by expected improvement per cost.

    A learning curve is compressed to the mean of its scores under a logistic weight, whose shape is fitted
    with the kernel. Points on observed curves are added where the model is least certain. The cost is a
    linear regression on configuration and length. Trials are never resumed.

    Args:
        space: Where configurations are drawn.
        max_units: Longest training (epochs).
        min_units: Shortest training.
        max_trials: Stop starting trials after this many; None leaves it to the study's budget.
        sampler: Proposes the first configurations: a sampler, its name, or a mapping with `name` and options.
        initial: How many configurations are trained to `max_units` first.
        points: Observations the model rests on, at most: the best half and the latest.
        fit_points: Observations its parameters are fitted to, at most.
        virtual: Points added on observed curves, at most.
        candidates: Pairs of configuration and length that are compared.

    Raises:
        InvalidArgumentError: For `min_units` outside `[1, max_units]`, a count below 1, an unknown sampler.
    """

    space: SearchSpace
    max_units: int = 27
    min_units: int = 1
    max_trials: int | None = None
    sampler: SamplerSpec = "uniform"
    initial: int = 3
    points: int = 160
    fit_points: int = 48
    virtual: int = 64
    candidates: int = 384

    def __post_init__(self) -> None:
        check_sampling(self)
        require_whole("min_units", self.min_units, 1, self.max_units)
        require_whole("initial", self.initial)
        for name in ("points", "fit_points", "virtual", "candidates"):
            require_whole(name, getattr(self, name), 1, MAX_CANDIDATES)

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker."""
        start = start_or_end(self, self.max_units, history, streams)
        curves = history.project("curves", Curves)
        if not isinstance(start, Start) or len(history.trials) < self.initial or len(curves) < 2:
            return start
        units = trained(self.space, history)
        chosen = curves.some(self.points)
        x = features(self.space, units[chosen])
        scores = curves.normalised(chosen)
        lengths = np.array([len(curve) for curve in scores])
        lx, lt, m0, g0 = self._fitted(x, scores)
        weights = np.array([1 / lx] * x.shape[1] + [1 / lt])
        seen = np.column_stack([x, lengths / self.max_units])
        owner, cut = self._virtual(seen, lengths, weights)
        at = np.concatenate([seen, np.column_stack([x[owner], cut / self.max_units])])
        pieces = [scores[i][:k] for i, k in zip(owner, cut, strict=True)]
        y = Compression([*scores, *pieces])(m0, g0)
        gp = GP(at, y, weights, NOISE)
        rng = streams("boil", len(history.trials))
        picks = nearby(self.space, rng, units[chosen[:8]], self.candidates)
        until = rng.integers(self.min_units, self.max_units, size=len(picks), endpoint=True)
        points = np.column_stack([features(self.space, picks), until / self.max_units])
        gain = expected_improvement(*gp.predict(points), gp.predict(at)[0].max())
        cost = self._cost(seen, curves.seconds(chosen), points)
        best = int(np.argmax(np.log(np.maximum(gain, 1e-300)) - np.log(np.maximum(cost, 0.0) + 0.1)))
        return Start(self.space.decode(picks[best]), int(until[best]), model_based_pick=True)

    def _fitted(self, x: np.ndarray, scores: Sequence[np.ndarray]) -> np.ndarray:
        """Return (l_x, l_t, m0, g0) of the largest marginal likelihood among fixed points of their box."""
        some = spread(len(x), self.fit_points)
        compression = Compression([scores[i] for i in some])
        across = squared_distances(x[some], x[some], [0] * x.shape[1])[0]
        along = (compression.lengths[:, None] - compression.lengths) ** 2 / self.max_units**2
        box = LOW + (HIGH - LOW) * stream(0, "boil", "box").random((16, 4))
        likelihoods = []
        for lx, lt, m0, g0 in box:
            y = compression(m0, g0)
            y = (y - y.mean()) / (float(y.std()) or 1.0)  # compressions of other shapes have other scales
            likelihoods.append(negative_log_likelihood(np.exp(-across / lx - along / lt), NOISE, y))
        return np.asarray(box[int(np.argmin(likelihoods))])

    def _virtual(
        self, seen: np.ndarray, lengths: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return index and length of the least certain points a quarter, half and three quarters along.

        With noise `v` the condition number of `n` points is at most `n / v`, so their number is bounded.
        """
        cut = np.maximum(lengths[:, None] * np.array([1, 2, 3]) // 4, 1)
        inside = (cut < lengths[:, None]) & np.column_stack([np.full(len(cut), True), np.diff(cut) > 0])
        owner = np.nonzero(inside)[0]
        length = cut[inside]
        room = max(0, min(self.virtual, int(NOISE * math.exp(LOG_CONDITION)) - len(seen)))
        points = np.column_stack([seen[owner, :-1], length / self.max_units])
        _, deviation = GP(seen, seen[:, -1], weights, NOISE).predict(points)
        kept = np.sort(np.argsort(-deviation, kind="stable")[:room])
        return owner[kept], length[kept]

    @staticmethod
    def _cost(at: np.ndarray, seconds: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Return the cost at `points`, relative to the largest seen, by linear regression."""
        design = np.column_stack([at, np.ones(len(at))])
        coefficients, *_ = np.linalg.lstsq(design, seconds / (seconds.max() or 1.0), rcond=1e-6)
        return np.asarray(np.column_stack([points, np.ones(len(points))]) @ coefficients)


class Compression:
    """Curves as numbers: the mean score under a logistic weight along the curve; equations 2 and 3."""

    def __init__(self, curves: Sequence[np.ndarray]) -> None:
        self.lengths = np.array([len(curve) for curve in curves])
        longest = int(self.lengths.max())
        unit = np.arange(longest)
        self._scores = np.zeros((len(curves), longest))
        for row, curve in zip(self._scores, curves, strict=True):
            row[: len(curve)] = curve
        # From -6 at the first unit to 6 at the last; a single unit is the last.
        along = unit / np.maximum(self.lengths - 1, 1)[:, None]
        self._z = np.where(self.lengths[:, None] > 1, -6.0 + 12.0 * along, 6.0)

    def __call__(self, midpoint: float, growth: float) -> np.ndarray:
        """Return the compressed curves, `(n,)`."""
        weighted = self._scores * expit(growth * (self._z - midpoint))
        return np.asarray(weighted.sum(axis=1) / self.lengths)

"""The Gaussian process sampler: expected improvement at the highest milestone that says something.

Jones, Schonlau, Welch: Efficient Global Optimization of Expensive Black-Box Functions, 1998; trials in
training are believed to end at their predicted mean (Ginsbourger, Le Riche, Carraro 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hypernudge.errors import require_whole
from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.surrogates.gp import GP, expected_improvement, fit
from hypernudge.surrogates.observations import features, highest_milestone, trained
from hypernudge.trial import History

LEAST_SCORE = -3.0  # in robust standard deviations: how bad the worst are does not matter


@dataclass(frozen=True)
class GPSampler:
    """Models the scores of one milestone and takes the candidate of the largest expected improvement.

    It learns from what was trained (the nudged configurations). Diverged trials count as among the worst. Of
    many observations it keeps the best half of `points` and the latest.

    Args:
        initial: Uniform draws before a model is built; None for one more than there are dimensions.
        points: Observations the model rests on, at most.
        fit_points: Observations the kernel's parameters are fitted to, at most.
        candidates: Uniform candidates; a quarter as many lie near the best configurations.

    Costs O(fit_points^3 + points^3 + candidates * points^2), at a thousand trials as at ten thousand.

    Raises:
        InvalidArgumentError: For a number below 1.
    """

    initial: int | None = None
    points: int = 256
    fit_points: int = 64
    candidates: int = 256

    def __post_init__(self) -> None:
        for name in ("points", "fit_points", "candidates"):
            require_whole(name, getattr(self, name), 2, 1_000_000)
        if self.initial is not None:
            require_whole("initial", self.initial, remedy="correct it, or leave it out")

    def __call__(self, space: SearchSpace, history: History, streams: Streams) -> Config:
        """Return the configuration of the next trial."""
        number = len(history.trials)
        least = self.initial or len(space) + 1
        milestone = highest_milestone(history, least)
        if milestone is None:
            return space.sample(streams("config", number))
        rng = streams("gp", number)
        units = trained(space, history)
        order, scores = observed(history, milestone, self.points)
        y = standardised(scores)
        x = features(space, units[order])
        some = spread(len(order), self.fit_points)
        weights, noise = fit(x[some], y[some] - y[some].mean(), range(x.shape[1]))
        gp = GP(x, y, weights, noise)
        running = sorted(history.running)[: self.fit_points]
        model = gp.believing(features(space, units[running]), noise) if running else gp
        points = nearby(space, rng, units[order[:8]], self.candidates)
        mean, deviation = model.predict(features(space, points))
        best = gp.predict(x)[0].max()
        return space.decode(points[int(np.argmax(expected_improvement(mean, deviation, best)))])


def observed(history: History, milestone: int, most: int) -> tuple[list[int], np.ndarray]:
    """Return trials that reached `milestone`, best first, with their scores: the best half and the latest."""
    ranked = history.ranked(milestone)
    kept = ranked[: max(1, most // 2)]
    if len(ranked) > len(kept):
        rest = sorted(ranked[len(kept) :], key=lambda entry: -entry[1])
        kept = sorted([*kept, *rest[: most - len(kept)]])
    return [number for _, _, number in kept], np.array([-loss for loss, _, _ in kept])


def standardised(scores: np.ndarray) -> np.ndarray:
    """Return scores in robust standard deviations from their median; what is very bad or lost, as such."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.zeros(len(scores))
    low, middle, high = np.quantile(finite, (0.25, 0.5, 0.75))
    scale = (high - low) / 1.35 or float(finite.std()) or 1.0
    return np.maximum(np.where(np.isfinite(scores), (scores - middle) / scale, -math.inf), LEAST_SCORE)


def spread(count: int, most: int) -> np.ndarray:
    """Return at most `most` indices below `count`, evenly spread, with both ends."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def nearby(space: SearchSpace, rng: np.random.Generator, best: np.ndarray, count: int) -> np.ndarray:
    """Return `count` draws of the space, and a quarter as many close to the `best` points `(k, d)`."""
    near = best[rng.integers(len(best), size=count // 4)]
    moved = near + rng.normal(0.0, 0.1, near.shape) * (rng.random(near.shape) < 0.5)
    return np.concatenate([space.draw(rng, count), space.snap(np.clip(moved, 0.0, 1.0))])

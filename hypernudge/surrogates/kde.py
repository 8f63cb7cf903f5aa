"""The kernel density sampler of BOHB: propose where good configurations are dense and bad ones are not.

Falkner, Klein, Hutter: BOHB: Robust and Efficient Hyperparameter Optimization at Scale, ICML 2018, section
3.2; the ratio of densities is that of TPE (Bergstra et al., NeurIPS 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from hypernudge.errors import require_between, require_whole
from hypernudge.parameters import Categorical
from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace
from hypernudge.surrogates.observations import highest_milestone, trained
from hypernudge.trial import History

TINY = 1e-32


@dataclass(frozen=True)
class KDESampler:
    """Draws candidates from a density of the good configurations, and takes the one least likely to be bad.

    Densities are built on the highest milestone that enough trials reached, from the configurations that were
    trained (the nudged ones). Before, and with probability `random_fraction`, the draw is uniform.

    Args:
        top: Share of the configurations that are called good.
        candidates: How many are drawn from the good density.
        random_fraction: Share of uniform draws.
        bandwidth_factor: Widens the good density while drawing from it.
        min_bandwidth: Least bandwidth in the unit cube, so that equal values do not end exploration.

    Costs O(candidates * observations * dimensions).

    Raises:
        InvalidArgumentError: For a share outside (0, 1), or another value that is not positive.
    """

    top: float = 0.15
    candidates: int = 64
    random_fraction: float = 1 / 3
    bandwidth_factor: float = 3.0
    min_bandwidth: float = 1e-3

    def __post_init__(self) -> None:
        require_between("top", self.top, 0, 1, remedy="0.15 is the paper's")
        require_between("random_fraction", self.random_fraction, 0, 1, ends=True, remedy="1/3 is the paper's")
        require_whole("candidates", self.candidates, 1, 1_000_000)
        for name in ("bandwidth_factor", "min_bandwidth"):
            require_between(name, getattr(self, name), 0)

    def __call__(self, space: SearchSpace, history: History, streams: Streams) -> Config:
        """Return the configuration of the next trial."""
        number = len(history.trials)
        least = len(space) + 1
        milestone = highest_milestone(history, 2 * least)
        rng = streams("kde", number)
        if milestone is None or rng.random() < self.random_fraction:
            return space.sample(streams("config", number))
        best_first = [trial for _, _, trial in history.ranked(milestone)]
        good = max(least, int(self.top * len(best_first)))
        units = trained(space, history)[best_first]
        better = _Density(space, units[:good], self.min_bandwidth)
        worse = _Density(space, units[good:], self.min_bandwidth)
        points = space.snap(better.draw(rng, self.candidates, self.bandwidth_factor))
        ratio = np.maximum(better(points), TINY) / np.maximum(worse(points), TINY)
        return space.decode(points[int(np.argmax(ratio))])


class _Density:
    """A product-kernel density: Gaussian in numbers, Aitchison and Aitken's kernel in choices."""

    def __init__(self, space: SearchSpace, units: np.ndarray, min_bandwidth: float) -> None:
        n, d = units.shape
        self._units = units
        self._choices = np.array([len(p.choices) if isinstance(p, Categorical) else 0 for p in space])
        # Scott's normal-reference rule
        self._width = np.maximum(1.06 * units.std(axis=0) * n ** (-1 / (4 + d)), min_bandwidth)

    def draw(self, rng: np.random.Generator, count: int, factor: float) -> np.ndarray:
        """Draw `(count, d)` points of the unit cube around data; `factor` widens the Gaussian kernels."""
        centre = self._units[rng.integers(len(self._units), size=count)]
        width = self._width * factor
        low, high = ndtr(-centre / width), ndtr((1 - centre) / width)
        uniform = rng.random(centre.shape)
        points = np.clip(centre + width * ndtri(low + uniform * (high - low)), 0.0, 1.0)
        other = rng.random(centre.shape)
        for column in np.flatnonzero(self._choices):
            moves = uniform[:, column] < self._width[column]
            points[:, column] = np.where(moves, other[:, column], centre[:, column])
        return np.asarray(points)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the density at `(m, d)` points, `(m,)`."""
        numeric = self._choices == 0
        width = self._width[numeric]
        a, b = points[:, numeric] / width, self._units[:, numeric] / width
        square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        kernel = np.exp(-0.5 * np.maximum(square, 0.0)) / np.prod(width * np.sqrt(2 * np.pi))
        for column in np.flatnonzero(self._choices):
            count, share = self._choices[column], min(self._width[column], 0.99)
            same = np.abs(points[:, [column]] - self._units[:, column]) < 0.25 / count
            kernel = kernel * np.where(same, 1 - share, share / max(count - 1, 1))
        return np.asarray(kernel.mean(axis=1))

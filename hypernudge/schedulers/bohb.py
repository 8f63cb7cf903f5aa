"""BOHB: Hyperband whose new configurations come from kernel densities of good and bad ones.

Falkner, Klein, Hutter: BOHB: Robust and Efficient Hyperparameter Optimization at Scale, ICML 2018.
"""

from __future__ import annotations

from hypernudge.schedulers.hyperband import Hyperband
from hypernudge.space import SearchSpace
from hypernudge.surrogates.kde import KDESampler


def BOHB(  # noqa: N802 - it stands for a class
    space: SearchSpace,
    max_units: int = 27,
    min_units: int = 1,
    eta: int = 3,
    max_trials: int | None = None,
    brackets: int | None = None,
    top: float = 0.15,
    candidates: int = 64,
    random_fraction: float = 1 / 3,
) -> Hyperband:
    """Return Hyperband with the kernel density sampler.

    Args:
        space: Where new configurations are drawn.
        max_units: Training units (epochs) of the last rung.
        min_units: Training units of the first rung.
        eta: Reduction factor: one in `eta` goes on.
        max_trials: Stop starting trials after this many; None leaves it to the study's budget.
        brackets: How many of the brackets to cycle through; None for all.
        top: Share of the trials of a rung that count as good.
        candidates: Draws from the good density, of which the best is taken.
        random_fraction: Share of the configurations that are drawn uniformly.

    Raises:
        InvalidArgumentError: As `Hyperband`, or for an option of the sampler that is out of range.
    """
    sampler = KDESampler(top, candidates, random_fraction)
    return Hyperband(space, max_units, min_units, eta, max_trials, sampler, brackets)

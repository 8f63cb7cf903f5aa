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
    """Return Hyperband with the kernel density sampler; arguments and errors are theirs."""
    sampler = KDESampler(top, candidates, random_fraction)
    return Hyperband(space, max_units, min_units, eta, max_trials, sampler, brackets)

"""Synchronous successive halving.

Jamieson and Talwalkar: Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016;
with rung sizes as in the first bracket of Hyperband (Li et al., JMLR 2018, Algorithm 1).
"""

from __future__ import annotations

from hypernudge.schedulers.base import SamplerSpec
from hypernudge.schedulers.hyperband import Hyperband
from hypernudge.space import SearchSpace


def SuccessiveHalving(  # noqa: N802 - it stands for a class
    space: SearchSpace,
    max_units: int = 27,
    min_units: int = 1,
    eta: int = 3,
    max_trials: int | None = None,
    sampler: SamplerSpec = "uniform",
) -> Hyperband:
    """Return Hyperband with its most aggressive bracket only, over and over.

    Args:
        space: Where new configurations are drawn.
        max_units: Training units (epochs) of the last rung.
        min_units: Training units of the first rung.
        eta: Reduction factor: one in `eta` goes on.
        max_trials: Stop starting trials after this many; None leaves it to the study's budget.
        sampler: Proposes new configurations: a sampler, its name, or a mapping with `name` and options.

    Raises:
        InvalidArgumentError: As `Hyperband`.
    """
    return Hyperband(space, max_units, min_units, eta, max_trials, sampler, brackets=1)

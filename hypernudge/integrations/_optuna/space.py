"""An Optuna study's distributions as a declared space, told by its user or learned from a trial."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import Study
from optuna.trial import TrialState

from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._external_space import ExternalSpace, check_mapping, check_not_empty

USUAL = "{'lr': FloatDistribution(1e-4, 1.0, log=True)}, say, or leave it out"
FIRST = "the space was not declared: what this trial suggests declares it, left as sampled"


def learned(study: Study) -> dict[str, BaseDistribution] | None:
    """Return what the earliest trial that went well suggested; None while there is none."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False, states=states)
    told = (trial for trial in sorted(trials, key=lambda trial: trial.number) if trial.distributions)
    first = next(told, None)
    return None if first is None else dict(first.distributions)


def checked(space: Mapping[str, BaseDistribution]) -> ExternalSpace:
    """Return a declared space in which a warm start finds something.

    Raises:
        InvalidArgumentError: `space` is no mapping, holds what is no distribution, or only constants.
    """
    check_mapping("space", space, "distributions", USUAL)
    found = declared(space)
    check_not_empty("space", space, found, USUAL)
    return found


def declared(space: Mapping[str, BaseDistribution]) -> ExternalSpace:
    """Return Optuna's distributions as a declared space.

    Raises:
        InvalidArgumentError: Something in `space` is no distribution.
    """
    found = ExternalSpace()
    for name, distribution in space.items():
        if isinstance(distribution, FloatDistribution):
            if distribution.step is None:
                found.real(name, distribution.low, distribution.high, distribution.log)
            else:
                found.stepped(name, distribution.low, distribution.high, distribution.step)
        elif isinstance(distribution, IntDistribution):
            low, high, step = distribution.low, distribution.high, distribution.step
            found.whole(name, low, high, distribution.log, range(low, high + 1, step) if step > 1 else ())
        elif isinstance(distribution, CategoricalDistribution):
            found.choice(name, distribution.choices)
        else:
            raise InvalidArgumentError(
                f"space.{name}: must be an Optuna distribution, but got {distribution!r}; "
                "write optuna.distributions.FloatDistribution(1e-4, 1.0, log=True), say"
            )
    return found

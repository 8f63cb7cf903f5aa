"""The space of a study: that which it was tuned in, or as its trials' values tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypernudge.errors import is_real
from hypernudge.parameters import Categorical, HyperParameter, Integer, Real, same
from hypernudge.space import SearchSpace

if TYPE_CHECKING:
    from hypernudge.study.study import Study

_DECADES = 50  # times the smallest value, from which values are taken to be on a logarithmic scale


def space_of(study: Study) -> SearchSpace | None:
    """Return the space of a study; one that its values could be of where it is not known, as in a record.

    None if no trial has begun.
    """
    if study.about.space is not None:
        return study.about.space
    configs = [config for trial in study.trials for config in (trial.sampled, trial.config)]
    names = dict.fromkeys(name for config in configs for name in config)
    told = [_told(name, [config[name] for config in configs if name in config]) for name in names]
    return SearchSpace(told) if told else None


def _told(name: str, values: list[Any]) -> HyperParameter:
    """Return a hyper-parameter that could have had these values."""
    if all(is_real(value) for value in values):
        low, high = min(values), max(values)
        if low == high:  # any range around it
            half = abs(low) / 2 or 0.5
            return Real(name, float(low) - half, float(high) + half)
        log = low > 0 and high / low >= _DECADES
        whole = all(isinstance(value, int) for value in values)
        return Integer(name, low, high, log) if whole else Real(name, float(low), float(high), log)
    choices: list[Any] = []
    for value in values:
        if not any(same(value, known) for known in choices):
            choices.append(value)
    return Categorical(name, tuple(choices))

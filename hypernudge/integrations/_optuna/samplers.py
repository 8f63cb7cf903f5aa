"""Optuna samplers around which a warm start can work, and the values that they hold fixed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler, PartialFixedSampler

from hypernudge.errors import InvalidArgumentError, require

SamplerSource = BaseSampler | Callable[..., BaseSampler]
ENUMERATING = (GridSampler, BruteForceSampler)  # a warm start would move the points that they tick off


def made(source: Callable[..., BaseSampler], seed: int) -> BaseSampler:
    """Return the sampler of a trial.

    Raises:
        InvalidArgumentError: If `source` takes no seed, or makes something else.
    """
    try:
        made = source(seed=seed)
    except TypeError as error:
        raise InvalidArgumentError(
            f"sampler: must be an instance, or callable with seed=, but {error}; "
            "write functools.partial(Sampler, other=options), or pass an instance"
        ) from None
    rule, remedy = "must make a sampler when called with seed=", "optuna.samplers.TPESampler, say"
    require(isinstance(made, BaseSampler), "sampler", rule, made, remedy)
    return made


def _chain(sampler: BaseSampler) -> list[BaseSampler]:
    """Return a sampler and those that it wraps, outermost first."""
    found = [sampler]
    while isinstance(base := getattr(found[-1], "_base_sampler", None), BaseSampler):
        found.append(base)
    return found


def check(sampler: BaseSampler) -> None:
    """Refuse samplers around which a warm start can never work.

    Raises:
        InvalidArgumentError: For a sampler that enumerates, or is nudged already.
    """
    for part in _chain(sampler):
        name = type(part).__name__
        if isinstance(part, ENUMERATING):
            raise InvalidArgumentError(
                f"sampler: must draw its values, but got {name}, which goes through all of them: a nudge "
                "would move its points; give the study the sampler itself, or draw with RandomSampler"
            )
        if hasattr(part, "_adapter"):
            raise InvalidArgumentError(
                f"sampler: must not be nudged already, but got {name}; wrap the sampler inside it"
            )


def fixed(sampler: BaseSampler) -> dict[str, Any]:
    """Return the values that a `PartialFixedSampler` holds."""
    found: dict[str, Any] = {}
    for part in reversed(_chain(sampler)):
        if isinstance(part, PartialFixedSampler):
            found |= part._fixed_params
    return found

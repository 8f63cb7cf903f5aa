"""Values with which the training face can work, checked before anything is trained."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from hypernudge.errors import is_real, is_whole, require
from hypernudge.optimizers import BELOW_1
from hypernudge.optimizers import LIMITS as RULE_LIMITS
from hypernudge.parameters import Categorical, HyperParameter, Real
from hypernudge.space import SearchSpace

LIMITS = {
    **RULE_LIMITS,
    "grad_clip": (math.nextafter(0.0, 1.0), 1e6),
    "ema": (0.0, BELOW_1),
    "warmup": (0.0, BELOW_1),
    "final_factor": (0.0, 1.0),
}
"""Of what the training face reads, by name."""


def check_values(
    space: SearchSpace, fixed: Mapping[str, Any], limits: Mapping[str, tuple[float, float]] = LIMITS
) -> None:
    """Refuse values that training cannot work with.

    Args:
        space: What is tuned.
        fixed: What is not.
        limits: Least and largest value by name.

    Raises:
        InvalidArgumentError: Naming the value, or a name that is both tuned and fixed.
    """
    require(
        isinstance(space, SearchSpace), "space", "must be a SearchSpace", space, "write SearchSpace([...])"
    )
    found = "lr" in space or "lr" in fixed
    require(found, "space", "must hold 'lr'", space.names, "add it, or fix it: fixed={'lr': 0.1}")
    both = sorted(set(space.names) & set(fixed))
    require(not both, "fixed", "must not name what is tuned", both, "drop it from one of the two")
    for parameter in space:
        name, discrete = parameter.name, not isinstance(parameter, Real)
        _check(f"space.{name}", name, _values(parameter), limits, discrete)
    for name, value in fixed.items():
        _check(f"fixed.{name}", name, [value], limits, True)


def _values(parameter: HyperParameter) -> Iterable[Any]:
    if isinstance(parameter, Categorical):
        return parameter.choices
    return parameter.low, parameter.high


def _check(
    where: str, name: str, values: Iterable[Any], limits: Mapping[str, tuple[float, float]], discrete: bool
) -> None:
    if name == "batch_size":
        wrong = [v for v in values if not (is_whole(v) and v >= 1)]
        ok = discrete and not wrong
        require(
            ok, where, "must be whole numbers, at least 1", wrong or "a range", "use Integer or Categorical"
        )
    elif name in limits:
        low, high = limits[name]
        unset = name != "lr"  # None leaves the others at their defaults
        wrong = [v for v in values if not ((is_real(v) and low <= v <= high) or (v is None and unset))]
        require(not wrong, where, f"must lie in [{low:g}, {high:g}]", wrong, "correct it")

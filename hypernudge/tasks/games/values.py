"""The hyper-parameters of PPO: their names, what they are where nobody says, and what they can be at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hypernudge.errors import is_real, is_whole, require, unknown_name
from hypernudge.space import Categorical, Real, SearchSpace

PUBLISHED: dict[str, float] = {
    "lr": 2.5e-4,
    "ent_coef": 0.01,
    "vf_coef": 0.5,
    "clip_range": 0.1,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "max_grad_norm": 0.5,
    "minibatches": 4,
    "epochs": 4,
}
"""PPO on Atari as published (Schulman et al. 2017, in the form of Huang et al. 2022, "The 37 Implementation
Details of PPO"); names are those of stable-baselines3 where it has one."""
LIMITS: dict[str, tuple[float, float]] = {
    "lr": (0.0, 1e6),
    "ent_coef": (0.0, 1e6),
    "vf_coef": (0.0, 1e6),
    "clip_range": (1e-6, 1.0),
    "gamma": (0.0, 1.0),
    "gae_lambda": (0.0, 1.0),
    "max_grad_norm": (math.nextafter(0.0, 1.0), 1e6),
}
WHOLE: dict[str, tuple[int, int]] = {"minibatches": (1, 1024), "epochs": (1, 100)}


def check_values(space: SearchSpace, fixed: Mapping[str, Any], rollout: int) -> None:
    """Refuse names that PPO does not read, a name given twice, and values without sense.

    Args:
        space: What is tuned.
        fixed: What is not.
        rollout: Steps that an update learns from, which minibatches must divide.

    Raises:
        InvalidArgumentError: Naming the hyper-parameter, the rule and the value.
    """
    both = sorted(set(space.names) & set(fixed))
    require(not both, "fixed", "must not name what is tuned", both, "drop it from one of the two")
    for parameter in space:
        where, name = f"space.{parameter.name}", parameter.name
        choices = isinstance(parameter, Categorical)
        ends = parameter.choices if isinstance(parameter, Categorical) else (parameter.low, parameter.high)
        if name in WHOLE:
            drawn = not isinstance(parameter, Real)
            require(drawn, where, "must be whole", parameter, "write integer: true, or choices")
        whole = name == "minibatches" and not choices and not isinstance(parameter, Real)
        values = range(int(ends[0]), int(ends[1]) + 1) if whole else ends
        _check(where, name, list(values), rollout)
    for name, value in fixed.items():
        _check(f"fixed.{name}", name, [value], rollout)


def _check(where: str, name: str, values: list[Any], rollout: int) -> None:
    if name not in LIMITS and name not in WHOLE:
        raise unknown_name(where, name, PUBLISHED, "must be a hyper-parameter of PPO")
    of = is_whole if name in WHOLE else is_real
    low, high = WHOLE.get(name) or LIMITS[name]
    wrong = [value for value in values if not (of(value) and low <= value <= high)]
    kind = "whole numbers in" if name in WHOLE else "in"
    require(not wrong, where, f"must lie {kind} [{low:g}, {high:g}]", wrong, "correct it")
    if name == "minibatches":
        wrong = [value for value in values if rollout % value or rollout // value < 2]
        rule = f"must divide the {rollout} steps of a rollout into parts of two or more"
        require(not wrong, where, rule, wrong, "choices: [2, 4, 8], say")

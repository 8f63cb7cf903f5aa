"""The hyper-parameters of XGBoost's trees: names, second names, and values that make sense at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypernudge.errors import is_real, is_whole, require, unknown_name
from hypernudge.space import Categorical, Real, SearchSpace, Value

ALIASES = {
    "lr": "eta",
    "learning_rate": "eta",
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
    "min_split_loss": "gamma",
}
"""Second names, as scikit-learn's interface of XGBoost and other tools have them."""
RANGES: dict[str, tuple[float, float]] = {
    "eta": (1e-9, 10.0),
    "gamma": (0.0, 1e9),
    "min_child_weight": (0.0, 1e9),
    "max_delta_step": (0.0, 1e6),
    "subsample": (1e-3, 1.0),
    "colsample_bytree": (1e-3, 1.0),
    "colsample_bylevel": (1e-3, 1.0),
    "colsample_bynode": (1e-3, 1.0),
    "lambda": (0.0, 1e9),
    "alpha": (0.0, 1e9),
    "scale_pos_weight": (1e-6, 1e6),
}
WHOLE: dict[str, tuple[int, int]] = {
    "max_depth": (1, 20),
    "max_leaves": (0, 2**20),
    "num_parallel_tree": (1, 100),
    "max_cat_to_onehot": (1, 10_000),
    "max_cat_threshold": (1, 10_000),
}
CHOICES: dict[str, tuple[str, ...]] = {"grow_policy": ("depthwise", "lossguide")}
SAMPLING = ("subsample", "colsample_bytree", "colsample_bylevel", "colsample_bynode")
"""Shares of rows and columns that are drawn at random where they are below 1."""


def known_names() -> list[str]:
    """Return every name that is read."""
    return [*RANGES, *WHOLE, *CHOICES, *ALIASES]


def canonical(hp: Mapping[str, Value]) -> dict[str, Value]:
    """Return hyper-parameters by XGBoost's own names."""
    return {ALIASES.get(name, name): value for name, value in hp.items()}


def check_parameters(space: SearchSpace, fixed: Mapping[str, Any]) -> None:
    """Refuse names that trees do not read, a name under two spellings, and values without sense.

    Raises:
        InvalidArgumentError: Naming the hyper-parameter, the rule and the value.
    """
    seen: dict[str, str] = {}
    given = {f"space.{p.name}": p for p in space} | {f"fixed.{name}": v for name, v in fixed.items()}
    for where, of in given.items():
        name = where.partition(".")[2]
        own = ALIASES.get(name, name)
        if own not in RANGES and own not in WHOLE and own not in CHOICES:
            raise unknown_name(where, name, known_names(), "must be a hyper-parameter of XGBoost's trees")
        rule = f"must be given once, but {seen.get(own)} is the same"
        require(own not in seen, where, rule, name, "remove one of the two")
        seen[own] = where
        _check_values(where, own, of)


def _check_values(where: str, name: str, of: Any) -> None:
    if isinstance(of, Categorical):
        values = list(of.choices)
    elif hasattr(of, "low"):
        values = [of.low, of.high]
    else:
        values = [of]
    if name in CHOICES:
        wrong = [value for value in values if value not in CHOICES[name]]
        require(not wrong, where, f"must be among {CHOICES[name]}", wrong, "correct it")
        return
    if name in WHOLE:
        drawn = not isinstance(of, Real)
        require(drawn, where, "must be whole", of, "write integer: true, or choices")
        ok, (low, high) = is_whole, WHOLE[name]
    else:
        ok, (low, high) = is_real, RANGES[name]  # type: ignore[assignment]
    wrong = [value for value in values if not (ok(value) and low <= value <= high)]
    require(not wrong, where, f"must lie in [{low:g}, {high:g}]", wrong, "correct it")


@dataclass(frozen=True)
class Shrinkage:
    """The learning rate of boosting, to those that compare rates: `eta`, whatever a space calls it."""

    rate: str = "eta"

    @classmethod
    def of(cls, space: SearchSpace) -> Shrinkage:
        """Return the rate of a space, by the name that it has there."""
        return cls(next((name for name in space.names if ALIASES.get(name, name) == "eta"), "eta"))

    def effective_rate(self, hp: Mapping[str, Any]) -> Any:
        """Return the rate of a configuration.

        Raises:
            KeyError: If it has none.
        """
        return hp[self.rate]

"""Values of a variation's keys: read from YAML, checked, refused with the key, the rule and the remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hypernudge.errors import require

PILOT = "pilot"  # a target that `hypernudge plan` measures and freezes


def read_target(value: Any, task: Mapping[str, Any], where: str) -> float | str:
    """Return a target inside the range of the metric, or `PILOT`."""
    if value == PILOT:
        return PILOT
    low, high = (
        default if b is None else b
        for b, default in zip(task["metric_range"], (-math.inf, math.inf), strict=True)
    )
    number = isinstance(value, int | float) and not isinstance(value, bool)
    require(number, f"{where}.target", "must be a number, the score to reach", value, "set target")
    rule = f"must lie in the range [{low:g}, {high:g}] of {task['metric']}"
    require(low <= value <= high, f"{where}.target", rule, value, "correct it")
    return float(value)


def read_budget(value: Any, where: str) -> dict[str, float]:
    """Return a budget, `{units: N}`."""
    ok = isinstance(value, Mapping) and set(value) == {"units"}
    require(ok, f"{where}.budget", "must be {units: N}", value, "N training units in all")
    units = value["units"]
    ok = isinstance(units, int | float) and units > 0
    require(ok, f"{where}.budget.units", "must be a positive number", units, "raise it")
    return {"units": float(units)}


def read_whole(value: Any, where: str) -> int:
    """Return a whole number of at least 1."""
    ok = isinstance(value, int) and value >= 1
    require(ok, where, "must be a whole number >= 1", value, "correct it")
    return int(value)


def read_seeds(value: Any, where: str) -> list[int]:
    """Return the seeds of a list, or of `{first: F, count: N}`."""
    if isinstance(value, Mapping):
        ok = set(value) <= {"first", "count"} and isinstance(value.get("count"), int) and value["count"] >= 1
        require(ok, f"{where}.seeds", "must be {first: F, count: N} with N >= 1, or a list", value, "correct")
        first = int(value.get("first", 0))
        return list(range(first, first + value["count"]))
    ok = isinstance(value, list) and len(value) > 0 and all(isinstance(seed, int) for seed in value)
    require(ok, f"{where}.seeds", "must be a list of whole numbers, or {first, count}", value, "add it")
    require(len(set(value)) == len(value), f"{where}.seeds", "must differ", value, "remove the duplicates")
    return [int(seed) for seed in value]

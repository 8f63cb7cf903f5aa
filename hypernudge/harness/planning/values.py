"""Values of a variation's keys that depend on more than the schema knows, in the form a plan holds."""

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
    rule = f"must lie in the range [{low:g}, {high:g}] of {task['metric']}"
    require(low <= value <= high, f"{where}.target", rule, value, "correct it")
    return float(value)


def read_seeds(value: Any) -> list[int]:
    """Return the seeds of a list, or of `{first: F, count: N}`."""
    if isinstance(value, Mapping):
        first = value.get("first", 0)
        return list(range(first, first + value["count"]))
    return list(value)

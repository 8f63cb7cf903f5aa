"""Synthetic trials of known length."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from hypernudge.space import Real, SearchSpace

SPACE = SearchSpace([Real("lr", 1e-3, 1.0, log=True), Real("shift", 0.0, 1.0)])


def score(config: Mapping[str, Any], unit: int) -> float:
    """Return the score of a trial's unit: a bowl, and a curve that flattens."""
    return float(-abs(math.log10(config["lr"]) + 1.5) - abs(config["shift"] - 0.4) - 1 / unit)


class Timed:
    """A unit is a small matrix product, and a sleep until so many seconds have passed.

    Args:
        seconds: Of a unit.
    """

    name, metric, metric_range, space = "timed", "score", (-math.inf, math.inf), SPACE

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def start(self, seed: int) -> dict[str, Any]:
        """Return a new trial's state."""
        return {"unit": 0, "value": 0.0, "matrix": np.random.default_rng(seed).random((16, 16))}

    def advance(self, state: dict[str, Any], hp: Mapping[str, Any]) -> bool:
        """Train a unit."""
        begun = time.perf_counter()
        product = state["matrix"] @ state["matrix"].T
        state["matrix"] = product / np.abs(product).max()
        state["unit"] += 1
        state["value"] = score(hp, state["unit"])
        time.sleep(max(0.0, self.seconds - (time.perf_counter() - begun)))
        return True

    def evaluate(self, state: Mapping[str, Any], split: str) -> float:
        """Return the score."""
        del split
        return float(state["value"])

    def unit_flops(self, hp: Mapping[str, Any]) -> float:
        """Return the cost of a unit: a second of the virtual clock."""
        del hp
        return 1e9

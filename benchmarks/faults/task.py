"""A task whose scores are a formula, and who says on disk what was trained when."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypernudge.space import Real, SearchSpace

UNITS, BEGUN = "units.txt", "begun.txt"
PATIENCE = 60.0  # seconds for which a line is tried again that the disk refuses


class Paced:
    """Every unit takes the same time; it is a line of a file when it begins, and of another when it ends.

    Args:
        folder: Where the file is.
        pace: Seconds of a unit.
    """

    name, metric, metric_range = "paced", "score", (-10.0, 10.0)
    space = SearchSpace([Real("lr", 1e-3, 1.0, log=True), Real("shift", 0.0, 1.0)])

    def __init__(self, folder: Path, pace: float = 0.0) -> None:
        self.folder, self.pace = folder, pace

    def start(self, seed: int) -> dict[str, Any]:
        """Return a new trial's state: numbers only."""
        return {"seed": seed, "unit": 0, "value": (seed % 1000) / 1000}

    def advance(self, state: dict[str, Any], hp: Mapping[str, Any]) -> bool:
        """Train a unit."""
        state["unit"] += 1
        line = f"{state['seed']} {state['unit']} {os.getpid()}\n"
        self._say(BEGUN, line)
        time.sleep(self.pace)
        state["value"] += hp["lr"] / state["unit"] - abs(hp["shift"] - 0.5)
        self._say(UNITS, line)
        return True

    def evaluate(self, state: Mapping[str, Any], split: str) -> float:
        """Return the score, larger being better."""
        return float(state["value"]) + (0.5 if split == "test" else 0.0)

    def unit_flops(self, hp: Mapping[str, Any]) -> float:
        """Return the cost of a unit."""
        del hp
        return 1e9

    def _say(self, name: str, line: str) -> None:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                with (self.folder / name).open("a") as file:
                    file.write(line)
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


def read_units(folder: Path, name: str = UNITS) -> list[tuple[int, int, int]]:
    """Return seed, unit and process of every unit that has ended, or `BEGUN`, in order."""
    path = folder / name
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = []
    for line in lines:
        seed, unit, process = line.split() if line.endswith("\n") else ("0", "0", "0")
        found.append((int(seed), int(unit), int(process)))
    return found

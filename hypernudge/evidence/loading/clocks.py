"""Clocks of measured seconds: those of the wall and of GPUs, as a record has them.

What is counted is the work of one cell by itself, measuring and training one after the other: what one worker
would need. Seconds are compared on equal hardware only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hypernudge.results.plan import ResultsError
from hypernudge.results.records import Record

Columns = tuple[NDArray[np.float64], ...]


def on_clock(clock: str, record: Record, columns: Columns) -> tuple[Columns, float]:
    """Return the columns of a curve with times of a measured clock, and when the cell was done.

    Args:
        clock: "wall" or "gpu".
        record: It.
        columns: Cell, time, validation, test and trial, each of shape (m,).

    Raises:
        ValueError: The record holds no such seconds, or not as many as scores.
    """
    wall = record.get("wall") or {}
    if record["status"] == "crashed":  # it counts as a miss, whatever it took
        return columns, math.nan
    if wall.get("cells_together", 1) != 1:
        raise ValueError("its cells were trained together: no seconds are its own; use engine: serial")
    measured: Any = wall.get("curve")
    if not isinstance(measured, dict):
        raise ValueError("it holds no measured seconds; it is of an older version")
    seconds = np.array(measured["seconds"], dtype=np.float64)
    if seconds.shape != columns[1].shape:
        raise ValueError("it has other numbers of scores and of measured seconds")
    scale = 1.0
    if clock == "gpu":
        used = wall.get("resources") or {}
        held, passed = float(used.get("gpu_seconds") or 0.0), float(used.get("wall_seconds") or 0.0)
        if held <= 0 or passed <= 0:
            raise ValueError("it used no GPU; use the clock wall")
        scale = held / passed
    cell, _, *others = columns
    return (cell, seconds * scale, *others), float(measured["end"]) * scale


def check_hardware(cells: pd.DataFrame, clock: str) -> None:
    """Refuse seconds of different machines within a task.

    Raises:
        ResultsError: With the kinds of hardware.
    """
    there = cells[cells["status"] == "completed"]
    for task, group in there.groupby("task", sort=False):
        kinds = sorted(set(group["hardware"].fillna("")))
        if len(kinds) > 1 or kinds == [""]:
            found = "; ".join(kind or "unknown" for kind in kinds)
            raise ResultsError(
                f"evidence.clock: {clock} seconds of a task must stem from one kind of hardware, but got "
                f"{found} for {task}; run its cells on equal machines, or judge simulated ones by the clock "
                "virtual."
            )

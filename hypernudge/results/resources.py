"""What work took of the machine, measured in the process that did it; of a cell, what warm starts took.

The latter is the fee that a cost declared in FLOPs does not show. None of it is a result.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resources:
    """What a piece of work took: training a trial to a milestone, measuring a warm start, a cell.

    Attributes:
        wall_seconds: Time that passed while it was done.
        core_seconds: Processor time, of all threads and of child processes that have ended.
        gpu_seconds: `wall_seconds` times the GPUs that were reserved for it, idle or not: what is paid for.
        peak_gpu_bytes: Most memory that PyTorch had on a GPU; None where it used none.
        worker: Who did it.
        node: Name of its machine.
        attempt: Number of the attempt that succeeded, from 1.
        lost_seconds: Time of workers in attempts whose work was lost with them.
    """

    wall_seconds: float = 0.0
    core_seconds: float = 0.0
    gpu_seconds: float = 0.0
    peak_gpu_bytes: int | None = None
    worker: str = ""
    node: str = ""
    attempt: int = 1
    lost_seconds: float = 0.0

    def __add__(self, other: Resources) -> Resources:
        """Return the sum; the peak is the larger, who did it is whoever did the latter."""
        peaks = [peak for peak in (self.peak_gpu_bytes, other.peak_gpu_bytes) if peak is not None]
        return dataclasses.replace(
            other,
            wall_seconds=self.wall_seconds + other.wall_seconds,
            core_seconds=self.core_seconds + other.core_seconds,
            gpu_seconds=self.gpu_seconds + other.gpu_seconds,
            peak_gpu_bytes=max(peaks, default=None),
            lost_seconds=self.lost_seconds + other.lost_seconds,
        )

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(vars(self))  # all of it is plain: `asdict` would copy each

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Resources:
        """Return what `as_data` wrote.

        Raises:
            KeyError, TypeError, ValueError: If it did not.
        """
        names = ("wall_seconds", "core_seconds", "gpu_seconds", "lost_seconds")
        seconds = {name: float(data[name]) for name in names}
        peak = data["peak_gpu_bytes"]
        return cls(
            **seconds,
            peak_gpu_bytes=None if peak is None else int(peak),
            worker=str(data["worker"]),
            node=str(data["node"]),
            attempt=int(data["attempt"]),
        )


class Meter:
    """Measures from when it is made.

    Args:
        gpus: GPUs, or the share of one, that are reserved for this process.
        worker: Who works.
        attempt: Number of the attempt.
    """

    def __init__(self, gpus: float = 0.0, worker: str = "", attempt: int = 1) -> None:
        self._gpus, self._worker, self._attempt = gpus, worker, attempt
        self._wall, self._cores = time.perf_counter(), processor_seconds()
        cuda = _cuda()
        if cuda is not None:
            for device in range(cuda.device_count()):
                cuda.reset_peak_memory_stats(device)

    def read(self) -> Resources:
        """Return what was used so far."""
        wall, cuda = time.perf_counter() - self._wall, _cuda()
        peak = None
        if cuda is not None:
            peak = max(cuda.max_memory_allocated(device) for device in range(cuda.device_count()))
        return Resources(
            wall,
            processor_seconds() - self._cores,
            wall * self._gpus,
            peak,
            self._worker,
            platform.node(),
            self._attempt,
        )


def processor_seconds() -> float:
    """Processor time of this process so far: all its threads, and child processes that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _cuda() -> Any:
    """Return PyTorch's CUDA if something uses it here; looking must neither import nor start it."""
    torch = sys.modules.get("torch")
    with contextlib.suppress(AttributeError):  # it is being imported
        if torch is not None and torch.cuda.is_initialized():
            return torch.cuda
    return None


@dataclass(frozen=True)
class WallFee:
    """Seconds of measuring and choosing, and of which they are a part; NaN where nobody has measured.

    Attributes:
        seconds: In which warm starts measured, chose, and were asked ahead of time what they would choose.
        cell_seconds: That the whole cell took: of its process, which other cells may share, or of workers
            that trained and measured for it.
    """

    seconds: float = math.nan
    cell_seconds: float = math.nan

    @property
    def share(self) -> float:
        """`seconds` over `cell_seconds`; NaN where one of them is unknown or nothing was done."""
        return self.seconds / self.cell_seconds if self.cell_seconds > 0 else math.nan

    def as_data(self) -> dict[str, float | None]:
        """Return the three numbers as plain data, None for one that is unknown."""
        known = {"seconds": self.seconds, "cell_seconds": self.cell_seconds, "share": self.share}
        return {name: value if math.isfinite(value) else None for name, value in known.items()}


def wall_fee(record: Mapping[str, Any]) -> WallFee:
    """Return the fee of a cell's record.

    Records of versions that did not note it say it as well, unless the cell shared its process with others:
    how much of that was its own they do not say.
    """
    wall = record.get("wall") or {}
    noted = wall.get("wall_fee")
    if noted is not None:
        return WallFee(_known_number(noted.get("seconds")), _known_number(noted.get("cell_seconds")))
    whole = math.nan if "cells_together" in wall else _known_number(wall.get("total_seconds"))
    return WallFee(_known_number(wall.get("warm_start_seconds")), whole)


def _known_number(value: Any) -> float:
    return math.nan if value is None else float(value)

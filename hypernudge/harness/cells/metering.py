"""What a cell takes of the machine: measured by the process that runs it, earlier turns at it counted in."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypernudge.harness.cells.checkpoint import study_folder
from hypernudge.harness.slurm.accounting import own_usage
from hypernudge.results.files import write_text
from hypernudge.results.reading import UnreadableError, read_json
from hypernudge.results.resources import Meter, Resources, WallFee
from hypernudge.study.study import Study
from hypernudge.trial import Nudge, Report

GPUS = "HYPERNUDGE_GPUS"
"""Environment: GPUs, or the share of one, that a launcher has given to this process."""
ACCOUNTED = "HYPERNUDGE_SLURM_ACCOUNTING"
"""Environment: set where the records are to quote what Slurm's own accounting says."""
SPENT = "spent.json"


class CellMeter:
    """Measures a cell from when it is made.

    Args:
        path: Of the record to be.
        attempt: At the cell, from 1.
        cells: How many this process computes at once; each is charged an equal share.
    """

    def __init__(self, path: Path, attempt: int, cells: int = 1) -> None:
        self._allotted = allotted_gpus()
        self._meter = Meter(self._allotted or 0.0, attempt=attempt)
        self._before, self._cells = _spent_before(path), cells
        self._charged = {"wall_seconds": 0.0, "core_seconds": 0.0, "gpu_seconds": 0.0}
        self._seen = dict(self._charged)

    def read(self, trials: Sequence[Mapping[str, Any]] = ()) -> Resources:
        """Return what a cell has used that ends now; the wall's seconds are those that passed.

        Args:
            trials: What `used_by_trials` says of it: workers elsewhere are counted in.
        """
        used = self._meter.read()
        if self._allotted is None and used.peak_gpu_bytes:  # nobody has said, and it computes on one
            used = dataclasses.replace(used, gpu_seconds=used.wall_seconds)
        for name, before in self._seen.items():  # what came since is shared by those that were still there
            self._charged[name] += (getattr(used, name) - before) / self._cells
            self._seen[name] = getattr(used, name)
        self._cells = max(1, self._cells - 1)
        cores, gpus = self._charged["core_seconds"], self._charged["gpu_seconds"]
        used = dataclasses.replace(used, node="", core_seconds=cores, gpu_seconds=gpus)  # names no machine
        for trial in trials:
            if trial["core_seconds"] is not None:
                there = Resources(
                    core_seconds=trial["core_seconds"],
                    gpu_seconds=trial["gpu_seconds"],
                    peak_gpu_bytes=trial["peak_gpu_bytes"],
                    lost_seconds=trial["lost_seconds"],
                )
                used = there + used
        return used if self._before is None else self._before + used

    def fee(self, wall: Mapping[str, Any], elsewhere: bool) -> dict[str, Any]:
        """Return what warm starts took of the cell that was read last, for its record.

        Args:
            wall: The record's, with the seconds of training and of warm starts.
            elsewhere: Whether workers did both: then theirs are the seconds of the cell.
        """
        cell = self._charged["wall_seconds"] + (self._before.wall_seconds if self._before else 0.0)
        if elsewhere:
            cell = wall["training_seconds"] + wall["warm_start_seconds"]
        return WallFee(wall["warm_start_seconds"], cell).as_data()

    def keep(self, path: Path) -> None:
        """Note what was used, for the turn that finishes the cell."""
        with contextlib.suppress(OSError):  # then only that of the last turn is known
            write_text(study_folder(path) / SPENT, json.dumps(self.read().as_data()))


def used_by_trials(study: Study) -> list[dict[str, Any]]:
    """Return what each trial has taken, warm start and training, in the order of their numbers.

    An engine of real workers has measured all of it; where trials are trained in the cell's own process, what
    is known of each are the seconds of the wall, and the rest is None.
    """
    parts_of: list[list[Nudge | Report]] = [[trial.nudge] for trial in study.history.trials]
    for report in study.reports:
        parts_of[report.job.trial].append(report)
    found = []
    for number, parts in enumerate(parts_of):
        measured = [part.resources for part in parts if part.resources is not None]
        total = sum(measured[1:], measured[0]) if measured else None
        seconds = sum(part.wall_seconds for part in parts) if total is None else total.wall_seconds
        names = ("core_seconds", "gpu_seconds", "lost_seconds", "peak_gpu_bytes")
        known = {name: None if total is None else getattr(total, name) for name in names}
        found.append({"trial": number, "wall_seconds": seconds, **known})
    return found


def allotted_gpus() -> float | None:
    """Return how many GPUs a launcher has given to this process; None where nobody has said."""
    for name in (GPUS, "SLURM_GPUS_ON_NODE"):
        with contextlib.suppress(KeyError, ValueError):
            return float(os.environ[name])
    return 0.0 if "SLURM_JOB_ID" in os.environ else None


def cluster_usage() -> dict[str, Any]:
    """Return what the accounting of a cluster says of this job, for a record; nothing outside one."""
    if ACCOUNTED not in os.environ:
        return {}
    usage = own_usage()
    return {} if usage is None else {"slurm": usage}


def _spent_before(path: Path) -> Resources | None:
    try:
        return Resources.from_data(read_json(study_folder(path) / SPENT))
    except (OSError, UnreadableError, AttributeError, KeyError, TypeError, ValueError):
        return None

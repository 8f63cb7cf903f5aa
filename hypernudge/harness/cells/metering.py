"""What a cell takes of the machine: measured by the process that runs it, earlier turns at it counted in."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from hypernudge.harness.cells.checkpoint import study_folder
from hypernudge.harness.slurm.accounting import own_usage
from hypernudge.results.files import write_text
from hypernudge.results.reading import UnreadableError, read_json
from hypernudge.results.resources import Meter, Resources

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
        self._charged = {"core_seconds": 0.0, "gpu_seconds": 0.0}
        self._seen = dict(self._charged)

    def read(self) -> Resources:
        """Return what a cell has used that ends now; the wall's seconds are those that passed."""
        used = self._meter.read()
        if self._allotted is None and used.peak_gpu_bytes:  # nobody has said, and it computes on one
            used = dataclasses.replace(used, gpu_seconds=used.wall_seconds)
        for name, before in self._seen.items():  # what came since is shared by those that were still there
            self._charged[name] += (getattr(used, name) - before) / self._cells
            self._seen[name] = getattr(used, name)
        self._cells = max(1, self._cells - 1)
        cores, gpus = self._charged["core_seconds"], self._charged["gpu_seconds"]
        used = dataclasses.replace(used, node="", core_seconds=cores, gpu_seconds=gpus)  # names no machine
        return used if self._before is None else self._before + used

    def keep(self, path: Path) -> None:
        """Note what was used, for the turn that finishes the cell."""
        with contextlib.suppress(OSError):  # then only that of the last turn is known
            write_text(study_folder(path) / SPENT, json.dumps(self.read().as_data()))


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

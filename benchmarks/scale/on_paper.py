"""Studies too large to be run: on the virtual clock, where a second costs nothing."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.scale.tasks import Timed, score
from hypernudge.schedulers.asha import ASHA
from hypernudge.tuner import tune


class Formula(Timed):
    """The same scores, without a matrix and without waiting: a state is a number."""

    name = "formula"

    def __init__(self) -> None:
        super().__init__(0.0)

    def start(self, seed: int) -> dict[str, Any]:
        """Return a new trial's state."""
        del seed
        return {"unit": 0, "value": 0.0}

    def advance(self, state: dict[str, Any], hp: Mapping[str, Any]) -> bool:
        """Train a unit."""
        state["unit"] += 1
        state["value"] = score(hp, state["unit"])
        return True


def simulated(trials: int, workers: int) -> dict[str, Any]:
    """Return what a study of so many trials takes in this process, and what its clock says."""
    task = Formula()
    before, begun = _resident_bytes(), time.process_time()
    study = tune(
        task,
        ASHA(task.space, max_units=27, max_trials=trials),
        seed=0,
        workers=workers,
        progress=False,
        test="never",
    )
    used = time.process_time() - begun
    units = sum(len(report.units) for report in study.reports)
    return {
        "trials": trials,
        "workers": workers,
        "reports": len(study.reports),
        "virtual_seconds": study.reports[-1].finished,
        "utilisation": units / (workers * study.reports[-1].finished),
        "ms_per_report": 1e3 * used / len(study.reports),
        "bytes_per_trial": (_resident_bytes() - before) / trials,
    }


def _resident_bytes() -> int:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

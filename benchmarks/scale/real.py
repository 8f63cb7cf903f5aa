"""What real workers do with their time: the share spent training, and what starting and measuring take."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.scale.tasks import Timed
from hypernudge.engine.workers.engine import WorkerEngine
from hypernudge.random import Streams
from hypernudge.results.resources import processor_seconds
from hypernudge.schedulers.asha import ASHA
from hypernudge.schedulers.random import RandomSearch
from hypernudge.task import Task
from hypernudge.tuner import tune


def engine_of(kind: str, workers: int, task: Task) -> WorkerEngine:
    """Return an engine of this study and no other: what it has measured can be asked for afterwards."""
    given: dict[str, Any] = {"task": task, "seed_of": Streams(0).trial_seed, "workers": workers}
    if kind == "ray":
        from hypernudge.engine.workers.ray import RayEngine

        return RayEngine(cpus_per_trial=0.01, **given)
    from hypernudge.engine.workers.processes import ProcessEngine

    return ProcessEngine(**given)


def utilisation(kind: str, workers: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Train `rounds` trials of one unit on each worker: every unit is a decision and a report.

    Returns:
        `utilisation`, the share of worker time spent training, from the start of the study's clock to the
        last report; seconds that starting took, which are not in it; decisions per second, and bytes of the
        study's file per report. On a machine that is busy with something else say more: `core_ms_per_report`,
        processor time of driver and workers, starting included, and the `load` before.
    """
    task = Timed(seconds)
    scheduler = RandomSearch(task.space, max_units=1, max_trials=workers * rounds)
    engine = engine_of(kind, workers, task)
    load, before = os.getloadavg()[0], processor_seconds()
    with tempfile.TemporaryDirectory(prefix="hypernudge-scale-") as folder:
        study = tune(task, scheduler, seed=0, engine=engine, study=folder, progress=False)
        size = (Path(folder) / "study.jsonl").stat().st_size
    end = study.reports[-1].finished
    return {
        "utilisation": len(study.reports) * seconds / (workers * end),
        "startup_seconds": engine.startup_seconds,
        "reports": len(study.reports),
        "seconds": end,
        "decisions_per_second": len(study.reports) / end,
        "bytes_per_report": size / len(study.reports),
        "core_ms_per_report": 1e3 * (processor_seconds() - before) / len(study.reports),
        "load": load,
    }


def decisions(kind: str, workers: int, trials: int) -> dict[str, Any]:
    """Tune with units that take no time: what the driver and the disk allow."""
    task = Timed(0.0)
    engine = engine_of(kind, workers, task)
    with tempfile.TemporaryDirectory(prefix="hypernudge-scale-") as folder:
        scheduler = ASHA(task.space, max_units=9, max_trials=trials)
        study = tune(task, scheduler, seed=0, engine=engine, study=folder, progress=False)
    end = study.reports[-1].finished
    return {"reports": len(study.reports), "seconds": end, "reports_per_second": len(study.reports) / end}


def warm_start(workers: int) -> dict[str, Any]:
    """Tune digits with `informed`: when the first trial starts, what its measurement took, and the memory."""
    from hypernudge.tasks.builtin import digits_mlp

    task = digits_mlp()
    engine = engine_of("processes", workers, task)
    with _memory() as peak:
        study = tune(
            task,
            RandomSearch(task.space, max_units=1, max_trials=workers),
            seed=0,
            engine=engine,
            warm_start="informed",
            progress=False,
        )
    first = study.trials[0]
    return {
        "startup_seconds": engine.startup_seconds,
        "first_trial_started": first.started,
        "last_trial_started": study.trials[-1].started,
        "measurement_seconds": first.nudge.wall_seconds,
        "peak_bytes_of_all_workers": max(peak),
        "peak_bytes_per_worker": max(peak) / workers,
    }


@contextlib.contextmanager
def _memory() -> Iterator[list[int]]:
    """Look at the memory of child processes now and then; what several of them share is counted once."""
    found, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.02):  # eight workers are done with a unit of digits in a tenth of a second
            found.append(sum(map(_proportional_bytes, _children())))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()


def _children() -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _proportional_bytes(process: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0

"""What the driver itself takes for each report: its workers answer at once, and are none."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from benchmarks.scale.tasks import Timed, score
from hypernudge.engine.workers.engine import WorkerEngine
from hypernudge.engine.workers.messages import Finished, Message, Order, Ready, Row, Setup, Train
from hypernudge.random import Streams
from hypernudge.results.resources import Resources
from hypernudge.schedulers.asha import ASHA
from hypernudge.study.study import Study
from hypernudge.trial import Report
from hypernudge.tuner import tune


class InstantPool:
    """Workers that have done what they are told when they are told."""

    def __init__(self) -> None:
        self._said: deque[tuple[str, Message]] = deque()
        self._count = 0

    def start(self) -> str:
        """See `Pool.start`."""
        self._count += 1
        self._said.append((f"instant-{self._count}", Ready(0)))
        return f"instant-{self._count}"

    def send(self, worker: str, order: Order) -> None:
        """See `Pool.send`."""
        assert isinstance(order, Train)
        job = order.job
        rows = tuple(
            Row(unit, 0.0, order.attempt, score(job.config, unit))
            for unit in range(job.since + 1, job.until + 1)
        )
        self._said.append((worker, Finished(order.ticket, "ok", rows, 1e9, Resources(worker=worker))))

    def receive(self, timeout: float) -> list[tuple[str, Message]]:
        """See `Pool.receive`; one at a time, as real workers would."""
        del timeout
        return [self._said.popleft()] if self._said else []

    def end(self, worker: str) -> None:
        """See `Pool.end`."""

    def close(self) -> None:
        """See `Pool.close`."""


class InstantEngine(WorkerEngine):
    """The engine of real workers, on a pool of none."""

    def _open(self, setup: Setup) -> InstantPool:
        del setup
        return InstantPool()


def cost(trials: int, workers: int, kept: bool) -> dict[str, Any]:
    """Drive a study of so many trials; milliseconds of the driver's processor per report.

    Args:
        trials: How many.
        workers: How many.
        kept: Whether the study is kept in a folder: events are then synced to the disk.
    """
    task = Timed(0.0)
    used: list[float] = []

    def note(study: Study, report: Report) -> None:
        del study, report
        used.append(time.process_time())

    begun, wall = time.process_time(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="hypernudge-scale-") as folder:
        tune(
            task,
            ASHA(task.space, max_units=27, max_trials=trials),
            seed=0,
            engine=InstantEngine(task=task, seed_of=Streams(0).trial_seed, workers=workers),
            study=Path(folder) / "kept" if kept else None,
            callbacks=[note],
            progress=False,
        )
    wall = time.perf_counter() - wall
    part = max(1, len(used) // 10)
    return {
        "trials": trials,
        "workers": workers,
        "kept": kept,
        "reports": len(used),
        "ms_per_report": 1e3 * (used[-1] - begun) / len(used),
        "ms_per_report_first_tenth": 1e3 * (used[part - 1] - begun) / part,
        "ms_per_report_last_tenth": 1e3 * (used[-1] - used[-1 - part]) / part,
        "wall_ms_per_report": 1e3 * wall / len(used),
    }

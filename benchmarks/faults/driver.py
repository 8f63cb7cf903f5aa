"""A study on real workers, as a command that can be killed and started again.

python -m benchmarks.faults.driver FOLDER --engine processes [--address HOST:PORT] ...
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.task import Paced
from hypernudge.engine.workers.engine import WorkerEngine
from hypernudge.schedulers.asha import ASHA
from hypernudge.tuner import tune

UNITS = 9  # of the longest training
HEARTBEAT = 2.0  # seconds


def scheduler(trials: int) -> ASHA:
    """Return the scheduler of every study here."""
    return ASHA(Paced.space, max_units=UNITS, max_trials=trials)


def engine_of(options: argparse.Namespace) -> WorkerEngine:
    """Return the engine that was asked for; it gives no trial up, however often its worker is killed."""
    given: dict[str, Any] = {
        "workers": options.workers,
        "retries": 1000,
        "heartbeat_timeout": HEARTBEAT,
    }
    if options.engine == "ray":
        from hypernudge.engine.workers.ray import RayEngine

        return RayEngine(address=options.address, **given)
    from hypernudge.engine.workers.processes import ProcessEngine

    return ProcessEngine(**given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns 0 when the study is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", choices=("processes", "ray"), default="processes")
    parser.add_argument("--address", help="of a cluster of Ray")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--pace", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    study = tune(
        Paced(options.folder, options.pace),
        scheduler(options.trials),
        seed=options.seed,
        engine=engine_of(options),
        study=options.folder / "kept",
        progress=False,
    )
    return 0 if study.ended == "scheduler" else 1


if __name__ == "__main__":
    sys.exit(main())

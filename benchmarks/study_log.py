"""What keeping a study on disk costs: seconds of a study with and without a folder, in turn.

    python -m benchmarks.study_log [--json] [--units 20000] [--rounds 5] [--engine serial]

The task is an MLP on the digits (10 steps of 128 a unit), ASHA decides, four workers; the process before and
after is the same, and the study's folder is removed after each round. Of each round the two are neighbours in
time, in changing order; medians are reported, of the wall and of the processor. On a machine whose speed
changes by some per cent between neighbours they say little about one per cent: `in_events` is the wall time
from an event to the next question, files and syncs included, over that of the rest of the study, with a
folder less without one. `in_log` is the part of it that writes events.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from hypernudge.harness.cells.provenance import provenance
from hypernudge.schedulers.asha import ASHA
from hypernudge.study.session import Session
from hypernudge.study.store import FILE, Store
from hypernudge.tasks.builtin import digits_mlp
from hypernudge.tuner import tune


def measure(units: int, rounds: int, engine: str) -> dict[str, Any]:
    """Return medians of seconds without and with a folder, and what the folder held."""
    torch.set_num_threads(1)
    task = digits_mlp()
    middle = task.unit_flops(task.space.decode([0.5] * len(task.space)))
    budget = units * middle / 4
    seconds: dict[bool, list[float]] = {False: [], True: []}
    processor: dict[bool, list[float]] = {False: [], True: []}
    writing: list[float] = []
    events: dict[bool, list[float]] = {False: [], True: []}
    trained, size, reports = 0, 0, 0

    def run(kept: bool, of: float) -> None:
        nonlocal trained, size, reports
        folder = Path(tempfile.mkdtemp(prefix="study-log-"))
        spent = {"log": 0.0, "events": 0.0}

        def timed(key: str, honest: Any) -> Any:
            def call(*given: Any) -> Any:
                entered = time.perf_counter()
                try:
                    return honest(*given)
                finally:
                    spent[key] += time.perf_counter() - entered

            return call

        append, note, end = (
            timed("log", Store.append),
            timed("events", Session.note),
            timed("events", Session.end),
        )
        begun, used = time.perf_counter(), time.process_time()
        with (
            mock.patch.object(Store, "append", append),
            mock.patch.object(Session, "note", note),
            mock.patch.object(Session, "end", end),
        ):
            study = tune(
                task,
                ASHA(task.space, max_units=27),
                seed=0,
                budget=of,
                workers=4,
                flops_per_second=1.0,
                engine=engine,
                study=folder / "study" if kept else None,
                progress=False,
            )
        seconds[kept].append(time.perf_counter() - begun)
        processor[kept].append(time.process_time() - used)
        events[kept].append(spent["events"] / (seconds[kept][-1] - spent["events"]))
        if kept:
            writing.append(spent["log"] / seconds[kept][-1])
        trained, reports = sum(len(trial.units) for trial in study.trials), len(study.reports)
        if kept:
            size = (folder / "study" / FILE).stat().st_size
        shutil.rmtree(folder)

    run(True, budget / 50)  # to warm up
    for measured in (seconds[True], processor[True], events[True], writing):
        measured.clear()
    for number in range(rounds):
        for kept in (False, True) if number % 2 else (True, False):
            run(kept, budget)
    without, with_folder = (statistics.median(seconds[kept]) for kept in (False, True))
    return {
        "engine": engine,
        "units": trained,
        "reports": reports,
        "bytes": size,
        "seconds_without": without,
        "seconds_with": with_folder,
        "more": with_folder / without - 1.0,
        "processor_more": statistics.median(processor[True]) / statistics.median(processor[False]) - 1.0,
        "in_events": statistics.median(events[True]) - statistics.median(events[False]),
        "in_log": statistics.median(writing),
        "rounds": {"without": seconds[False], "with": seconds[True]},
        "processor": {"without": processor[False], "with": processor[True]},
    }


def main() -> int:
    """Print the result; the last line is JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", choices=("serial", "population"), default="serial")
    options = parser.parse_args()
    found = measure(options.units, options.rounds, options.engine)
    sys.stdout.write(
        f"{found['units']} units: {found['seconds_without']:.1f} s without a folder, "
        f"{found['seconds_with']:.1f} s with one: {100 * found['more']:+.2f} % "
        f"(processor {100 * found['processor_more']:+.2f} %, at events {100 * found['in_events']:+.2f} %, "
        f"of which writing {100 * found['in_log']:.2f} %)\n"
    )
    if options.json:
        sys.stdout.write(json.dumps({**found, **provenance()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How a study grows: with workers, with trials, and with the length of a unit.

    python -m benchmarks.scale [--json] [--quick] [--only real driver warm_start ray paper] [--output FILE]

real        share of worker time spent training, on 1, 8 and 64 processes, with units of 1 s and 10 s: trials
            of one unit, so that every unit is a decision and a report; starting is told apart
driver      milliseconds of the driver's processor per report, up to 10,000 trials
warm_start  when the first trials start, and the memory of all workers, where one of them measures first
ray         the same as `real` on actors of Ray, 1 and 8
paper       512 workers and up to a million trials on the virtual clock (100,000 with --quick)

With `--output` every row is kept once it is measured: the same command goes on after the last one.

The last line is `{"utilisation": {"1": {"1": .., "10": ..}, "8": {..}, "64": {..}}, ..}`: workers, then
seconds of a unit.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.parts import Parts
from benchmarks.scale import driver, real
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.provenance import provenance

PARTS = ("real", "driver", "warm_start", "ray", "paper")
WORKERS, SECONDS = (1, 8, 64), (1, 10)
ROUNDS = {True: {1: 5, 10: 1}, False: {1: 20, 10: 6}}  # by --quick and seconds


def measure_real(parts: Parts, kind: str, workers: Sequence[int], quick: bool) -> dict[str, Any]:
    """Return what each number of workers and length of a unit gave."""
    found: dict[str, Any] = {}
    for count in workers:
        for seconds in SECONDS:
            measure = partial(real.utilisation, kind, count, seconds, ROUNDS[quick][seconds])
            row = parts.of(f"{kind}, {count} workers, {seconds} s", measure)
            found.setdefault(str(count), {})[str(seconds)] = row
            share = f"{row['utilisation']:.4f}"
            sys.stderr.write(f"{kind}, {count} workers, {seconds} s: {share}\n")
    return found


def measure_paper(parts: Parts, quick: bool) -> list[dict[str, Any]]:
    """Return what larger and larger studies take."""
    sizes = [(1_000, 64), (10_000, 512), (100_000, 512), *([] if quick else [(1_000_000, 512)])]
    rows = []
    for trials, workers in sizes:
        rows.append(parts.of(f"paper, {trials} trials", partial(simulated, trials, workers)))
        sys.stderr.write(f"{trials} trials on paper: {rows[-1]['ms_per_report']:.3f} ms a report\n")
    return rows


def simulated(trials: int, workers: int) -> Any:
    """Return what a study on paper takes, in a process of its own: memory is a peak."""
    code = (
        "import json; from benchmarks.scale.on_paper import simulated; "
        f"print(json.dumps(simulated({trials}, {workers})))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and a tenth of the trials")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts (default: all)")
    parser.add_argument("--json", action="store_true", help="two lines of JSON: all numbers, the summary")
    parser.add_argument("--output", type=Path, help="file of rows that were measured (JSON)")
    options = parser.parse_args(arguments)
    try:
        parts = Parts(options.output, {"benchmark": "scale", "quick": options.quick})
    except InvalidArgumentError as error:
        parser.error(str(error))
    about: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.scale", *(arguments or sys.argv[1:])]),
    }
    summary: dict[str, Any] = {}
    if "real" in options.only:
        about["real"] = measure_real(parts, "processes", WORKERS, options.quick)
        measure = partial(real.decisions, "processes", 8, 200 if options.quick else 1000)
        about["decisions"] = parts.of("decisions", measure)
        summary["utilisation"] = {
            workers: {seconds: round(row["utilisation"], 4) for seconds, row in rows.items()}
            for workers, rows in about["real"].items()
        }
        summary["reports_per_second"] = round(about["decisions"]["reports_per_second"], 1)
        summary["bytes_per_report"] = round(about["real"]["64"]["1"]["bytes_per_report"])
    if "driver" in options.only:
        about["driver"] = [
            parts.of(f"driver, {trials} trials, kept: {kept}", partial(driver.cost, trials, 64, kept))
            for kept in (False, True)
            for trials in (100, 1_000, 10_000)
        ]
        summary["driver_ms_per_report"] = round(about["driver"][-1]["ms_per_report"], 3)
        summary["driver_ms_per_report_at_the_end"] = round(about["driver"][-1]["ms_per_report_last_tenth"], 3)
    if "warm_start" in options.only:
        about["warm_start"] = {
            str(count): parts.of(f"warm_start, {count} workers", partial(real.warm_start, count))
            for count in WORKERS
        }
        summary["first_trial_started"] = {
            workers: round(row["first_trial_started"], 2) for workers, row in about["warm_start"].items()
        }
    if "ray" in options.only and importlib.util.find_spec("ray") is not None:
        about["ray"] = measure_real(parts, "ray", (1, 8), options.quick)
        summary["ray"] = {
            workers: {seconds: round(row["utilisation"], 4) for seconds, row in rows.items()}
            for workers, rows in about["ray"].items()
        }
        summary["ray_startup_seconds"] = round(about["ray"]["8"]["1"]["startup_seconds"], 1)
    if "paper" in options.only:
        about["paper"] = measure_paper(parts, options.quick)
        summary["paper"] = {
            str(row["trials"]): {name: round(row[name], 3) for name in ("ms_per_report", "utilisation")}
            for row in about["paper"]
        }
    about |= {"begun": parts.begun, "provenance": provenance()}
    sys.stdout.write(json.dumps(about, indent=None if options.json else 1) + "\n")
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

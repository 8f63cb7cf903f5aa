"""How a study grows: with workers, with trials, and with the length of a unit.

    python -m benchmarks.scale [--json] [--quick] [--only real driver warm_start ray paper]

real        share of worker time spent training, on 1, 8 and 64 processes, with units of 1 s and 10 s: trials
            of one unit, so that every unit is a decision and a report; starting is told apart
driver      milliseconds of the driver's processor per report, up to 10,000 trials
warm_start  when the first trials start, and the memory of all workers, where one of them measures first
ray         the same as `real` on actors of Ray, 1 and 8
paper       512 workers and up to a million trials on the virtual clock (100,000 with --quick)

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
from datetime import UTC, datetime
from typing import Any

from benchmarks.scale import driver, real
from hypernudge.harness.cells.provenance import provenance

PARTS = ("real", "driver", "warm_start", "ray", "paper")
WORKERS, SECONDS = (1, 8, 64), (1, 10)
ROUNDS = {True: {1: 5, 10: 1}, False: {1: 20, 10: 6}}  # by --quick and seconds


def measure_real(kind: str, workers: Sequence[int], quick: bool) -> dict[str, Any]:
    """Return what each number of workers and length of a unit gave."""
    found: dict[str, Any] = {}
    for count in workers:
        for seconds in SECONDS:
            row = real.utilisation(kind, count, seconds, ROUNDS[quick][seconds])
            found.setdefault(str(count), {})[str(seconds)] = row
            share = f"{row['utilisation']:.4f}"
            sys.stderr.write(f"{kind}, {count} workers, {seconds} s: {share}\n")
    return found


def measure_paper(quick: bool) -> list[dict[str, Any]]:
    """Return what larger and larger studies take, each in a process of its own: memory is a peak."""
    sizes = [(1_000, 64), (10_000, 512), (100_000, 512), *([] if quick else [(1_000_000, 512)])]
    rows = []
    for trials, workers in sizes:
        code = (
            "import json; from benchmarks.scale.on_paper import simulated; "
            f"print(json.dumps(simulated({trials}, {workers})))"
        )
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        sys.stderr.write(f"{trials} trials on paper: {rows[-1]['ms_per_report']:.3f} ms a report\n")
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and a tenth of the trials")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts (default: all)")
    parser.add_argument("--json", action="store_true", help="two lines of JSON: all numbers, the summary")
    options = parser.parse_args(arguments)
    about: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks.scale", *(arguments or sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    summary: dict[str, Any] = {}
    if "real" in options.only:
        about["real"] = measure_real("processes", WORKERS, options.quick)
        about["decisions"] = real.decisions("processes", 8, 200 if options.quick else 1000)
        summary["utilisation"] = {
            workers: {seconds: round(row["utilisation"], 4) for seconds, row in rows.items()}
            for workers, rows in about["real"].items()
        }
        summary["reports_per_second"] = round(about["decisions"]["reports_per_second"], 1)
        summary["bytes_per_report"] = round(about["real"]["64"]["1"]["bytes_per_report"])
    if "driver" in options.only:
        sizes = (100, 1_000, 10_000)
        about["driver"] = [driver.cost(trials, 64, kept) for kept in (False, True) for trials in sizes]
        summary["driver_ms_per_report"] = round(about["driver"][-1]["ms_per_report"], 3)
        summary["driver_ms_per_report_at_the_end"] = round(about["driver"][-1]["ms_per_report_last_tenth"], 3)
    if "warm_start" in options.only:
        about["warm_start"] = {str(count): real.warm_start(count) for count in WORKERS}
    if "ray" in options.only and importlib.util.find_spec("ray") is not None:
        about["ray"] = measure_real("ray", (1, 8), options.quick)
        summary["ray"] = {
            workers: {seconds: round(row["utilisation"], 4) for seconds, row in rows.items()}
            for workers, rows in about["ray"].items()
        }
        summary["ray_startup_seconds"] = round(about["ray"]["8"]["1"]["startup_seconds"], 1)
    if "paper" in options.only:
        about["paper"] = measure_paper(options.quick)
        summary["paper"] = {
            str(row["trials"]): {name: round(row[name], 3) for name in ("ms_per_report", "utilisation")}
            for row in about["paper"]
        }
    about["provenance"] = provenance()
    sys.stdout.write(json.dumps(about, indent=None if options.json else 1) + "\n")
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""ASHA on 64 configurations of a small MLP, 1 to 27 epochs: hypernudge beside other libraries.

    python -m benchmarks.libraries [--json] [--tools hypernudge optuna ...] [--workers 4 16] [--repeats 3]
        [--python-for neps=neps/bin/python]

Every run is a process of its own, with the interpreter that `--python-for` names; a library that this
environment lacks is otherwise fetched into an isolated one with `uv run --with`. The job is timed inside the
process, after the imports of the libraries that do the tuning; what they start later (workers, one process
for each trial) counts. Runs are interleaved, medians reported.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.harness.cells.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    from benchmarks.libraries.tools import TOOLS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument("--workers", nargs="+", type=int, default=[4])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one run")
    parser.add_argument(
        "--python-for", metavar="TOOL=PATH", action="append", default=[], help="another environment's Python"
    )
    parser.add_argument("--run", choices=list(TOOLS), help="one run in this process")
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run(options.run, options.workers[0])))
        return 0
    pythons = dict(item.partition("=")[::2] for item in options.python_for)
    for tool, path in pythons.items():
        ok = tool in TOOLS and Path(path).is_file()
        require(
            ok, "--python-for", "must be TOOL=PATH to a Python", f"{tool}={path}", f"tools: {list(TOOLS)}"
        )
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(options.repeats):
        for workers in options.workers:
            for tool in options.tools:
                result = in_a_process(tool, workers, options.limit, pythons.get(tool))
                found.setdefault(f"{tool}, {workers} workers", []).append(result)
                print(f"{tool}, {workers} workers: {result}", flush=True)
    rows = {name: summary(results) for name, results in found.items()}
    for name, row in rows.items():
        print(f"{name}: {row}")
    if options.json:
        date = datetime.now(UTC).isoformat(timespec="minutes")
        print(json.dumps({"runs": rows, "repeats": options.repeats, "date": date, **provenance()}))
    return 0


def run(tool: str, workers: int) -> dict[str, Any]:
    """Do the job with `tool` in this process."""
    from benchmarks.libraries.job import task
    from benchmarks.libraries.tools import NEEDS, TOOLS

    if tool in NEEDS:
        importlib.import_module(NEEDS[tool][0])
    if tool == "ray":
        importlib.import_module("ray.tune")
    task()
    begun = time.perf_counter()
    trials, best = TOOLS[tool](workers)
    return {"seconds": time.perf_counter() - begun, "trials": trials, "best": best}


def in_a_process(tool: str, workers: int, limit: float, python: str | None) -> dict[str, Any]:
    """Return what `run` returns, or why there is nothing."""
    from benchmarks.libraries.tools import NEEDS

    arguments = ["-m", "benchmarks.libraries", "--run", tool, "--workers", str(workers)]
    command = [python or sys.executable, *arguments]
    if python is None and tool in NEEDS and importlib.util.find_spec(NEEDS[tool][0]) is None:
        uv = shutil.which("uv")
        if uv is None:
            return {"error": f"neither {NEEDS[tool][0]} nor uv is installed"}
        command = [uv, "run", "-q", "--extra", "harness", "--with", NEEDS[tool][1], "python", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {limit:g} s"}
    if done.returncode != 0:
        return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians, or the error if any run failed."""
    for result in results:
        if "error" in result:
            return result
    seconds = statistics.median(result["seconds"] for result in results)
    trials = statistics.median(result["trials"] for result in results)
    return {
        "seconds": seconds,
        "trials": trials,
        "trials_per_second": trials / seconds,
        "best_validation": statistics.median(result["best"] for result in results),
    }


if __name__ == "__main__":
    sys.exit(main())

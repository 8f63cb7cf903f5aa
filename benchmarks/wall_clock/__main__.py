"""ResNet-20 on CIFAR-10 images, two real workers, seconds of the wall to a target: four ways to tune it.

    HYPERNUDGE_DATA=... python -m benchmarks.wall_clock [--json] [--pairs 6] [--seconds 600] [--target .45]

`hypernudge` is ASHA on two processes, `informed` the same with that warm start, `ray_tune` Ray Tune's own
ASHA with random search, `optuna` random search with the successive-halving pruner, in two processes. All
train with one function, which writes every score and when it was known; every tool is a process of its own
and has the same seconds. The clock begins when the tool is called, after imports and data: what it starts
later counts. Tools take turns within each seed, in changing order. A tool that does not get there counts with
all its seconds. `--tiny` is a try of the script.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypernudge.harness.cells.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("hypernudge", "informed", "ray_tune", "optuna")


def run(tool: str, name: str, seed: int, seconds: float, folder: Path) -> list[tuple[float, float]]:
    """Run a tool in this process; return seconds and score of every unit."""
    from benchmarks.wall_clock.tools import TOOLS
    from benchmarks.wall_clock.training import scores, task_of

    if tool in ("ray_tune", "optuna"):
        __import__({"ray_tune": "ray.tune", "optuna": "optuna"}[tool])
    task_of(name).start(0)
    begun = time.time()
    TOOLS[tool](name, seed, seconds, folder)
    return [(at, score) for at, score in scores(folder, begun) if at <= seconds]


def in_a_process(tool: str, name: str, seed: int, seconds: float) -> list[tuple[float, float]]:
    """Run a tool in a process of its own."""
    given = [tool, name, str(seed), str(seconds)]
    with tempfile.TemporaryDirectory(prefix="hypernudge-wall-clock-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.wall_clock", "--run", *given, folder],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return [(float(at), float(score)) for at, score in json.loads(done.stdout.splitlines()[-1])]


def reached(curve: Sequence[tuple[float, float]], target: float, seconds: float) -> float:
    """Return the seconds after which the target was reached; all of them where it was not."""
    return next((at for at, score in curve if score >= target), seconds)


def summary(curves: dict[str, list[list[tuple[float, float]]]], target: float, seconds: float) -> Any:
    """Return what each tool took to the target, by seed; and its best scores and units."""
    found = {}
    for tool, its in curves.items():
        times = [reached(curve, target, seconds) for curve in its]
        best = [max((score for _, score in curve), default=None) for curve in its]
        known = [score for score in best if score is not None]
        found[tool] = {
            "median_seconds_to_target": statistics.median(times),
            "reached": sum(at < seconds for at in times),
            "seconds_to_target": times,
            "median_best": statistics.median(known) if known else None,
            "best": best,
            "units": [len(curve) for curve in its],
            "first_score_after": [curve[0][0] if curve else None for curve in its],
        }
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=6, help="seeds, each with every tool (default 6)")
    parser.add_argument("--seconds", type=float, default=600.0, help="of each study (default 600)")
    parser.add_argument("--target", type=float, default=0.45, help="validation accuracy (default .45)")
    parser.add_argument("--tools", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--tiny", action="store_true", help="a network and data of no interest")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--run", nargs=5, metavar="ARGUMENT", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        tool, name, seed, seconds, folder = options.run
        curve = run(tool, name, int(seed), float(seconds), Path(folder))
        sys.stdout.write(json.dumps(curve) + "\n")
        return 0
    name = "tiny" if options.tiny else "resnet"
    curves: dict[str, list[list[tuple[float, float]]]] = {tool: [] for tool in options.tools}
    for seed in range(options.pairs):
        turn = seed % len(options.tools)
        for tool in (*options.tools[turn:], *options.tools[:turn]):
            curves[tool].append(in_a_process(tool, name, seed, options.seconds))
            at = reached(curves[tool][-1], options.target, options.seconds)
            sys.stderr.write(f"seed {seed}, {tool}: {at:.1f} s, {len(curves[tool][-1])} units\n")
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.wall_clock", *(arguments or sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "task": name,
        "target": options.target,
        "seconds": options.seconds,
        "pairs": options.pairs,
        "tools": summary(curves, options.target, options.seconds),
        "provenance": provenance(),
    }
    sys.stdout.write(json.dumps(result, indent=None if options.json else 1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

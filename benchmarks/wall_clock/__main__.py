"""ResNet-20 on CIFAR-10 images, two real workers, seconds of the wall to a target: four ways to tune it.

    HYPERNUDGE_DATA=... python -m benchmarks.wall_clock --output FILE [--json] [--pairs 6] [--seconds 45]

`hypernudge` is ASHA on two processes, `informed` the same with that warm start, `ray_tune` Ray Tune's own
ASHA with random search, `optuna` random search with the successive-halving pruner, in two processes. All
train with one function, which writes every score and when it was known; every tool is a process of its own
and has the same seconds. The clock begins when the tool is called, after imports and data: what it starts
later counts, and is shown as `first_score_after`. Tools take turns within each seed, in changing order. A
tool that does not get there counts with all its seconds.

The target is declared by a pilot on other seeds: what plain ASHA has reached there after three fifths of its
seconds, the lower of two. Every run is kept in FILE when it is done, so the same command goes on after the
last one. With the usual options 26 runs take about 25 minutes of two cores. `--quick` tries the script.
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.parts import Parts
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.harness.cells.provenance import provenance

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("hypernudge", "informed", "ray_tune", "optuna")
PILOT = (1000, 1001)  # seeds
SHARE = 0.6  # of the seconds, after which the pilot's score is the target
Curve = Sequence[tuple[float, float]]


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


def reached(curve: Curve, target: float, seconds: float) -> float:
    """Return the seconds after which the target was reached; all of them where it was not."""
    return next((at for at, score in curve if score >= target), seconds)


def target_of(pilot: Sequence[Curve], seconds: float) -> float:
    """Return the target that a pilot declares."""
    return min(max((score for at, score in curve if at <= SHARE * seconds), default=0.0) for curve in pilot)


def summary(curves: dict[str, list[Curve]], target: float, seconds: float) -> dict[str, Any]:
    """Return what each tool took to the target, by seed; and its best scores and units."""
    found = {}
    for tool, its in curves.items():
        times = [reached(curve, target, seconds) for curve in its]
        best = [max((score for _, score in curve), default=None) for curve in its]
        known = [score for score in best if score is not None]
        first = [curve[0][0] if curve else seconds for curve in its]
        found[tool] = {
            "median_seconds_to_target": statistics.median(times),
            "reached": sum(at < seconds for at in times),
            "seconds_to_target": times,
            "median_first_score_after": statistics.median(first),
            "first_score_after": first,
            "median_seconds_from_first_score_to_target": statistics.median(
                at - start for at, start in zip(times, first, strict=True)
            ),
            "median_best": statistics.median(known) if known else None,
            "best": best,
            "units": [len(curve) for curve in its],
        }
    return found


def ratios_of(tools: dict[str, Any]) -> dict[str, list[float]]:
    """Return, for every tool, the geometric mean of its times over plain ASHA's, and its 95 % limits.

    Seeds are pairs; Student's interval of the mean logarithm. A miss stands for all of its seconds.
    """
    found = {}
    plain = np.log(tools["hypernudge"]["seconds_to_target"])
    for tool, row in tools.items():
        if tool != "hypernudge":
            interval = mean_interval(np.log(row["seconds_to_target"]) - plain, 0.95)
            found[tool] = [float(np.exp(value)) for value in (interval.estimate, interval.low, interval.high)]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, help="seeds, each with every tool (default 6; 1 with --quick)")
    parser.add_argument("--seconds", type=float, help="of each study (default 45; 10 with --quick)")
    parser.add_argument("--tools", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--quick", action="store_true", help="a network and data of no interest")
    parser.add_argument("--output", type=Path, help="file of the runs that were made (JSON)")
    parser.add_argument("--json", action="store_true", help="two lines of JSON: all numbers, the medians")
    parser.add_argument("--run", nargs=5, metavar="ARGUMENT", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        tool, name, seed, seconds, folder = options.run
        curve = run(tool, name, int(seed), float(seconds), Path(folder))
        sys.stdout.write(json.dumps(curve) + "\n")
        return 0
    name = "tiny" if options.quick else "resnet"
    pairs = options.pairs or (1 if options.quick else 6)
    seconds = options.seconds or (10.0 if options.quick else 45.0)
    try:
        parts = Parts(options.output, {"benchmark": "wall_clock", "task": name, "seconds": seconds})
    except InvalidArgumentError as error:
        parser.error(str(error))

    def curve_of(tool: str, seed: int) -> Curve:
        found: Curve = parts.of(f"seed {seed}, {tool}", partial(in_a_process, tool, name, seed, seconds))
        return found

    target = target_of([curve_of("hypernudge", seed) for seed in PILOT], seconds)
    sys.stderr.write(f"target, by the pilot: {target:.4f}\n")
    curves: dict[str, list[Curve]] = {tool: [] for tool in options.tools}
    for seed in range(pairs):
        turn = seed % len(options.tools)
        for tool in (*options.tools[turn:], *options.tools[:turn]):
            curves[tool].append(curve_of(tool, seed))
            at = reached(curves[tool][-1], target, seconds)
            sys.stderr.write(f"seed {seed}, {tool}: {at:.1f} s, {len(curves[tool][-1])} units\n")
    tools = summary(curves, target, seconds)
    ratios = ratios_of(tools) if "hypernudge" in tools and pairs > 1 else {}
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.wall_clock", *(arguments or sys.argv[1:])]),
        "begun": parts.begun,
        "task": name,
        "target": target,
        "seconds": seconds,
        "pairs": pairs,
        "tools": tools,
        "ratios_over_hypernudge": ratios,
        "provenance": provenance(),
    }
    medians = {tool: round(row["median_seconds_to_target"], 1) for tool, row in tools.items()}
    sys.stdout.write(json.dumps(result, indent=None if options.json else 1) + "\n")
    sys.stdout.write(json.dumps({"target": round(target, 4), "median_seconds_to_target": medians}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

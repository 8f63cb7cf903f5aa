"""What measuring and choosing take of a cell's time, with `informed`.

    python -m benchmarks.warm_start_fee [--json] [--quick] [--cases population serial resnet20 lm]

Cells as the harness runs them, each case in a process of its own, without and with the warm start in turn.
The last line of the output is one JSON object: `{"wall_fee": {"population": .., "serial": .., ..}, ..}`, the
share of a cell's seconds by the runner's own clock, the median over seeds; the first cell of a process, which
pays for whatever is done once, is one of them. By case there are besides: the same by processor time, what a
pair of cells differs by, milliseconds of choosing, and the probe over the training steps it is counted as.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {"population": 0.03, "population_together": 0.03, "serial": 0.01, "resnet20": 0.01, "lm": 0.01}
CHOOSING_MS, PROBE_OVER_STEPS = 0.5, 1.5
ROUNDS = {"population": 7, "population_together": 3, "serial": 5, "resnet20": 2, "lm": 2}


def measured(case: str, rounds: int) -> dict[str, Any]:
    """Return what a case takes, measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.warm_start_fee.measure", case, str(rounds)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(cases: dict[str, dict[str, Any]]) -> str:
    """Return it for people."""
    head = (
        "| | share | limit | processor | first cell | pairs | choosing [ms] | probe [ms] | over its steps "
        "| made again |"
    )
    lines = [head, "|---" * 10 + "|"]
    for name, case in cases.items():
        shares = (case["share"], LIMITS[name], case["processor_share"], case["first_share"], case["pairs"])
        numbers = [
            case[of] for of in ("choosing_ms", "probe_ms", "probe_over_steps", "probe_again_over_steps")
        ]
        shown = [*(f"{100 * share:.2f} %" for share in shares), *(f"{number:.2f}" for number in numbers)]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=LIMITS, default=list(LIMITS))
    parser.add_argument("--quick", action="store_true", help="one pair of cells of each case")
    parser.add_argument("--json", action="store_true", help="nothing but the JSON on stdout")
    options = parser.parse_args(arguments)
    cases = {}
    for case in options.cases:
        cases[case] = measured(case, 1 if options.quick else ROUNDS[case])
        sys.stderr.write(f"{case}: {100 * cases[case]['share']:.2f} % of a cell's seconds\n")
    if not options.json:
        sys.stdout.write(table(cases) + "\n")
    from hypernudge.harness.cells.provenance import provenance

    result = {
        "wall_fee": {name: case["share"] for name, case in cases.items()},
        "limits": {name: LIMITS[name] for name in cases},
        "choosing_ms": statistics.median(case["choosing_ms"] for case in cases.values()),
        "cases": cases,
        "command": shlex.join(["python", "-m", "benchmarks.warm_start_fee", *(arguments or sys.argv[1:])]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "provenance": provenance(),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

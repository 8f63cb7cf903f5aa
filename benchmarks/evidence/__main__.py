"""Run with `uv run python -m benchmarks.evidence --json`; `--quick` takes a tenth of the studies."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from benchmarks.evidence import speed, truth


def main() -> int:
    """Simulate, time, print; the last line holds the summary and what failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("--studies", type=int, default=4000, help="simulated studies per setting")
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies, and of the rows")
    parser.add_argument("--json", action="store_true", help="JSON lines only")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    studies = options.studies // 10 if options.quick else options.studies
    begun = time.perf_counter()

    def show(name: str, value: Any) -> Any:
        seconds = round(time.perf_counter() - begun, 1)
        line = {"event": name, "studies": studies, "elapsed_seconds": seconds, "value": value}
        print(
            json.dumps(line) if options.json else f"{name} after {seconds} s: {json.dumps(value, indent=1)}"
        )
        sys.stdout.flush()
        return value

    rows = show("speed", speed.million_rows(10 if options.quick else 100))
    type_1 = show("type_1_error", truth.type_1_error(studies, options.seed))
    covered = show("coverage", truth.coverage(studies, options.seed))
    aggregate = show("aggregate_coverage", truth.aggregate_coverage(studies, options.seed))
    family = show("family_wise_error", truth.family_wise_error(studies, options.seed))
    powers = show("power", truth.power(studies // 4, options.seed))
    covered["aggregate"] = aggregate["aggregate"]
    low, high = truth.COVERAGE_LIMITS
    outside = [
        *(
            f"type 1 error of {test} at {world}: {share:.4f}"
            for world, shares in type_1.items()
            for test, share in shares.items()
            if share > truth.TYPE_1_LIMIT
        ),
        *(
            f"coverage of {name} at {world}: {share:.4f}"
            for world, shares in covered.items()
            for name, share in shares.items()
            if not low <= share <= high
        ),
        *(f"family-wise error, {name}: {x:.4f}" for name, x in family.items() if x > truth.TYPE_1_LIMIT),
    ]
    print(
        json.dumps(
            {
                "type_1_error": type_1,
                "coverage": covered,
                "family_wise_error": max(family.values()),
                "power": powers,
                "speed": rows,
                "outside": outside,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

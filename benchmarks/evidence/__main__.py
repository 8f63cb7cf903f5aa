"""Run with `uv run python -m benchmarks.evidence --json`; `--quick` takes a twentieth of the studies.

`python -m benchmarks.evidence.published` judges the published comparisons by the old and the new rule.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.evidence import noninferiority, speed, truth
from hypernudge.harness.cells.provenance import provenance

STUDIES = 20_000
"""The promise is about 4,000 studies. Type I errors are counted in five times as many, coverage and the
family-wise error in half of that, so that they are not judged by the simulation's own error."""

Summary = dict[str, Any]


def main() -> int:
    """Simulate, time, print; the last line holds the summary and what failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence", description=__doc__)
    parser.add_argument("--studies", type=int, default=STUDIES, help="simulated studies per setting")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the studies, a tenth of rows")
    parser.add_argument("--json", action="store_true", help="JSON lines only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="worlds that are simulated at a time")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the summary, with provenance")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--skip-speed", action="store_true", help="no million rows")
    which.add_argument("--only-speed", action="store_true", help="the million rows alone")
    which.add_argument(
        "--only-noninferiority", action="store_true", help="the rule for the final score alone"
    )
    options = parser.parse_args()
    studies = max(100, options.studies // 20) if options.quick else options.studies
    summary: Summary = {}
    begun = time.perf_counter()
    for name, value in _measure(options, studies):
        seconds = round(time.perf_counter() - begun, 1)
        line = {"event": name, "studies": studies, "elapsed_seconds": seconds, "value": value}
        print(
            json.dumps(line) if options.json else f"{name} after {seconds} s: {json.dumps(value, indent=1)}"
        )
        sys.stdout.flush()
        summary[name] = value
    part = options.only_speed or options.only_noninferiority
    last = summary if part else _last_line(summary)
    if options.output is not None:
        source = {
            "command": shlex.join(["uv", "run", "python", "-m", "benchmarks.evidence", *sys.argv[1:]]),
            "studies": studies,
            "seed": options.seed,
            "seconds": round(time.perf_counter() - begun, 1),
            "date": datetime.now(UTC).date().isoformat(),
            **provenance(),
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps({"source": source, "summary": last}, indent=1) + "\n")
    print(json.dumps(last))
    return 0


def _measure(options: argparse.Namespace, studies: int) -> Iterator[tuple[str, Any]]:
    if not options.skip_speed and not options.only_noninferiority:
        yield "speed", speed.million_rows(10 if options.quick else 100)
    if options.only_speed:
        return
    with ProcessPoolExecutor(options.processes) as pool:
        yield "noninferiority", noninferiority.everything(studies // 5, options.seed, pool.map)
        if options.only_noninferiority:
            return
        yield "type_1_error", truth.type_1_error(studies, options.seed, pool.map)
        yield "coverage", truth.coverage(studies // 2, options.seed, pool.map)
        yield "aggregate_coverage", truth.aggregate_coverage(studies // 5, options.seed, pool.map)
        yield "share_coverage", truth.share_coverage()
        yield "family_wise_error", truth.family_wise_error(studies // 2, options.seed, pool.map)
        yield "power", truth.power(studies // 20, options.seed, pool.map)


def _last_line(summary: Mapping[str, Any]) -> Summary:
    type_1, family = summary["type_1_error"], summary["family_wise_error"]
    covered = {**summary["coverage"], "aggregate": summary["aggregate_coverage"]["aggregate"]}
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
        *(
            f"coverage of the share of settings, {setting}: {share:.4f}"
            for setting, share in summary["share_coverage"].items()
            if not low <= share <= high
        ),
        *(f"family-wise error, {name}: {x:.4f}" for name, x in family.items() if x > truth.TYPE_1_LIMIT),
        *summary["noninferiority"]["outside"],
    ]
    return {
        "type_1_error": type_1,
        "coverage": covered,
        "family_wise_error": max(family.values()),
        "family_wise_errors": family,
        "share_coverage": summary["share_coverage"],
        "percentile_bootstrap_coverage": summary["aggregate_coverage"]["percentile_bootstrap"],
        "power": summary["power"],
        "noninferiority": summary["noninferiority"],
        **({"speed": summary["speed"]} if "speed" in summary else {}),
        "outside": outside,
    }


if __name__ == "__main__":
    sys.exit(main())

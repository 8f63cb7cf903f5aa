"""The fee of this checkout over that of another, their cells in turn: what a change of the code saves.

    git worktree add --detach ../before COMMIT
    python -m benchmarks.warm_start_fee.against ../before [--cases population serial] [--cells 10]

Two processes, one of each checkout, run the same seeds by turns, so that a busy machine is as busy for both;
seconds are the processor's. Printed are medians over cells of the ratios, this checkout's
over the other's, and whether both made the same records, or at least started the same configurations: notes
of a record may differ by rounding. It ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMPARED = ("choosing", "probes", "processor_share")  # seconds of a start, of a probe; share of the cell's
WARM_UP = 90  # the seed of a first cell that does not count


class Checkout:
    """A process that runs cells of one case by the code of one checkout."""

    def __init__(self, root: Path, case: str, cells: int) -> None:
        paths = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, __file__, "worker", case, str(cells)],
            cwd=root,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def cell(self, turn: int) -> dict[str, Any]:
        """Run the cell of a turn, of a case of many all of them."""
        assert self._process.stdin is not None and self._process.stdout is not None  # pipes were asked for
        print(turn, file=self._process.stdin, flush=True)
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def worker(case: str, cells: int) -> None:
    """Run the cell of every turn that stdin names, by whichever checkout comes first in the path."""
    import yaml

    from benchmarks.warm_start_fee.measure import one, records_of
    from benchmarks.warm_start_fee.workloads import CASES, TOGETHER, experiment
    from hypernudge.harness.planning.resolve import load_plan
    from hypernudge.results.digests import digest
    from hypernudge.results.records import cell_path

    size = TOGETHER if case == "population_together" else 1
    with tempfile.TemporaryDirectory(prefix="hypernudge-fee-") as name:
        folder = Path(name)
        path = folder / "experiment.yaml"
        path.write_text(yaml.safe_dump(experiment(case, size * (max(cells, WARM_UP) + 1))))
        variation = load_plan(path, [f"+engine={CASES[case][0]}"])["informed"]
        for line in sys.stdin:
            seeds = [int(line) * size + i for i in range(size)]
            where = folder / "informed"
            found = one(partial(records_of, case, variation, seeds, where))
            kept = [json.loads(cell_path(where, seed).read_text()) for seed in seeds]
            found["digests"] = [record["digest"] for record in kept]
            found["starts"] = [digest([trial["nudged"] for trial in record["trials"]]) for record in kept]
            print(json.dumps(found), flush=True)


def compared(before: Path, case: str, cells: int) -> dict[str, Any]:
    """Return the medians over cells of this checkout's seconds over those of another."""
    both = {root: Checkout(root, case, cells) for root in (before, ROOT)}
    try:
        for of in both.values():
            of.cell(WARM_UP)
        turns = []
        for turn in range(cells):
            roots = [before, ROOT] if turn % 2 == 0 else [ROOT, before]
            turns.append({root: both[root].cell(turn) for root in roots})
    finally:
        for of in both.values():
            of.close()

    def ratio(seconds: str) -> float:
        pairs = [(turn[ROOT][seconds], turn[before][seconds]) for turn in turns]
        return statistics.median(_number(own) / _number(other) for own, other in pairs)

    return {
        "same_records": all(turn[ROOT]["digests"] == turn[before]["digests"] for turn in turns),
        "same_starts": all(turn[ROOT]["starts"] == turn[before]["starts"] for turn in turns),
        **{name: ratio(name) for name in COMPARED},
        "cells": cells,
    }


def _number(found: Any) -> float:
    return statistics.median(found) if isinstance(found, list) else float(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="root of the other checkout")
    parser.add_argument("--cases", nargs="+", default=["population", "serial"])
    parser.add_argument("--cells", type=int, default=10)
    options = parser.parse_args(arguments)
    found = {}
    for case in options.cases:
        found[case] = compared(options.before.resolve(), case, options.cells)
        shown = ", ".join(
            f"{name} {found[case][name]:.2f}" for name in ("choosing", "probes", "processor_share")
        )
        same = "the same starts" if found[case]["same_starts"] else "OTHER STARTS"
        print(f"{case}: {shown}; {'the same records' if found[case]['same_records'] else same}")
    print(json.dumps({"over_before": found}))
    return 0 if all(case["same_starts"] for case in found.values()) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main())

"""Sealed cells in long form, for a verdict over another baseline than the plan's, and the command for it.

    python -m benchmarks.confirmation.long_form RESULTS_DIR --output long.csv

Times are units of training per worker, as in `leaders`, so that tasks share a budget; variations are the
labels of the warm starts.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.sealed import sealed
from hypernudge.errors import require

COLUMNS = ("task", "variation", "seed", "time", "score", "trial")


def rows(directory: Path, targets: dict[str, float], budgets: set[float]) -> Iterator[tuple[Any, ...]]:
    """Yield every scored unit of a results directory, and note each task's target and the budgets.

    Raises:
        ResultsError: The directory holds no plan that can be read.
        DamagedRecordError: A record is not believed.
    """
    for variation, seed, record in sealed(directory):
        per_worker = variation.spec["budget"]["units"] / variation.spec["workers"]
        unit = record["declared"]["budget_seconds"] / per_worker
        targets[variation.task] = record["declared"]["target"]
        budgets.add(per_worker)
        curve = record.get("curve") or {"time": [], "validation": [], "trial": []}
        for time, score, trial in zip(curve["time"], curve["validation"], curve["trial"], strict=True):
            if score is not None:
                yield variation.task, variation.warm_start, seed, time / unit, score, trial


def main() -> int:
    """Command-line entry point; prints the command that compares what is written."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="results directory")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="written anew")
    options = parser.parse_args()
    targets: dict[str, float] = {}
    budgets: set[float] = set()
    with options.output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows(options.directory, targets, budgets))
    require(
        len(budgets) == 1, "directory", "must have cells of one budget", sorted(budgets), "compare by budget"
    )
    said = [f"hypernudge compare {options.output} --baseline A --method B --clock declared --time-unit units"]
    said += [f"--budget {budgets.pop()}", *(f"--target {task}={value}" for task, value in targets.items())]
    sys.stdout.write(" ".join(said) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What warm starts did to the trials of a study: how many they changed, and how many they put at an edge.

python -m benchmarks.games.starts results/games_cartpole [--output starts.json]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.sealed import sealed
from hypernudge.results.files import write_text

Trial = dict[str, Any]


def starts(results: Path) -> dict[str, dict[str, Any]]:
    """Return, for each variation with a warm start, what became of what was sampled.

    `lower_edge` counts the trials that begin at the least value of a hyper-parameter, `rate_factor` is the
    median of what the rate was multiplied by or divided by, and `past_probability` the least, median and
    largest over cells of what the last trial that says so notes.
    """
    found = {}
    for warm_start, cells in _cells(results).items():
        trials = [trial for cell in cells for trial in cell]
        if not trials:
            continue
        factors = [abs(math.log(trial["nudged"]["lr"] / trial["sampled"]["lr"])) for trial in trials]
        past = [said[-1] for cell in cells if (said := _past(cell))]
        found[warm_start] = {
            "cells": len(cells),
            "trials": len(trials),
            "changed": sum(trial["nudged"] != trial["sampled"] for trial in trials),
            "lower_edge": _at_the_edge(trials),
            "rate_factor": math.exp(statistics.median(factors)),
            "past_probability": [min(past), statistics.median(past), max(past)] if past else None,
        }
    return found


def _cells(results: Path) -> dict[str, list[list[Trial]]]:
    """Return the trials of cells, by warm start."""
    found: dict[str, list[list[Trial]]] = {}
    for variation, _, record in sealed(results):
        if variation.warm_start != "none":
            found.setdefault(variation.warm_start, []).append(record["trials"])
    return found


def _past(trials: Sequence[Trial]) -> list[float]:
    said = [(trial["nudge"].get("measurements") or {}).get("past_probability") for trial in trials]
    return [float(value) for value in said if value is not None]


def _at_the_edge(trials: Sequence[Trial]) -> dict[str, int]:
    """Return how many trials begin at the least value that any of them begins at, where that is several."""
    found = {}
    for name, first in trials[0]["nudged"].items():
        if isinstance(first, float):
            values = [float(trial["nudged"][name]) for trial in trials]
            count = sum(math.isclose(value, min(values), rel_tol=1e-9) for value in values)
            if count > 1:
                found[name] = count
    return found


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="results directory of a study")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    text = json.dumps(starts(given.results), indent=1) + "\n"
    if given.output is not None:
        write_text(given.output, text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

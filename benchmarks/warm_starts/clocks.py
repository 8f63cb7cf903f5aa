"""How far times to target depend on what is counted: declared cost, units of training, trials, seconds.

    python -m benchmarks.warm_starts.clocks results/xgboost --methods informed density

Exploratory: the budget of a run is in declared cost, whatever is counted here. A run that misses the target
counts with all it has spent, or with what the other of its pair has, if that is more. Ratios are geometric
means over pairs, then over tasks.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sealed import sealed

CLOCKS = ("declared cost", "units", "trials", "seconds")
Spent = tuple[np.ndarray | None, np.ndarray]
"""By `CLOCKS` until the target, None if it was missed, and in all."""


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="results directory of a study")
    parser.add_argument("--methods", nargs="+", default=["informed"], help="warm starts (default informed)")
    parser.add_argument("--baseline", default="none", help="what they are compared with (default none)")
    options = parser.parse_args()
    sys.stdout.write(table(spent_in(options.results), options.methods, options.baseline))
    return 0


def spent_in(results: Path) -> dict[tuple[str, str, str, int], Spent]:
    """Return what each cell has spent: (task, scheduler, warm start, seed) -> spent."""
    return {
        (*variation.setting, variation.warm_start, seed): _spent(record, variation.target)
        for variation, seed, record in sealed(results)
    }


def _spent(record: Mapping[str, Any], target: float) -> Spent:
    """Return until the target, and in all."""
    curve, seconds = record["curve"], record["wall"]["curve"]["seconds"]
    begun = [len(set(curve["trial"][: place + 1])) for place in range(len(curve["trial"]))]
    at = np.array([curve["time"], range(1, len(begun) + 1), begun, seconds], dtype=float).T
    all_of_it = at[-1] if len(at) else np.full(len(CLOCKS), math.nan)
    reached = [place for place, v in enumerate(curve["validation"]) if v is not None and v >= target]
    return (at[reached[0]] if reached else None), all_of_it


def table(spent: Mapping[tuple[str, str, str, int], Spent], methods: Sequence[str], baseline: str) -> str:
    """Return the ratios as Markdown."""
    lines = [f"| | scheduler | {' | '.join(CLOCKS)} |", "|---|---|" + "---|" * len(CLOCKS)]
    for method in methods:
        for scheduler in dict.fromkeys(scheduler for _, scheduler, _, _ in spent):
            by_task: dict[str, list[np.ndarray]] = {}
            for (task, other, warm_start, seed), mine in spent.items():
                pair = spent.get((task, scheduler, baseline, seed))
                if (other, warm_start) == (scheduler, method) and pair is not None:
                    by_task.setdefault(task, []).append(_log_ratio(mine, pair))
            if by_task:
                means = np.array([np.mean(pairs, axis=0) for pairs in by_task.values()]).mean(axis=0)
                shown = " | ".join(f"{ratio:.2f}" for ratio in np.exp(means))
                lines.append(f"| {method} | {scheduler} | {shown} |")
    return "\n".join(lines) + "\n"


def _log_ratio(mine: Spent, baseline: Spent) -> np.ndarray:
    least = np.fmax(mine[1], baseline[1])
    a, b = (least if reached is None else reached for reached, _ in (mine, baseline))
    return np.asarray(np.log(a / b))


if __name__ == "__main__":
    sys.exit(main())

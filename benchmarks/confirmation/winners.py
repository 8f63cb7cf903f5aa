r"""Where the rates of winners lie: of the trials that reached the target first, of all starts, and the probe.

    python -m benchmarks.confirmation.winners results/confirmation/second_edition_adamw \
        --output benchmarks/results/second_edition/adamw

Medians of `log10(lr)` as trained, with the tenth and the ninetieth percentile: for AdamW the effective rate.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sealed import sealed
from hypernudge.warmstart.measurement.probe import PROBE

WORKERS = 4


@dataclass
class Rates:
    """Those of one task and method.

    Attributes:
        winners: Of the trials that reached the target first.
        starts: Of all trials.
        probes: What the probe said, one a study.
        first: How many winners are among the first trials, as many as there are workers.
    """

    winners: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    first: int = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Take in a cell."""
        rates = {trial["trial"]: math.log10(trial["nudged"]["lr"]) for trial in record["trials"]}
        self.starts += rates.values()
        measured = [trial["nudge"]["measurements"] for trial in record["trials"]]
        self.probes += [found[PROBE] for found in measured if PROBE in found]
        curve = record.get("curve") or {"trial": [], "validation": []}
        for trial, score in zip(curve["trial"], curve["validation"], strict=True):
            if score is not None and score >= record["declared"]["target"]:
                self.winners.append(rates[trial])
                self.first += trial < WORKERS
                return


def read(directory: Path) -> dict[tuple[str, str], Rates]:
    """Return the rates of a results directory by task and method."""
    found: dict[tuple[str, str], Rates] = {}
    for variation, _, record in sealed(directory):
        found.setdefault((variation.task, variation.warm_start), Rates()).add(record)
    return found


def markdown(found: Mapping[tuple[str, str], Rates]) -> str:
    """Return the table."""
    lines = [
        "| task | method | winners | of them among the first four | starts | probe |",
        "|---|---|---|---|---|---|",
    ]
    for (task, method), rates in found.items():
        shown = [_shown(values) for values in (rates.winners, rates.starts, rates.probes)]
        first = f"{rates.first} of {len(rates.winners)}"
        lines.append(f"| {task} | `{method}` | {shown[0]} | {first} | {shown[1]} | {shown[2]} |")
    return "\n".join(lines) + "\n"


def _shown(values: Sequence[float]) -> str:
    if not values:
        return ""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="results directory")
    parser.add_argument("--output", type=Path, help="write winners.md there")
    options = parser.parse_args()
    text = markdown(read(options.directory))
    sys.stdout.write(text)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "winners.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

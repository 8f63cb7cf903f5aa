r"""Which prior suits AdamW: stopping ASHA and `informed` with several priors, on development tasks and seeds.

    HYPERNUDGE_DATA=... python -m benchmarks.warm_starts.adamw tables near [MORE.json ...] \
        --output benchmarks/results/third_edition/adamw/development

Time to one target per task over that with the first prior, paired by seed; a task's own family is left out.
What is in `adamw.jsonl` is not run again; the table is made anew from it.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.warm_starts.cells import ADAMW, Kept, ratio, run
from hypernudge import Informed
from hypernudge.schedulers.asha_stopping import StoppingASHA
from hypernudge.space import SearchSpace

FIRST, COUNT = 521_000, 12
TARGETS = {
    "adult_mlp": 0.85375,
    "digits_mlp": 0.98472,
    "letter_mlp": 0.82791,
    "shuttle_mlp": 0.9975,
    "spambase_mlp": 0.9375,
    "wine_quality_mlp": 0.59,
}
"""Under AdamW; the first three are those of `confirmation/second_edition_adamw.yaml`, from pilots."""


def stopping(space: SearchSpace) -> StoppingASHA:
    """Return the recommended schedule."""
    return StoppingASHA(space, min_units=3)


def label(prior: str) -> str:
    """Return how a prior is called in a table: a file by its name."""
    return Path(prior).stem


def table(kept: Kept, priors: Sequence[str], tasks: Sequence[str], first: int) -> str:
    """Return ratios of times to those with the first prior, over all tasks and by task."""
    base = [row for task in tasks for row in kept.find(prior=priors[0], task=task, first_seed=first)]
    text = "| prior | ratio [two standard errors] | reached | " + " | ".join(tasks) + " |\n"
    text += "|---|---|---|" + "---|" * len(tasks) + "\n"
    for prior in priors:
        rows = [row for task in tasks for row in kept.find(prior=prior, task=task, first_seed=first)]
        over = ratio(rows, base)
        if over is None:
            continue
        low, high = (over[0] * math.exp(sign * over[1]) for sign in (-1, 1))
        each = []
        for row, plain in zip(rows, base, strict=True):
            logs = [math.log(a / b) for a, b in zip(row["time"], plain["time"], strict=True)]
            each.append(f"{math.exp(sum(logs) / len(logs)):.2f}")
        reached = [hit for row in rows for hit in row["reached"]]
        share = f"{sum(reached)} of {len(reached)}"
        text += f"| {prior} | {over[0]:.2f} [{low:.2f}, {high:.2f}] | {share} | " + " | ".join(each) + " |\n"
    return text


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("priors", nargs="+", help="names or files; others are compared with the first")
    parser.add_argument("--output", type=Path, required=True, help="folder of cells and table")
    parser.add_argument("--tasks", nargs="+", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--first", type=int, default=FIRST, help="first seed")
    parser.add_argument("--count", type=int, default=COUNT, help="pairs")
    args = parser.parse_args()
    kept = Kept(args.output / "adamw.jsonl")
    seeds = range(args.first, args.first + args.count)
    for prior in args.priors:
        warm_start = Informed(prior=prior)
        for task in args.tasks:
            if kept.find(prior=label(prior), task=task, first_seed=args.first):
                continue
            begun = time.process_time()
            cells = run(task, ADAMW, stopping, warm_start, seeds, TARGETS[task])
            row = kept.add(cells, prior=label(prior), task=task)
            said = f"{sum(row['reached'])} of {args.count}, {time.process_time() - begun:.1f} s"
            sys.stderr.write(f"{label(prior)}, {task}: {said}\n")
    text = table(kept, [label(prior) for prior in args.priors], args.tasks, args.first)
    (args.output / "adamw.md").write_text(text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

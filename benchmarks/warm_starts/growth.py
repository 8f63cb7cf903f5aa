r"""How fast a prior of networks grows: `informed` after 1, 3, 10 past studies, beside all of them and none.

    HYPERNUDGE_DATA=... python -m benchmarks.warm_starts.growth benchmarks/results/priors/networks/past.json \
        --output benchmarks/results/priors/networks/small

The past is drawn at random from the studies of a prior's file, those of the task's own family left out: eight
draws a task, with four seeds each; a longer past holds the shorter one. Time to one target per task, under
stopping ASHA, over that of stopping ASHA alone with the same seeds. Development tasks; the mid space.
What is in `growth.jsonl` is not run again; the table is written anew from it every time.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.warm_starts import cells
from benchmarks.warm_starts.cells import TARGETS, Kept, run
from hypernudge import Informed, StoppingASHA
from hypernudge.random import stream
from hypernudge.space import SearchSpace
from hypernudge.warmstart.base import NoWarmStart, WarmStart
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement.prior import PriorFile, TaskStatistics

FIRST, DRAWS, EACH = 540_000, 8, 4  # seeds: four for each draw of a past
COUNTS = (1, 3, 10)
UNITS, FIRST_RUNG = 27, 3
TASKS = tuple(TARGETS)[:6]
ALONE, NOTHING, ALL, SHIPPED = "alone", "none", "all", "shipped"
LABELS = (ALONE, NOTHING, *map(str, COUNTS), ALL, SHIPPED)


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("past", help="a prior's file: its rows are the studies; or `tables`")
    parser.add_argument("--output", type=Path, required=True, help="folder of cells and table")
    parser.add_argument("--pasts", nargs="+", choices=LABELS, default=LABELS, help="only these")
    parser.add_argument("--pooling", choices=priors.POOLINGS, default=priors.HIERARCHICAL)
    options = parser.parse_args()
    studies = priors.load(options.past).tasks
    kept = Kept(options.output / "growth.jsonl")
    for task in TASKS:
        for draw in range(DRAWS):
            measured(kept, studies, task, draw, options.pooling, options.pasts)
    text = table(kept)
    (options.output / "growth.md").write_text(text)
    sys.stdout.write(text)
    return 0


def measured(
    kept: Kept,
    studies: Sequence[TaskStatistics],
    task: str,
    draw: int,
    pooling: str = priors.HIERARCHICAL,
    labels: Sequence[str] = LABELS,
) -> None:
    """Run what is missing of a task with one draw of its past."""
    first = FIRST + draw * EACH
    with TemporaryDirectory() as folder:
        for label, past in pasts(studies, task, draw).items():
            if label not in labels or kept.find(past=label, task=task, first_seed=first):
                continue
            warm_start = _policy(label, past, Path(folder) / f"{label}.json", pooling)
            found = run(task, "mid", _stopping, warm_start, range(first, first + EACH))
            row = kept.add(found, past=label, task=task, studies=[study.task for study in past])
            sys.stderr.write(f"{task}, {label}, {first}: {sum(row['reached'])} of {EACH}\n")


def pasts(studies: Sequence[TaskStatistics], task: str, draw: int) -> dict[str, list[TaskStatistics]]:
    """Return what each past is made of, by its name; those that need no file are empty.

    Args:
        studies: Of all tasks.
        task: What is tuned: studies of its family are left out.
        draw: Number of the draw.
    """
    family = next((study.family for study in studies if study.task == task), task)
    others = [study for study in studies if study.family != family]
    order = stream(draw, "past studies", task).permutation(len(others))
    found: dict[str, list[TaskStatistics]] = {ALONE: [], NOTHING: []}
    for count in COUNTS:  # of digits there are nine others: all of them are what ten stand for
        found[str(count)] = [others[i] for i in order[:count]]
    return {**found, ALL: others, SHIPPED: []}


def _policy(
    label: str, past: Sequence[TaskStatistics], path: Path, pooling: str = priors.HIERARCHICAL
) -> WarmStart:
    if label == ALONE:
        return NoWarmStart()
    if not past:
        return Informed(prior=priors.NONE if label == NOTHING else priors.TABLES)
    PriorFile(tuple(past), pooling=pooling).dump(path)
    return Informed(prior=str(path))


def _stopping(space: SearchSpace) -> StoppingASHA:
    return StoppingASHA(space, UNITS, min_units=FIRST_RUNG)


def table(kept: Kept) -> str:
    """Return times over those of the scheduler alone, with two standard errors over draws of the past.

    The scheduler alone and the shipped prior must be among what is kept.
    """
    lines = [
        "| past studies | time to the target, over the scheduler alone | over the shipped prior | reached |",
        "|---|---|---|---|",
    ]
    for label in LABELS:
        rows = kept.find(past=label)
        if not rows:
            continue
        reached = [hit for row in rows for hit in row["reached"]]
        shown = [ratio(rows, kept.find(past=base)) if base != label else "" for base in (ALONE, SHIPPED)]
        lines.append(f"| {label} | {' | '.join(shown)} | {100 * np.mean(reached):.0f} % |")
    return "\n".join(lines) + "\n"


def ratio(rows: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> str:
    """Return the geometric mean of paired ratios; the error is over draws, the tasks being what they are."""
    found = cells.ratio(_by_draw(rows), _by_draw(base))
    assert found is not None  # every past has all tasks
    mean, error = found
    return f"{mean:.2f} [{mean * math.exp(-error):.2f}, {mean * math.exp(error):.2f}]"


def _by_draw(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each task, whose times are the geometric means of its draws."""
    times: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda row: row["first_seed"]):
        times.setdefault(row["task"], []).append(float(np.exp(np.log(row["time"]).mean())))
    return [{"task": task, "time": of_draws} for task, of_draws in times.items()]


if __name__ == "__main__":
    raise SystemExit(main())

"""Checks of any study, whoever wrote it: missing cells, crashed runs, few seeds, a target too high or low."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hypernudge.evidence.loading.issue import Issue
from hypernudge.evidence.loading.outcomes import Incumbents
from hypernudge.evidence.statistics.paired import MINIMUM_PAIRS
from hypernudge.results.printable import abridged, counted


def missing_cells(cells: pd.DataFrame, rule: str, consequence: str) -> Iterator[Issue]:
    """Yield one problem per run with cells that are not there.

    Args:
        cells: Columns run_id, seed, status.
        rule: In words, with `{seeds}` where their list belongs.
        consequence: In words, with `{count}`.
    """
    gone = cells[cells["status"] == "missing"]
    for run_id, group in gone.groupby("run_id", sort=False, observed=True):
        yield Issue(
            f"cells {run_id}",
            rule.format(seeds=abridged(group["seed"])),
            consequence.format(count=len(group)),
            str(run_id),
        )


def all_crashed(cells: pd.DataFrame) -> Iterator[Issue]:
    """Yield one issue per run of which no cell ran to its end, though some have a record.

    Args:
        cells: Columns run_id, status.
    """
    for run_id, group in cells[cells["status"] != "missing"].groupby("run_id", sort=False, observed=True):
        if (group["status"] == "crashed").all():
            rule = f"all {counted(len(group), 'cell')} crashed"
            yield Issue(f"cells {run_id}", rule, "misses; the records hold what was raised", str(run_id))


def unreached(cells: pd.DataFrame, sign: float = 1.0) -> Iterator[Issue]:
    """Yield one problem per (task, scheduler) with scores, none of which is as good as the target.

    Args:
        cells: Columns task, scheduler, reached, final, target.
        sign: -1 where scores were negated.
    """
    for where, group in settings(cells):
        if group["final"].notna().any() and not group["reached"].any():
            best, goal = sign * float(group["final"].max()), sign * float(group["target"].iloc[0])
            rule = f"no run reached the target {goal:g}; the best score is {best:g}"
            yield Issue(where, rule, "judged by final scores alone; times say nothing")


def reached_at_once(
    cells: pd.DataFrame, best: Incumbents, sign: float = 1.0, hint: str = ""
) -> Iterator[Issue]:
    """Yield one problem per (task, scheduler) most of whose runs begin with a score as good as the target.

    Args:
        cells: Columns task, scheduler, target; a row for each cell of `best`, numbered from 0.
        best: Their improvements.
        sign: -1 where scores were negated.
        hint: What else may be the matter.
    """
    first = np.append(True, best.cell[1:] != best.cell[:-1])[: best.cell.size]
    begun, score = best.cell[first], best.validation[first]
    at_once = np.zeros(len(cells), dtype=bool)
    at_once[begun] = score >= cells["target"].to_numpy(dtype=np.float64)[begun]
    scored = np.zeros(len(cells), dtype=bool)
    scored[begun] = True
    for where, group in settings(cells):
        count, runs = int(at_once[group.index].sum()), int(scored[group.index].sum())
        if 2 * count > runs:
            goal = sign * float(group["target"].iloc[0])
            rule = f"{count} of {counted(runs, 'run')} reach the target {goal:g} with their first score"
            yield Issue(where, rule, f"times to it say little: choose a target that takes a search{hint}")


def too_few_seeds(cells: pd.DataFrame) -> Iterator[Issue]:
    """Yield one problem per (task, scheduler) with fewer seeds than any significant result needs."""
    for where, group in settings(cells):
        seeds = group["seed"].nunique()
        if seeds < MINIMUM_PAIRS:
            rule = f"{counted(seeds, 'seed')}: no result could be significant, six are the least"
            yield Issue(where, rule, "the verdict is unpowered; run more seeds")


def setting_name(task: Any, scheduler: Any) -> str:
    """How a (task, scheduler) is called in messages."""
    return f"{task} / {scheduler}" if scheduler else str(task)


def settings(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name and the rows of every (task, scheduler)."""
    for (task, scheduler), group in cells.groupby(["task", "scheduler"], sort=False, observed=True):
        yield setting_name(task, scheduler), group


def by_differences(trials: pd.DataFrame) -> Iterator[Issue]:
    """What a warm start measured in another way than it is meant to: said, and counted all the same."""
    for run_id, own in trials.groupby("run_id", sort=False):
        count = int(own["finite_differences"].sum())
        if count:
            rule = f"{count} of {len(own)} trials took their hyper-gradient by finite differences"
            yield Issue(f"{run_id}/", rule, "flagged; they stay in every number", str(run_id))

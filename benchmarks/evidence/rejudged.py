"""Published comparisons again, from the published cells, by the rule they were judged by and by today's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hypernudge.evidence.loading.fromtable import study_from_table
from hypernudge.evidence.loading.longform import read_long_form
from hypernudge.evidence.loading.outcomes import Curves, incumbents
from hypernudge.evidence.loading.plan import Criteria, Plan
from hypernudge.evidence.loading.study import StudyResults
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.evidence.statistics.noninferiority import ScoreBounds
from hypernudge.evidence.verdicts.comparisons import Comparison, compare, facts_of
from hypernudge.evidence.verdicts.criteria import judge_criteria
from hypernudge.evidence.verdicts.verdict import judge
from hypernudge.results.plan import Variation

RESULTS = Path(__file__).parents[1] / "results"


@dataclass(frozen=True)
class Block:
    """A published study: its cells and its table of comparisons."""

    name: str
    cells: Path
    folder: Path


def blocks(root: Path = RESULTS) -> list[Block]:
    """Every published study whose cells are there."""
    return [
        Block(path.name.removesuffix("_cells.csv.gz"), path, _folder(path))
        for path in sorted((root / "confirmation").rglob("*_cells.csv.gz"))
    ]


def _folder(cells: Path) -> Path:
    name = cells.name.removesuffix("_cells.csv.gz")
    return cells.parent if cells.parent.name == name else cells.parent / name


def study(block: Block) -> StudyResults:
    """A study of a block's published cells, as far as a verdict needs it.

    Raises:
        ValueError: A published comparison has no cells.
    """
    cells = pd.read_csv(block.cells)
    published = pd.read_csv(block.folder / "comparisons.csv")
    runs = set(cells["run_id"])
    named = "warm_start" in cells  # later tables say themselves what a run was
    labels = cells.groupby(["task", "scheduler", "warm_start"])["run_id"].first() if named else None
    variations: dict[str, Variation] = {}
    for row in published.to_dict("records"):
        task, scheduler = str(row["task"]), str(row["scheduler"])
        for label in ("none", str(row["method"])):
            run = _run(runs, task, scheduler, label) if labels is None else labels[task, scheduler, label]
            seeds = tuple(int(seed) for seed in cells.loc[cells["run_id"] == run, "seed"])
            variations[run] = Variation(run, task, scheduler, label, seeds, 0.0, "accuracy")
    cells = cells[cells["run_id"].isin(variations)].reset_index(drop=True)
    for name in ("task", "scheduler", "warm_start"):
        cells[name] = [getattr(variations[run], name) for run in cells["run_id"]]
    cells = cells.rename(
        columns={"time_to_target": "time", "budget_seconds": "budget", "best_validation": "final"}
    )
    cells["reached"] = cells["reached"].astype(bool)
    cells["time"] = cells["time"].where(cells["reached"], cells["budget"])
    # The scores are shares: where none was seen the floor is zero.
    cells["final"] = cells["final"].fillna(0.0)
    cells["warm_start_flops"], cells["total_flops"] = cells["overhead"].fillna(0.0), 1.0
    for name in ("peak_memory_bytes", "total_seconds", "cell_seconds", "warm_start_seconds"):
        cells[name] = np.nan  # no verdict depends on them
    cells["hardware"] = ""
    nothing = np.zeros(0)
    best = incumbents(Curves(np.zeros(0, np.int64), nothing, nothing, nothing), np.zeros(0))
    criteria = Criteria(families="warm_start")
    return StudyResults(
        Plan(block.name, "", tuple(variations.values()), criteria), cells, best, pd.DataFrame(), ()
    )


def _run(runs: set[str], task: str, scheduler: str, label: str) -> str:
    """Run id of a published comparison: the plans spelled it with and without scheduler and space."""
    head, _, tail = task.rpartition("_")
    if scheduler == "any":  # a method is a scheduler with a warm start, and its baseline plain ASHA
        scheduler, _, label = label.rpartition("-")
        scheduler = scheduler or "asha"
    own = f"{head}-{scheduler}"  # where all tasks have one space, it is no part of their names
    settings = (f"{own}-{tail}", f"{head}-{tail}", head, f"{task}-{scheduler}", task, own)
    for setting in settings:
        for run in (f"{setting}-{label}", setting if label == "none" else ""):
            if run in runs:
                return run
    raise ValueError(f"{task}, {scheduler}, {label}: no cells of it; have {', '.join(sorted(runs))}")


@dataclass(frozen=True)
class Judged:
    """Comparisons by both rules, beside what was published; all in the same order."""

    block: str
    published: list[dict[str, Any]]
    old: list[Comparison]
    new: list[Comparison]
    criteria: Criteria


def judged(block: Block) -> Judged:
    """Judge a block by both rules."""
    again = study(block)
    criteria = again.plan.criteria
    table = {
        (row["task"], row["scheduler"], row["method"]): row
        for row in pd.read_csv(block.folder / "comparisons.csv").to_dict("records")
    }
    found = compare(again)
    published: list[dict[str, Any]] = [
        {str(name): value for name, value in table[where].items()}
        for where in ((c.method.task, c.method.scheduler, c.method.warm_start) for c in found)
    ]
    with_p = [replace(c, p_holm=float(row["Holm p"])) for c, row in zip(found, published, strict=True)]
    old = [_by(_old_bounds(c, criteria), c, criteria) for c in with_p]
    new = [_by(c.final_bounds, c, criteria) for c in with_p]
    return Judged(block.name, published, old, new, criteria)


def _old_bounds(comparison: Comparison, criteria: Criteria) -> ScoreBounds:
    """Student's interval in both parts of the rule."""
    method, baseline = comparison.column("method.final"), comparison.column("baseline.final")
    scale = abs(float(np.mean(baseline)))
    student = mean_interval((method - baseline) / (scale or 1.0), 1 - 2 * criteria.alpha)
    return ScoreBounds(student, student, comparison.final_bounds.worst, comparison.final_bounds.best)


def _by(bounds: ScoreBounds, comparison: Comparison, criteria: Criteria) -> Comparison:
    changed = replace(comparison, final_bounds=bounds)
    return replace(changed, verdict=judge(facts_of(changed), criteria))


def rows(found: Judged) -> Iterator[dict[str, Any]]:
    """Yield every comparison of a block with the published, the old and the new verdict."""
    margin = found.criteria.final_margin
    for row, old, new in zip(found.published, found.old, found.new, strict=True):
        yield {
            "block": found.block,
            **{name: row[name] for name in ("task", "scheduler", "method")},
            "pairs": new.test.pairs,
            "ratio": new.effects.ratio.estimate,
            "same ratio": bool(np.isclose(new.effects.ratio.estimate, row["ratio"], rtol=1e-4)),
            "Holm p": new.p_holm,
            "Student %": 100 * old.final_bounds.mean.low,
            "typical %": 100 * new.final_bounds.typical.low,
            "mean %": 100 * new.final_bounds.mean.low,
            "worst %": 100 * new.final_bounds.worst,
            "not worse, old": old.final_bounds.not_worse(margin),
            "not worse, new": new.final_bounds.not_worse(margin),
            "published": row["verdict"],
            "old": old.verdict.label,
            "new": new.verdict.label,
        }


def criteria_rows(found: Judged, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the two criteria that a verdict or a final score enters, as published and by the new rule."""
    path = folder / "criteria.csv"
    published = {(row["method"], row["criterion"]): row for row in pd.read_csv(path).to_dict("records")}
    for new in judge_criteria(found.new, found.criteria, ("time_to_target", "final_score")):
        old = published[new.warm_start, new.name]
        yield {
            "block": found.block,
            "method": new.warm_start,
            "criterion": new.name,
            "planned": new.planned,
            "met, published": old["met"],
            "met, new": new.met,
            "not met, published": old["not met"],
            "not met, new": new.not_met,
            "aggregate low, published": old["aggregate low"],
            "aggregate low, new": new.aggregate.low,
            "published": old["judgement"],
            "new": new.judgement,
        }


def tool_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the comparisons inside other tools, from their scores over time and the published table."""
    text = (folder / "table.md").read_text(encoding="utf-8")
    target, budget = (float(re.findall(rf"{word} ([0-9.]+)", text)[0]) for word in ("target", "budget"))
    # A median of shares of 360 images, of which the table has four decimals.
    target = round(720 * target) / 720
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    published = {tuple(line[:2]): line for line in lines if len(line) == 5 and line[2][:1].isdigit()}
    table = read_long_form(folder / "runs.csv", wall_clock=False)
    for baseline in dict.fromkeys(first for first, _ in published):
        methods = [method for first, method in published if first == baseline]
        again = study_from_table(table, baseline=baseline, methods=methods, target=target, budget=budget)
        found, criteria = compare(again), again.plan.criteria
        own = [published[baseline, c.method.warm_start] for c in found]
        rounded = [
            {
                "task": "digits",
                "scheduler": baseline,
                "method": c.method.warm_start,
                "ratio": float(line[2].split()[0]),
                "verdict": line[4],
            }
            for c, line in zip(found, own, strict=True)
        ]
        old = [_by(_old_bounds(c, criteria), c, criteria) for c in found]
        for row in rows(Judged(folder.name, rounded, old, found, criteria)):
            # The table has two decimals.
            near = abs(row["ratio"] - rounded[[r["method"] for r in rounded].index(row["method"])]["ratio"])
            yield {**row, "same ratio": near <= 0.005 + 1e-9}

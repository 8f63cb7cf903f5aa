"""From long-form results to the frames that a comparison is computed from.

No plan was hashed before these runs, so the criteria are the defaults, and whatever had to be derived from
the data (budget, missing cells) is reported beside the verdict.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hypernudge.errors import require, unknown_name
from hypernudge.evidence.loading.data_checks import (
    missing_cells,
    reached_at_once,
    setting_name,
    too_few_seeds,
    unreached,
)
from hypernudge.evidence.loading.issue import Issue
from hypernudge.evidence.loading.longform import LongForm
from hypernudge.evidence.loading.outcomes import Curves, incumbents, outcomes
from hypernudge.evidence.loading.plan import Criteria, Plan
from hypernudge.evidence.loading.study import StudyResults
from hypernudge.results.plan import Variation

Floats = NDArray[np.float64]

_UNKNOWN = (
    *("trials", "units", "training_flops", "warm_start_flops", "total_flops", "overhead", "errors"),
    *("total_seconds", "training_seconds", "warm_start_seconds", "peak_memory_bytes"),
    *("cell_seconds", "wall_fee"),
)


def study_from_table(
    table: LongForm,
    *,
    baseline: str,
    methods: Sequence[str] = (),
    target: float | Mapping[str, float],
    budget: float | None = None,
    minimise: bool = False,
    metric: str = "score",
    name: str = "comparison",
    clock: str = "time [s]",
    criteria: Criteria | None = None,
) -> StudyResults:
    """Turn checked long-form results into a study of one baseline and its methods.

    Args:
        table: Checked results.
        baseline: Variation that the others are compared with.
        methods: Variations to compare; all others where empty.
        target: Score to reach, one for all or by task, on the scale of the file.
        budget: Time at which every cell is censored; derived per (task, scheduler) where None.
        minimise: Whether smaller scores are better. Scores and target are negated then.
        metric: Name of the score in figures.
        name: Name of the study.
        clock: Label of time axes, its unit in brackets.
        criteria: How to judge; the defaults with this baseline where None.

    Raises:
        InvalidArgumentError: An unknown variation, a task without target, a budget that is not positive, no
            cell that ever reached its target, or a target reached at time zero.
    """
    frame = table.frame
    known = list(frame["variation"].cat.categories)
    for argument, wanted in (("--baseline", baseline), *(("--method", method) for method in methods)):
        if wanted not in known:
            raise unknown_name(argument, wanted, known, "must be a variation of the file")
    chosen = list(dict.fromkeys(methods)) or [label for label in known if label != baseline]
    require(bool(chosen), "--method", "must name a variation beside the baseline", known, "add runs of it")
    require(baseline not in chosen, "--method", "must differ from the baseline", baseline, "name another")
    frame = frame[frame["variation"].isin([baseline, *chosen])]
    sign = -1.0 if minimise else 1.0
    settings = frame[["task", "scheduler"]].drop_duplicates().astype(str)
    targets = _targets(target, list(dict.fromkeys(settings["task"])))
    seeds = frame.groupby(["task", "scheduler"], sort=False, observed=True)["seed"].unique()
    parts = [(t, s, label) for t, s in settings.itertuples(index=False) for label in (baseline, *chosen)]
    variations = tuple(
        Variation(
            run_id=run_id,
            task=task,
            scheduler=scheduler,
            warm_start=label,
            seeds=tuple(sorted(int(seed) for seed in seeds.loc[(task, scheduler)])),
            target=sign * targets[task],
            metric=metric,
        )
        for (task, scheduler, label), run_id in zip(parts, _run_ids(parts), strict=True)
    )
    plan = Plan(name, "", variations, criteria or Criteria(baseline=baseline), clock)
    cells = _planned(variations)
    index, curves = _curves(frame, cells, sign)
    present = np.zeros(len(cells), dtype=bool)
    present[index] = True
    cells["status"] = np.where(present, "completed", "missing")
    cells["reason"] = np.where(present, "", "no row in the file")
    problems = list(table.flags)
    rule = "no row for seed {seeds}, which others of the task have"
    problems += missing_cells(cells, rule, "{count} pairs are missing and left out")
    problems += _unscored(cells, curves, present)
    budgets = _budgets(cells, curves, budget, problems)
    cells["floor"] = _floors(cells, curves)
    _add_outcomes(cells, curves, budgets, present)
    too_high = list(unreached(cells, sign))
    rules = "; ".join(problem.rule for problem in too_high[:3])
    remedy = "choose one that the baseline can reach"
    goals = cells["target"].to_numpy()[curves.cell]
    late = (curves.time > budgets[curves.cell]) & (curves.validation >= goals)
    if late.any():  # the scores that a reader sees in the file lie beyond the cut
        cut = float(budgets[curves.cell[late]].min())
        remedy = f"it was reached after {cut:g}, where all are cut off: pass --budget, or choose another"
    require(bool(cells["reached"].any()), "--target", "some run must reach it", rules, remedy)
    best = incumbents(curves, budgets)
    hint = "" if minimise else ", or say --minimise if smaller scores are better"
    problems += [*too_high, *reached_at_once(cells, best, sign, hint), *too_few_seeds(cells)]
    trials = pd.DataFrame({name: [] for name in ("cell", "run_id", "seed", "trial", "milestones")})
    return StudyResults(plan, cells, best, trials, tuple(problems))


def _run_ids(parts: Sequence[tuple[str, str, str]]) -> list[str]:
    """Readable and unique: task `a-b` with variation `c` is not task `a` with variation `b-c`."""
    used: Counter[str] = Counter()
    names = []
    for name in ("-".join(filter(None, cell)) for cell in parts):
        used[name] += 1
        names.append(name if used[name] == 1 else f"{name}#{used[name]}")
    return names


def _targets(target: float | Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
    given = dict(target) if isinstance(target, Mapping) else dict.fromkeys(tasks, float(target))
    for task, value in given.items():
        if task not in tasks:
            raise unknown_name("--target", task, tasks, "must name a task of the file")
        require(math.isfinite(value), "--target", "must be a finite number", value, "name the score to reach")
    missing = [task for task in tasks if task not in given]
    require(
        not missing, "--target", "every task needs one", missing, "add --target TASK=SCORE, or one for all"
    )
    return given


def _planned(variations: Sequence[Variation]) -> pd.DataFrame:
    """One row per expected cell: every seed that any variation of the (task, scheduler) was run with."""
    sizes = [len(v.seeds) for v in variations]
    columns = {
        name: pd.Categorical.from_codes(
            np.repeat(pd.factorize(np.array([getattr(v, name) for v in variations], dtype=object))[0], sizes),
            categories=pd.Index(dict.fromkeys(getattr(v, name) for v in variations), dtype=object),
        )
        for name in ("run_id", "task", "scheduler", "warm_start")
    }
    cells = pd.DataFrame(columns)
    cells["seed"] = np.concatenate([np.array(v.seeds, dtype=np.int64) for v in variations])
    cells["target"] = np.repeat([v.target for v in variations], sizes)
    for column in _UNKNOWN:
        cells[column] = np.nan
    cells["hardware"] = ""
    return cells


def _curves(frame: pd.DataFrame, cells: pd.DataFrame, sign: float) -> tuple[NDArray[np.int64], Curves]:
    """Index of the cell of every row, and the curves."""
    keys = ["task", "scheduler", "warm_start", "seed"]
    left = frame[["task", "scheduler", "variation", "seed"]].rename(columns={"variation": "warm_start"})
    for name in keys[:3]:
        left[name] = pd.Categorical(left[name], categories=cells[name].cat.categories)
    codes = [
        np.stack(
            [part[name].cat.codes.to_numpy(dtype=np.int64) for name in keys[:3]] + [part["seed"].to_numpy()]
        )
        for part in (left, cells)
    ]
    # One integer per cell: mixed radix over the four keys, so that a sorted search replaces a wide join.
    radix = [int(max(c[k].max() for c in codes)) + 1 for k in range(4)]
    wanted, having = (((c[0] * radix[1] + c[1]) * radix[2] + c[2]) * radix[3] + c[3] for c in codes)
    order = np.argsort(having, kind="stable")
    index = order[np.searchsorted(having[order], wanted)].astype(np.int64)
    score = sign * frame["score"].to_numpy(dtype=np.float64)
    return index, Curves(index, frame["time"].to_numpy(dtype=np.float64), score, score)


def _unscored(cells: pd.DataFrame, curves: Curves, present: NDArray[np.bool_]) -> Iterator[Issue]:
    """Yield one problem per run with cells that diverged or failed before their first score."""
    scored = np.zeros(len(cells), dtype=bool)
    scored[curves.cell[np.isfinite(curves.validation)]] = True
    never = cells[["run_id", "seed"]].assign(status=np.where(present & ~scored, "missing", ""))
    yield from missing_cells(
        never, "no finite score for seed {seeds}", "{count} misses, censored at the budget, below any score"
    )


def _budgets(cells: pd.DataFrame, curves: Curves, budget: float | None, problems: list[Issue]) -> Floats:
    """One budget per (task, scheduler); without a declared one, no cell is given more time than another."""
    if budget is not None:
        ok = math.isfinite(budget) and budget > 0
        require(ok, "--budget", "must be finite and positive", budget, "give the time that every run had")
    end = np.zeros(len(cells))
    np.maximum.at(end, curves.cell, curves.time)
    seen = np.full(len(cells), -np.inf)
    np.fmax.at(seen, curves.cell, curves.validation)
    reached = seen >= cells["target"].to_numpy()
    searched = np.ones(len(cells), dtype=bool)
    # Of several rows at the same moment, that of another trial, one score is enough.
    at_end = curves.time == end[curves.cell]
    searched[curves.cell[at_end]] = False
    searched[curves.cell[at_end & np.isfinite(curves.validation)]] = True
    budgets = np.ones(len(cells))
    positions: Any = cells.groupby(["task", "scheduler"], sort=False, observed=True).indices
    for (task, scheduler), rows in positions.items():
        had = rows[end[rows] > 0]
        require(had.size > 0, "column time", "must pass zero in every task", task, "record later scores too")
        # A run may stop once it is there, or because it diverged (its last score is no number); only a run
        # that still searched says how much time it had.
        short = had[~reached[had] & searched[had]]
        derived = float(end[short].min() if short.size else end[had].max())
        value = derived if budget is None else float(budget)
        budgets[rows] = value
        where = setting_name(task, scheduler)
        if budget is None and np.unique(end[short]).size > 1:
            longest = float(end[had].max())
            rule = f"runs that missed the target end between {derived:g} and {longest:g}"
            problems.append(Issue(where, rule, f"all are censored at {derived:g}; declare --budget"))
        elif budget is not None and short.size and derived < value:
            count = int(np.sum(end[short] < value))
            rule = f"{count} runs that missed the target end before the budget of {value:g}"
            problems.append(Issue(where, rule, "read as if nothing improved until the budget"))
    return budgets


def _floors(cells: pd.DataFrame, curves: Curves) -> Floats:
    """Worst score that anyone saw in the task, the same for both sides of every pair."""
    codes = cells["task"].cat.codes.to_numpy()
    worst = np.full(len(cells["task"].cat.categories), np.inf)
    np.fmin.at(worst, codes[curves.cell], curves.validation)
    return np.where(np.isfinite(worst), worst, 0.0)[codes]


def _add_outcomes(cells: pd.DataFrame, curves: Curves, budgets: Floats, present: NDArray[np.bool_]) -> None:
    target, floor = (cells[name].to_numpy(dtype=np.float64) for name in ("target", "floor"))
    result = outcomes(curves, target=target, budget=budgets, floor=floor)
    instant = np.flatnonzero(result.reached & (result.time <= 0))
    if instant.size:
        where = f"column time of {cells['run_id'].iloc[instant[0]]}, seed {cells['seed'].iloc[instant[0]]}"
        require(
            False, where, "a target must not be reached at time 0", 0.0, "raise --target, or add an offset"
        )
    cells["budget"] = np.where(present, budgets, np.nan)
    cells["time"] = np.where(present, result.time, np.nan)
    cells["reached"] = result.reached & present
    cells["auc"] = np.where(present, result.auc, np.nan)
    # What never had a score lies below whatever had one in its task, if only just.
    task = cells["task"].cat.codes.to_numpy()
    scored = np.isin(task, task[~np.isnan(result.final)])
    below = np.where(scored, np.nextafter(floor, -np.inf), floor)
    final = np.where(np.isnan(result.final), below, result.final)
    cells["final"] = np.where(present, final, np.nan)
    cells["test"] = np.nan

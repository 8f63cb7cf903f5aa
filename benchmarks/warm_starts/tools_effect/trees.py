"""XGBoost on a table, up to 81 rounds a trial, through the task of the library; a step is three rounds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution

from benchmarks.warm_starts.tools_effect.workload import Space, Workload
from hypernudge import Informed, Integer, Real
from hypernudge.evidence.loading.study import load_study
from hypernudge.harness.planning.config import load_yaml
from hypernudge.harness.planning.shipped import shipped_root
from hypernudge.registry import build
from hypernudge.space import HyperParameter
from hypernudge.tasks.tabular.task import XGBoostTask
from hypernudge.warmstart.past.file import load

STEPS, TRIALS = 27, 30  # of a run's budget: so many whole trainings
DESCRIBED = ("dataset", "problem", "label")


@cache
def task(name: str, rows: int | None, bins: int = 256) -> XGBoostTask:
    """Return the task of a shipped file, such as `sklearn/digits` or `uci/adult`."""
    described = load_yaml(shipped_root() / "task" / f"{name}.yaml")
    options = {key: described[key] for key in DESCRIBED if key in described}
    built: XGBoostTask = build("task", {"name": "xgboost", **options, "rows": rows, "max_bin": bins})
    return built


def space(of: XGBoostTask) -> Space:
    """Return the task's space in Optuna's terms."""
    found: Space = {}
    for parameter in of.space:
        if isinstance(parameter, Real):
            found[parameter.name] = FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        elif isinstance(parameter, Integer):
            found[parameter.name] = IntDistribution(parameter.low, parameter.high, log=parameter.log)
    return found


def winners(results: Path, of: XGBoostTask) -> tuple[dict[str, Any], ...]:
    """Return the best configuration of every earlier task of a results directory, but those on `of`'s table.

    Args:
        results: Of a study of this library.
        of: What is tuned: its own past must not help it.
    """
    study = load_study(results)
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for _, trial in study.trials[study.trials["winner"]].iterrows():
        name = str(trial["task"])
        score = float(study.cells["final"].iloc[int(trial["cell"])])
        family = _family(results, str(trial["run_id"]))
        if family == of.family or (name in best and best[name][0] >= score):
            continue
        if all(f"nudged.{p.name}" in trial for p in of.space):
            values = {p.name: trial[f"nudged.{p.name}"] for p in of.space}
            best[name] = score, {p.name: _plain(p, values[p.name]) for p in of.space}
    return tuple(config for _, config in best.values())


def winners_of_prior(prior: str, of: XGBoostTask) -> tuple[dict[str, Any], ...]:
    """Return the best configuration of every task that a prior knows, but those on `of`'s table.

    Args:
        prior: The same that the warm start is given, so that both know the same past.
        of: What is tuned: its own past must not help it.
    """
    file = load(prior)
    assert file is not None, "a prior of past studies"
    found = []
    for study in file.without((of.family,)):
        best = int(study.scores[-1].argmax())
        if all(p.name in study.columns for p in of.space):
            found.append({p.name: _plain(p, study.columns[p.name][best]) for p in of.space})
    return tuple(found)


def _family(results: Path, run_id: str) -> str:
    """Return the family of a variation's task, as its first record notes it."""
    record = json.loads(min((results / run_id / "cells").glob("*.json")).read_text())
    return str(record["description"]["family"])


def _plain(parameter: HyperParameter, value: Any) -> Any:
    """Return a value of a frame as Python's: a column of whole numbers may hold fractions elsewhere."""
    return int(value) if isinstance(parameter, Integer) else float(value)


def workload(
    name: str = "sklearn/digits",
    rows: int | None = None,
    prior: str = "xgboost",
    past: Path | None = None,
    bins: int = 256,
) -> Workload:
    """Return the training with its space.

    Args:
        name: File of a task.
        rows: At most so many rows of the table.
        prior: Of the warm start; what it knows of the task's own table is left out.
        past: Results directory of earlier studies, whose winners are enqueued; those of the prior if absent.
        bins: Of a column's histogram.
    """
    of = task(name, rows, bins)

    def training(hp: Mapping[str, Any], seed: int) -> Iterator[float]:
        state = of.start(seed)
        for _ in range(STEPS):
            of.advance(state, hp)
            yield of.evaluate(state, "validation")

    return Workload(
        name=of.name,
        title=of.name,
        space=space(of),
        training=training,
        measured=lambda: of,
        policy=lambda units: Informed(prior=prior, max_units=units),
        step_flops=of.unit_flops,
        steps=STEPS,
        unit="rounds",
        per_step=float(of.rounds_per_unit),
        budget=float(TRIALS * STEPS * of.rounds_per_unit),
        past=winners(past, of) if past is not None else winners_of_prior(prior, of),
    )

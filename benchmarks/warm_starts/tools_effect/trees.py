"""XGBoost on a table, up to 81 rounds a trial, through the task of the library; a step is three rounds."""

from __future__ import annotations

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
from hypernudge.tasks.tabular.task import XGBoostTask

STEPS, TRIALS = 27, 17  # of a run's budget: so many whole trainings
DESCRIBED = ("dataset", "problem", "label")


@cache
def task(name: str, rows: int | None) -> XGBoostTask:
    """Return the task of a shipped file, such as `sklearn/digits` or `uci/adult`."""
    described = load_yaml(shipped_root() / "task" / f"{name}.yaml")
    options = {key: described[key] for key in DESCRIBED if key in described}
    built: XGBoostTask = build("task", {"name": "xgboost", **options, "rows": rows})
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


def winners(results: Path, leave_out: str) -> tuple[dict[str, Any], ...]:
    """Return the best configuration of every earlier task of a results directory, but those on one table.

    Args:
        results: Of a study of this library.
        leave_out: The family of the task that is tuned: its own past must not help it.
    """
    study = load_study(results)
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for _, trial in study.trials[study.trials["winner"]].iterrows():
        name = str(trial["task"])
        score = float(study.cells["final"].iloc[int(trial["cell"])])
        if leave_out in name or (name in best and best[name][0] >= score):
            continue
        config = {
            column.removeprefix("nudged."): value
            for column, value in trial.items()
            if isinstance(column, str) and column.startswith("nudged.") and value == value
        }
        best[name] = score, config
    return tuple(config for _, config in best.values())


def workload(
    name: str = "sklearn/digits", rows: int | None = None, prior: str = "xgboost", past: Path | None = None
) -> Workload:
    """Return the training with its space.

    Args:
        name: File of a task.
        rows: At most so many rows of the table.
        prior: Of the warm start; what it knows of the task's own table is left out.
        past: Results directory of earlier studies, whose winners are enqueued.
    """
    of = task(name, rows)

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
        past=winners(past, of.family) if past is not None else (),
    )

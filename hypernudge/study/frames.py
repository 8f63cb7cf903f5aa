"""A study as pandas frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypernudge.errors import package, require_choice, require_title

if TYPE_CHECKING:
    from hypernudge.study.results import TrialResult
    from hypernudge.study.study import Study


def to_frame(study: Study, per: str) -> Any:
    """Return a row per trial or per unit.

    Per trial: number, status, value (its best score), at (that unit), units, until, started, finished, flops,
    wall_seconds, policy, kind, reason, error, and for each hyper-parameter `config.NAME` and `sampled.NAME`.
    Per unit: trial, unit, time, validation, test, and `config.NAME`.
    """
    require_choice("per", per, ("trial", "unit"))
    pandas = package("pandas", "harness", "to_frame")
    if per == "trial":
        columns = [*_trial_columns(study), *_names(study, "config"), *_names(study, "sampled")]
        return pandas.DataFrame([_trial_row(trial) for trial in study.trials], columns=columns)
    rows = [
        {
            "trial": trial.number,
            "unit": unit.unit,
            "time": unit.time,
            "validation": unit.validation,
            "test": unit.test,
            **{f"config.{name}": value for name, value in trial.config.items()},
        }
        for trial in study.trials
        for unit in trial.units
    ]
    columns = ["trial", "unit", "time", "validation", "test", *_names(study, "config")]
    return pandas.DataFrame(rows, columns=columns)


def to_long_form(study: Study, variation: str | None) -> Any:
    """Return a row per unit, ordered by time; scores that are not finite are NaN."""
    require_title("variation", variation)
    pandas = package("pandas", "harness", "to_long_form")
    rows = [
        (unit.time, trial.number, unit.unit, unit.validation)
        for trial in study.trials
        for unit in trial.units
    ]
    rows.sort(key=lambda row: row[:3])
    frame = pandas.DataFrame(rows, columns=["time", "trial", "unit", "score"])
    about = study.about
    frame.insert(0, "seed", study.seed)
    frame.insert(0, "variation", variation or about.warm_start or "none")
    frame.insert(0, "scheduler", about.scheduler or "scheduler")
    frame.insert(0, "task", about.task or "task")
    return frame[["task", "scheduler", "variation", "seed", "trial", "time", "score"]]


def _trial_row(trial: TrialResult) -> dict[str, Any]:
    best = trial.best
    return {
        "trial": trial.number,
        "status": trial.status,
        "value": trial.value,
        "at": None if best is None else best.unit,
        "units": trial.units[-1].unit if trial.units else 0,
        "until": trial.until,
        "started": trial.started,
        "finished": trial.finished,
        "flops": trial.flops,
        "wall_seconds": trial.wall_seconds,
        "policy": trial.nudge.policy,
        "kind": trial.nudge.kind,
        "reason": trial.nudge.reason,
        "error": trial.error,
        **{f"config.{name}": value for name, value in trial.config.items()},
        **{f"sampled.{name}": value for name, value in trial.sampled.items()},
    }


def _trial_columns(study: Study) -> list[str]:
    times = ("started", "finished", "flops", "wall_seconds")
    return ["trial", "status", "value", "at", "units", "until", *times, "policy", "kind", "reason", "error"]


def _names(study: Study, kind: str) -> list[str]:
    known = [] if study.about.space is None else list(study.about.space.names)
    seen = {name: None for trial in study.trials for name in getattr(trial, kind)}
    return [f"{kind}.{name}" for name in dict.fromkeys([*known, *seen])]

"""Optuna: every study of a storage is one cell, every finished trial one score.

A study's cell is found by its user attributes task, variation and seed, or by its name. The time of a trial
is when it was complete, counted from the start of the first one. Pruned and failed trials have no final value
and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.common import Direction, Run, Score


def read(source: str, metric: str | None = None) -> Iterator[Run]:
    """Yield one run per study.

    Args:
        source: Storage address (`sqlite:///study.db`), or the path of an SQLite file.
        metric: Must be None: a study has one value per trial.

    Raises:
        InvalidArgumentError: Optuna is not installed, the file does not exist, or a study has several values.
    """
    try:
        import optuna
    except ImportError:
        raise InvalidArgumentError(
            "TOOL: reading Optuna studies needs optuna, which is not installed; install hypernudge[optuna]"
        ) from None
    require(metric is None, "--metric", "an Optuna study has one value per trial", metric, "leave it out")
    if "://" not in source:
        # Connecting to SQLite creates what is not there: an empty file would read as "no studies".
        require(Path(source).is_file(), "SOURCE", "must exist", source, "check the path")
        source = f"sqlite:///{source}"
    elif source.startswith("sqlite:///"):
        file = source.removeprefix("sqlite:///")
        require(Path(file).is_file(), "SOURCE", "must exist", source, "check the path")
    storage = optuna.storages.get_storage(source)
    names = sorted(optuna.study.get_all_study_names(storage=storage))
    require(bool(names), "SOURCE", "must hold at least one study", source, "check the address")
    for name in names:
        yield _run(optuna.load_study(study_name=name, storage=storage), name)


def _run(study: Any, name: str) -> Run:
    single = len(study.directions) == 1
    require(single, "SOURCE", "a study must have one objective", name, "export the objective you mean as CSV")
    trials = study.get_trials(deepcopy=False)
    starts = [t.datetime_start.timestamp() for t in trials if t.datetime_start is not None]
    done = [t for t in trials if t.state.name == "COMPLETE" and t.datetime_complete is not None]
    direction: Direction = "minimise" if study.direction.name == "MINIMIZE" else "maximise"
    return Run(
        name=name,
        attributes={str(key): str(value) for key, value in study.user_attrs.items()},
        begun=min(starts, default=0.0),
        scores=tuple(Score(str(t.number), t.datetime_complete.timestamp(), float(t.value)) for t in done),
        direction=direction,
        unscored=len(trials) - len(done),
    )

"""A study as one of Optuna: its tools then show it, optuna-dashboard among them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from hypernudge.errors import InvalidArgumentError, one_line, package, require, require_title, shown
from hypernudge.parameters import Categorical, Integer
from hypernudge.study.display import values
from hypernudge.study.header import describe

if TYPE_CHECKING:
    from hypernudge.space import HyperParameter
    from hypernudge.study.results import TrialResult
    from hypernudge.study.study import Study


def to_optuna(study: Study, storage: Any, name: str | None) -> Any:
    """Return the study in a storage of Optuna.

    A trial is `COMPLETE` if it was trained to the end, or is the best; `FAIL` if it diverged, failed or has
    no score; `RUNNING` while it runs; `PRUNED` otherwise. Its value is its best score, so that Optuna's best
    value is this study's. Steps of intermediate values are units. Its clock begins when the study began.
    """
    optuna = package("optuna", "optuna", "to_optuna")
    about = study.about
    storage = _opened(optuna, storage)
    require_title("name", name)
    parts = (about.task, about.scheduler, about.warm_start, f"seed {study.seed}")
    name = name or " ".join(part for part in parts if part)
    known: dict[str, Any] = {"task": about.task, "scheduler": about.scheduler, "variation": about.warm_start}
    known |= {"seed": study.seed, "metric": about.metric}
    begun = _moment(about.created)
    best = study._best_unit()
    trials = [
        _trial(optuna, study, trial, begun, best is not None and best[0] == trial.number)
        for trial in study.trials
    ]
    new = {"storage": storage, "study_name": name, "direction": about.direction}
    try:
        made = optuna.create_study(**new)
    except optuna.exceptions.DuplicatedStudyError:
        made = optuna.load_study(study_name=name, storage=storage)
        if not _is_former(made, known, trials):
            raise InvalidArgumentError(
                f"name: must be new in the storage, or a former state of this study, but it has another "
                f"study {name!r}; pass name=, or delete that one"
            ) from None
        if not all(_same(*pair) for pair in zip(made.trials, trials, strict=False)):
            # A trial went on since, and those of Optuna cannot be changed.
            optuna.delete_study(study_name=name, storage=storage)
            made = optuna.create_study(**new)
    for key, value in known.items():
        made.set_user_attr(key, value)
    for trial in trials[len(made.trials) :]:
        made.add_trial(trial)
    return made


def _opened(optuna: Any, storage: object) -> Any:
    """Return a storage of Optuna; SQLAlchemy says at length what is wrong with one."""
    rule = "must be None, a URL, or a storage of Optuna"
    if isinstance(storage, str | PurePath):
        remedy = f"write 'sqlite:///{storage}'" if str(storage) else "write 'sqlite:///study.db'"
        require("://" in str(storage), "storage", rule, str(storage), remedy)
        storage = str(storage)
    elif storage is not None:
        require(isinstance(storage, optuna.storages.BaseStorage), "storage", rule, storage, "check it")
    try:
        return optuna.storages.get_storage(storage)
    except Exception as error:  # of SQLAlchemy, of a driver, or of one that is not installed
        raise InvalidArgumentError(
            f"storage: must be one that can be opened, but got {shown(_without_password(storage))} "
            f"({one_line(error)}); "
            "'sqlite:///study.db', say"
        ) from error


def _without_password(storage: object) -> object:
    return re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", storage) if isinstance(storage, str) else storage


def _is_former(made: Any, known: dict[str, Any], trials: list[Any]) -> bool:
    """Whether a study in the storage is what this one was: every trial began as it did here."""
    if len(made.trials) > len(trials) or not known.items() <= made.user_attrs.items():
        return False
    return all(
        there.params == here.params and there.datetime_start == here.datetime_start
        for there, here in zip(made.trials, trials, strict=False)
    )


def _same(there: Any, here: Any) -> bool:
    """Whether a trial in the storage says what this study says; NaN equals NaN."""
    one, other = (
        {
            "state": trial.state,
            "values": repr(trial.values),
            "curve": {unit: repr(value) for unit, value in trial.intermediate_values.items()},
            "attributes": trial.user_attrs,
            "ended": trial.datetime_complete,
        }
        for trial in (there, here)
    )
    return one == other


def _trial(optuna: Any, study: Study, trial: TrialResult, begun: datetime, is_best: bool) -> Any:
    states = optuna.trial.TrialState
    ended = trial.units[-1].unit if trial.units else 0
    whole = study.about.max_units is not None and ended >= study.about.max_units
    if trial.status == "running":
        state = states.RUNNING
    elif (trial.status in ("diverged", "failed") and not is_best) or trial.best is None:
        state = states.FAIL
    else:
        state = states.COMPLETE if whole or is_best else states.PRUNED
    finite = state in (states.COMPLETE, states.PRUNED)
    finished = None if state == states.RUNNING else trial.finished
    distributions, params = _parameters(optuna, study, trial)
    attributes = {
        "status": trial.status,
        "sampled": values({name: _simple(value) for name, value in trial.sampled.items()}),
        "warm_start": f"{trial.nudge.policy}: {trial.nudge.reason}".rstrip(": "),
        "test": {str(u.unit): u.test for u in trial.units if math.isfinite(u.test)},
    }
    if trial.cause:
        attributes["cause"] = trial.cause
    return optuna.trial.FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=state,
        value=trial.value if finite else None,
        values=None,
        datetime_start=begun + timedelta(seconds=trial.started),
        datetime_complete=None if finished is None else begun + timedelta(seconds=finished),
        params=params,
        distributions=distributions,
        user_attrs=attributes,
        system_attrs={},
        intermediate_values={unit.unit: unit.validation for unit in trial.units},
    )


def _parameters(optuna: Any, study: Study, trial: TrialResult) -> tuple[dict[str, Any], dict[str, Any]]:
    space = study.about.space
    distributions, params = {}, {}
    for name, value in trial.config.items():
        parameter = space[name] if space is not None and name in space else None
        if parameter is None:
            distributions[name], params[name] = _around(optuna, study, name), _simple(value)
        else:
            distributions[name] = _distribution(optuna, parameter)
            params[name] = _simple(value)
    return distributions, params


def _distribution(optuna: Any, parameter: HyperParameter) -> Any:
    kinds = optuna.distributions
    if isinstance(parameter, Categorical):
        return kinds.CategoricalDistribution([_simple(choice) for choice in parameter.choices])
    if isinstance(parameter, Integer):
        return kinds.IntDistribution(parameter.low, parameter.high, log=parameter.log)
    return kinds.FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _around(optuna: Any, study: Study, name: str) -> Any:
    """Return a distribution that holds what was trained, where nobody knows the space."""
    kinds = optuna.distributions
    seen = [trial.config[name] for trial in study.trials if name in trial.config]
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in seen):
        whole = all(isinstance(v, int) for v in seen)
        return (kinds.IntDistribution if whole else kinds.FloatDistribution)(min(seen), max(seen))
    return kinds.CategoricalDistribution(list(dict.fromkeys(_simple(v) for v in seen)))


def _simple(value: Any) -> Any:
    """Return a value as Optuna stores choices: others as the text of what the study's file has."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    described = describe(value)  # the same in every process, and of a study that is read
    return described if isinstance(described, str) else repr(described)


def _moment(created: str) -> datetime:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        moment = datetime(1970, 1, 1, tzinfo=UTC)
    return moment.astimezone().replace(tzinfo=None)  # Optuna's are local, without a zone

"""An Optuna study's trials as a history, and what was recorded of their warm starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hypernudge.integrations._external_history import ExternalHistory, given, nudge_of
from hypernudge.space import Config
from hypernudge.trial import History

RECORD = "hypernudge"  # the user attribute that holds what was sampled and what became of it


class Past:
    """The study's earlier trials as a history, brought up to date instead of rebuilt wherever possible.

    Args:
        recovered: Turns a configuration as it was recorded into what it was.
    """

    def __init__(self, recovered: Callable[[Mapping[str, Any]], Config]) -> None:
        self._recovered = recovered
        self._external = ExternalHistory()
        self._settled = 0  # trials below this number are finished, and noted in full
        self._unknown: set[int] = set()  # noted while nobody knew their values
        self._noted: dict[int, Any] = {}  # what was recorded of those that were not finished yet

    def before(self, study: Study, number: int) -> History:
        """Return the history of the trials below `number`."""
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        trials = sorted(trials, key=lambda trial: trial.number)
        known = any(_is_known(trials[n]) for n in self._unknown)
        corrected = any(_recorded(trials[n]) != record for n, record in self._noted.items())
        if len(self._external) > number or known or corrected:
            self._external, self._settled, self._unknown, self._noted = ExternalHistory(), 0, set(), {}
        trials = trials[:number]
        signs = {StudyDirection.MINIMIZE: -1.0, StudyDirection.MAXIMIZE: 1.0}
        directions = study._storage.get_study_directions(study._study_id)
        sign = signs.get(directions[0]) if len(directions) == 1 else None
        for trial in trials[len(self._external) :]:
            self._start(trial)
            self._noted[trial.number] = _recorded(trial)
        for trial in trials[self._settled :]:
            _scores(self._external, trial, sign)
        while self._settled < len(trials) and trials[self._settled].state.is_finished():
            self._noted.pop(self._settled, None)
            self._settled += 1
        return self._external.history

    def _start(self, trial: FrozenTrial) -> None:
        record = record_in(trial)
        if record is not None:
            nudge = nudge_of({**record, "config": self._recovered(record["config"])})
            self._external.started(self._recovered(record["sampled"]), nudge)
            return
        if not _is_known(trial):
            self._unknown.add(trial.number)
        self._external.started(Config(trial.params), given(trial.params, "the study was told the values"))


def record_in(trial: FrozenTrial) -> dict[str, Any] | None:
    """Return what was recorded of this trial's warm start; None if it had none.

    A retried trial carries the attributes of the one that failed.
    """
    record: dict[str, Any] | None = trial.user_attrs.get(RECORD)
    return record if record is not None and record.get("trial") == trial.number else None


def _recorded(trial: FrozenTrial) -> Any:
    return (record_in(trial) or {}).get("config")


def _is_known(trial: FrozenTrial) -> bool:
    return record_in(trial) is not None or trial.state.is_finished()


def _scores(external: ExternalHistory, trial: FrozenTrial, sign: float | None) -> None:
    """Note a trial's values; Optuna counts steps from 0, a history counts finished units."""
    if sign is None or not trial.state.is_finished():
        return
    final = trial.value if trial.state == TrialState.COMPLETE else None
    steps = sorted(trial.intermediate_values)
    for step in steps:
        last = final is not None and step == steps[-1]
        external.scored(trial.number, step + 1, sign * (final if last else trial.intermediate_values[step]))  # type: ignore[operator]
    if final is not None and not steps:
        external.scored(trial.number, 1, sign * final)
    if trial.state == TrialState.FAIL:
        external.failed(trial.number)

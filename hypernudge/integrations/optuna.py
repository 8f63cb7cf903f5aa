"""Warm starts in an Optuna study: a sampler around the study's own.

Example::

    space = {"lr": FloatDistribution(1e-4, 1.0, log=True), "momentum": FloatDistribution(0.0, 0.99)}
    training = ModuleLoss(model=lambda hp: MLP(), data=train_loader, loss=my_loss)
    sampler = WarmStartSampler(TPESampler, training, space, seed=0)
    study = optuna.create_study(sampler=sampler, storage="sqlite:///study.db", load_if_exists=True)
    study.optimize(objective, n_trials=50)  # the objective stays as it is

The study stores, and its sampler learns from, the nudged values, because those are what was trained.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.integrations._ledger import Ledger, given, nudge_of, record_of
from hypernudge.integrations._nudger import Declared, Nudger
from hypernudge.random import integer
from hypernudge.space import Config
from hypernudge.task import Task
from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import History
from hypernudge.warmstart.base import WarmStart

RECORD = "hypernudge"  # the user attribute that holds what was sampled and what became of it
SamplerSource = BaseSampler | Callable[..., BaseSampler]


class WarmStartSampler(BaseSampler):
    """Nudges what another sampler proposes, once, before the trial starts.

    A trial is left alone where somebody chose its values: enqueued ones, and those that Optuna retries after
    a failure. A nudged trial has a user attribute `hypernudge` with the sampled and the nudged values, the
    reason and the measurements. What was measured is read back from there, so a study that was killed and
    loaded again goes on with what it knew, and workers that share a storage share their measurements.

    Args:
        sampler: The sampler to wrap; or its class (anything callable with `seed=`). A class is instantiated
            anew for every trial, with a seed that belongs to the trial's number, so that a study killed and
            loaded again proposes what it would have proposed. That suits samplers whose only state is their
            generator (random, TPE, GP, NSGA-II); others are passed as instances.
        objective: What is measured: a `ModuleLoss`, or a `GradientTask`.
        space: The distributions that the study's `suggest_...` calls use.
        warm_start: The policy; `Informed()` where None.
        seed: Seed of the warm start, and of the sampler where a class was given.
        names: The study's names to those that policies know, such as `{"learning_rate": "lr"}`.

    Raises:
        InvalidArgumentError: The space, the names or the objective do not fit the policy.
    """

    def __init__(
        self,
        sampler: SamplerSource,
        objective: ModuleLoss | Task,
        space: Mapping[str, BaseDistribution],
        *,
        warm_start: WarmStart | None = None,
        seed: int = 0,
        names: Mapping[str, str] | None = None,
    ) -> None:
        ok = isinstance(sampler, BaseSampler) or callable(sampler)
        require(ok, "sampler", "must be a sampler or its class", sampler, "optuna.samplers.TPESampler, say")
        self._source = sampler
        self._space = dict(space)
        self._nudger = Nudger(objective, declared(space), warm_start, seed, names)
        self._seed = seed
        self._open: dict[int, BaseSampler] = {}
        self._past = _Past()
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def _inner(self, number: int) -> BaseSampler:
        """Return the sampler of a trial: the one that was given, or one with a seed of the trial's own."""
        if isinstance(self._source, BaseSampler):
            return self._source
        with self._lock:
            if number not in self._open:
                self._open[number] = self._source(seed=integer(self._seed, "sampler", number, bits=32))
            return self._open[number]

    def reseed_rng(self) -> None:
        """Reseed the wrapped sampler; one that is made anew for every trial needs no reseeding."""
        if isinstance(self._source, BaseSampler):
            self._source.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Delegate."""
        self._inner(trial.number).before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Delegate, and forget the trial's own sampler."""
        self._inner(trial.number).after_trial(study, trial, state, values)
        self._open.pop(trial.number, None)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the declared space, and what the wrapped sampler infers beyond it."""
        return {**self._inner(trial.number).infer_relative_search_space(study, trial), **self._space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Delegate: a hyper-parameter that was not declared is not nudged."""
        return self._inner(trial.number).sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the wrapped sampler's values, nudged, and note both in the trial."""
        values = self._proposed(study, trial, search_space)
        if trial.system_attrs.get("fixed_params") or any(name in trial.params for name in self._tuned()):
            return values
        with self._lock:
            nudged, nudge = self._nudger(values, self._past.before(study, trial.number))
        record = {"trial": trial.number, "sampled": dict(self._nudger.sampled(values)), **record_of(nudge)}
        # Nothing can be set on a frozen trial; Optuna's own samplers write to the storage, too.
        study._storage.set_trial_user_attr(trial._trial_id, RECORD, record)
        return nudged

    def _tuned(self) -> list[str]:
        return list(self._nudger.declared.parameters)

    def _proposed(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        inner = self._inner(trial.number)
        inferred = inner.infer_relative_search_space(study, trial)
        relative = {name: inferred[name] for name in inferred if search_space.get(name) == inferred[name]}
        values = dict(inner.sample_relative(study, trial, relative))
        for name, distribution in self._space.items():
            if name in search_space and name not in values:
                values[name] = inner.sample_independent(study, trial, name, distribution)
        return values


class _Past:
    """The study's earlier trials as a history, brought up to date instead of rebuilt wherever possible."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._settled = 0  # trials below this number are finished, and noted in full
        self._unknown: set[int] = set()  # noted while nobody knew their values

    def before(self, study: Study, number: int) -> History:
        """Return the history of the trials below `number`."""
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        trials = sorted(trials, key=lambda trial: trial.number)
        if len(self._ledger) > number or any(_is_known(trials[n]) for n in self._unknown):
            self._ledger, self._settled, self._unknown = Ledger(), 0, set()
        trials = trials[:number]
        signs = {StudyDirection.MINIMIZE: -1.0, StudyDirection.MAXIMIZE: 1.0}
        directions = study._storage.get_study_directions(study._study_id)
        sign = signs.get(directions[0]) if len(directions) == 1 else None
        for trial in trials[len(self._ledger) :]:
            self._start(trial)
        for trial in trials[self._settled :]:
            _scores(self._ledger, trial, sign)
        while self._settled < len(trials) and trials[self._settled].state.is_finished():
            self._settled += 1
        return self._ledger.history

    def _start(self, trial: FrozenTrial) -> None:
        record = trial.user_attrs.get(RECORD)
        # A retried trial carries the attributes of the one that failed.
        if record is not None and record.get("trial") == trial.number:
            fields = {key: value for key, value in record.items() if key not in ("trial", "sampled")}
            self._ledger.started(Config(record["sampled"]), nudge_of(fields))
            return
        if not _is_known(trial):
            self._unknown.add(trial.number)
        self._ledger.started(Config(trial.params), given(trial.params, "the study was told the values"))


def _is_known(trial: FrozenTrial) -> bool:
    return RECORD in trial.user_attrs or trial.state.is_finished()


def _scores(ledger: Ledger, trial: FrozenTrial, sign: float | None) -> None:
    """Note a trial's values; Optuna counts steps from 0, a history counts finished units."""
    if sign is None or not trial.state.is_finished():
        return
    final = trial.value if trial.state == TrialState.COMPLETE else None
    steps = sorted(trial.intermediate_values)
    for step in steps:
        last = final is not None and step == steps[-1]
        ledger.scored(trial.number, step + 1, sign * (final if last else trial.intermediate_values[step]))  # type: ignore[operator]
    if final is not None and not steps:
        ledger.scored(trial.number, 1, sign * final)
    if trial.state == TrialState.FAIL:
        ledger.failed(trial.number)


def declared(space: Mapping[str, BaseDistribution]) -> Declared:
    """Return Optuna's distributions as a declared space.

    Raises:
        InvalidArgumentError: Something in `space` is no distribution.
    """
    found = Declared()
    for name, distribution in space.items():
        if isinstance(distribution, FloatDistribution):
            if distribution.step is None:
                found.real(name, distribution.low, distribution.high, distribution.log)
            else:
                found.stepped(name, distribution.low, distribution.high, distribution.step)
        elif isinstance(distribution, IntDistribution):
            found.whole(name, distribution.low, distribution.high, distribution.log)
        elif isinstance(distribution, CategoricalDistribution):
            found.choice(name, distribution.choices)
        else:
            raise InvalidArgumentError(
                f"space.{name}: must be an Optuna distribution, but got {distribution!r}; "
                "write optuna.distributions.FloatDistribution(1e-4, 1.0, log=True), say"
            )
    return found

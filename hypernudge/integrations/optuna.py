"""Warm starts in an Optuna study: a sampler around the study's own.

Example:
    training = ModuleLoss(model=lambda hp: MLP(), data=train_loader, loss=my_loss)
    sampler = WarmStartSampler(TPESampler, training, seed=0)
    study = optuna.create_study(sampler=sampler, storage="sqlite:///study.db", load_if_exists=True)
    study.optimize(objective, n_trials=50)  # the objective stays as it is

The study stores, and its sampler learns from, the nudged values, because those are what was trained.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hypernudge.errors import require
from hypernudge.integrations._adapter import (
    WarmStartAdapter,
    WarmStartArgument,
    check_arguments,
    check_measurable,
    logger,
)
from hypernudge.integrations._external_history import given, record_of
from hypernudge.integrations._external_space import plain
from hypernudge.integrations._optuna.past import RECORD, Past, record_in
from hypernudge.integrations._optuna.samplers import SamplerSource, check, fixed, made
from hypernudge.integrations._optuna.space import FIRST, checked, declared, learned
from hypernudge.parameters import same
from hypernudge.random import integer
from hypernudge.task import Task
from hypernudge.tasks.module import ModuleLoss
from hypernudge.warmstart.requirements import warm_start_of

__all__ = ["RECORD", "SamplerSource", "WarmStartSampler", "declared"]


class WarmStartSampler(BaseSampler):
    """Nudges what another sampler proposes, once, before the trial starts.

    What a `PartialFixedSampler` inside fixes stays. A trial is left alone where somebody chose its values:
    enqueued ones, and those that Optuna retries after a failure. A nudged trial has a user attribute
    `hypernudge` with the sampled and the nudged values, the reason and the measurements. What was measured is
    read back from there, so a study that was killed and loaded again goes on with what it knew, and workers
    that share a storage share their measurements. The record holds what was trained: what the objective
    suggests otherwise than declared, or not at all, is corrected there, and said once in the log.

    Args:
        sampler: The sampler to wrap; or its class (anything callable with `seed=`). A class is instantiated
            anew for every trial, with a seed that belongs to the trial's number, so that a study killed and
            loaded again proposes what it would have proposed. That suits samplers whose only state is their
            generator (random, TPE, GP, NSGA-II); others are passed as instances.
        objective: What is measured: a `ModuleLoss`, or a `GradientTask`. None for a policy that measures
            nothing, such as `Informed` with a prior of past studies.
        space: The distributions that the study's `suggest_...` calls use. Where it is left out, they are what
            the earliest trial that ends well has suggested; trials that begin before stay as sampled.
        warm_start: The policy, or its name; `Informed()` where None.
        seed: Seed of the warm start, and of the sampler where a class was given.
        names: The study's names to those that policies know, such as `{"learning_rate": "lr"}`.

    Raises:
        InvalidArgumentError: The space, the names or the objective do not fit the policy, the sampler goes
            through a grid (`GridSampler`, `BruteForceSampler`), or it fixes what the policy would nudge. A
            space that was left out is judged when the second trial suggests its first value.
    """

    def __init__(
        self,
        sampler: SamplerSource,
        objective: ModuleLoss | Task | None = None,
        space: Mapping[str, BaseDistribution] | None = None,
        *,
        warm_start: WarmStartArgument = None,
        seed: int = 0,
        names: Mapping[str, str] | None = None,
    ) -> None:
        ok = isinstance(sampler, BaseSampler) or callable(sampler)
        require(ok, "sampler", "must be a sampler or its class", sampler, "optuna.samplers.TPESampler, say")
        check_arguments(objective, seed, names)
        self._source, self._seed = sampler, seed
        check(self._example())
        policy = None if warm_start is None else warm_start_of(warm_start)
        check_measurable(objective, policy)
        self._arguments = objective, policy, seed, names
        self._space: dict[str, BaseDistribution] = {}
        self._adapter: WarmStartAdapter | None = None
        self._open: dict[int, BaseSampler] = {}
        self._said: set[tuple[str, str]] = set()
        self._lock = threading.RLock()
        if space is not None:
            self._use(space)

    def _example(self) -> BaseSampler:
        return self._source if isinstance(self._source, BaseSampler) else made(self._source, self._seed_of(0))

    def _use(self, space: Mapping[str, BaseDistribution]) -> None:
        """Take the study's distributions."""
        objective, policy, seed, names = self._arguments
        held = fixed(self._example())
        adapter = WarmStartAdapter(objective, checked(space), policy, seed, names, held)
        self._past = Past(adapter.recovered)
        self._space, self._adapter = dict(space), adapter

    def _seed_of(self, number: int) -> int:
        return integer(self._seed, "sampler", number, bits=32)

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
                self._open[number] = made(self._source, self._seed_of(number))
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
        """Delegate, see to it that the record is what was trained, and forget the trial's own sampler."""
        self._inner(trial.number).after_trial(study, trial, state, values)
        self._open.pop(trial.number, None)
        record = record_in(trial)
        if self._adapter is None and trial.params:
            names = self._arguments[-1] or {}
            drawn = [name for name, of in trial.distributions.items() if not of.single()]
            sampled = {names.get(name, name): trial.params[name] for name in drawn}
            first = record_of(given(sampled, FIRST))
            self._record(study, trial, {"trial": trial.number, "sampled": sampled, **first})
        elif record is not None and self._adapter is not None:
            ended = state in (TrialState.COMPLETE, TrialState.PRUNED)
            absent = [n for n in self._tuned() if n not in trial.params] if ended else []
            self._correct(study, trial, record, trial.params, absent)
            for name in self._tuned():
                if trial.distributions.get(name, self._space[name]) != self._space[name]:
                    self._say_redrawn(name, trial.distributions[name])

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the declared space, and what the wrapped sampler infers beyond it.

        Raises:
            InvalidArgumentError: A space that was learned from the first trial does not fit the policy.
        """
        with self._lock:
            told = learned(study) if self._adapter is None else None
            if told is not None:
                self._use(told)
        return {**self._inner(trial.number).infer_relative_search_space(study, trial), **self._space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Delegate: what was not declared, or declared otherwise than it is suggested, is not nudged.

        Optuna asks again where a value lies outside the distribution that the objective suggests.
        """
        inner = self._inner(trial.number)
        value = inner.sample_independent(study, trial, param_name, param_distribution)
        record = record_in(trial)
        if record is not None and param_name in self._tuned():
            self._correct(study, trial, record, {param_name: value})
            self._say_redrawn(param_name, param_distribution)
        return value

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the wrapped sampler's values, nudged, and note both in the trial."""
        values = self._proposed(study, trial, search_space)
        known = {name: trial.params[name] for name in self._tuned() if name in trial.params}
        chosen = any(not trial.distributions[name].single() for name in known)  # a single value is a constant
        adapter = self._adapter
        if adapter is None or chosen or trial.system_attrs.get("fixed_params"):
            return values
        values |= known
        if len(study.directions) > 1:
            self._say(
                "objectives",
                "study",
                "has several objectives: no score of it reaches the warm start, which goes by what it knew "
                "before; leave it out if that was learned from one of them and the others matter",
            )
        held = {name: values[name] for name in fixed(self._inner(trial.number)) if name in values} | known
        with self._lock:
            nudged, nudge = adapter(values, self._past.before(study, trial.number), held)
        sampled = adapter.sampled(values)
        self._record(study, trial, {"trial": trial.number, "sampled": sampled, **record_of(nudge)})
        return nudged

    def _record(self, study: Study, trial: FrozenTrial, record: Mapping[str, Any]) -> None:
        # Nothing can be set on a frozen trial; Optuna's own samplers write to the storage, too.
        study._storage.set_trial_user_attr(trial._trial_id, RECORD, plain(record))

    def _correct(
        self,
        study: Study,
        trial: FrozenTrial,
        record: Mapping[str, Any],
        trained: Mapping[str, Any],
        absent: Sequence[str] = (),
    ) -> None:
        """Write down what was trained where that is not what was nudged: names and values are Optuna's."""
        sampled, config = dict(record["sampled"]), dict(record["config"])
        ours = {name: self._adapter.ours(name) for name in self._tuned()} if self._adapter else {}
        other = {
            ours[name]: plain(trained[name])
            for name in ours
            if name in trained and not _close(plain(trained[name]), config.get(ours[name]))
        }
        left_out = [ours[name] for name in absent if ours[name] in config]
        if not other and not left_out:
            return
        reason = record["reason"]
        if other:
            reason += f"; {', '.join(other)} drawn anew, for another distribution than the declared one"
        if left_out:
            reason += f"; without {', '.join(left_out)}, which the trial did not suggest"
            for name in absent:
                self._say_absent(name, trial)
        sampled, config = ({n: v for n, v in part.items() if n not in left_out} for part in (sampled, config))
        sampled, config = sampled | other, config | other
        fields = {"sampled": sampled, "config": config, "changed": config != sampled, "reason": reason}
        if other:
            fields |= {"flagged": True, "z": None, "kind": "out_of_bounds"}
        self._record(study, trial, {**record, **fields})

    def _say_redrawn(self, name: str, suggested: BaseDistribution) -> None:
        self._say(
            "redrawn",
            f"space.{name}",
            f"declared as {self._space[name]}, but suggested as {suggested}: what lies outside is drawn "
            "anew, and not nudged; declare what the objective suggests",
        )

    def _say_absent(self, name: str, trial: FrozenTrial) -> None:
        self._say(
            "absent",
            f"space.{name}",
            f"declared, but not suggested by trial {trial.number}, which suggested {sorted(trial.params)}: "
            "left out of its record; if no trial suggests it, declare it under the objective's name",
        )

    def _say(self, kind: str, name: str, what: str) -> None:
        """Log something once."""
        with self._lock:
            if (kind, name) not in self._said:
                self._said.add((kind, name))
                logger.warning("%s: %s", name, what)

    def _tuned(self) -> list[str]:
        return list(self._adapter.declared.parameters) if self._adapter is not None else []

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


def _close(a: Any, b: Any) -> bool:
    """Whether two recorded values are the same; storages may round a float."""
    numbers = all(isinstance(value, int | float) for value in (a, b))
    return same(a, b) or (numbers and math.isclose(a, b, rel_tol=1e-9))

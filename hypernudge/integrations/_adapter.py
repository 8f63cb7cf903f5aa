"""Warm starts for other tools: translates names and values, and lets `WarmStartRunner` do the rest."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
import weakref
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch

from hypernudge.errors import InvalidArgumentError, is_whole, require, shown
from hypernudge.integrations._external_space import ExternalSpace, recovered
from hypernudge.optimizers import check_rule
from hypernudge.parameters import same
from hypernudge.random import Streams
from hypernudge.space import Config, SearchSpace, Value
from hypernudge.task import GradientTask, Split, Task
from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.base import NoWarmStart, WarmStart
from hypernudge.warmstart.failures import LEFT, log_failure, total_failure
from hypernudge.warmstart.policies.informed import Informed
from hypernudge.warmstart.requirements import check_warm_start, warm_start_of
from hypernudge.warmstart.runner import WarmStartRunner

WarmStartArgument = WarmStart | str | Mapping[str, Any] | None
logger = logging.getLogger("hypernudge.integrations")


class WarmStartAdapter:
    """A warm start for the configurations of another tool.

    Args:
        objective: A `ModuleLoss`, or a task of one's own; None for a policy that measures nothing.
        declared: The tool's search space.
        warm_start: The policy, or its name as in YAML; `Informed()` where None.
        seed: Seed of everything random in the warm start.
        names: The tool's names of hyper-parameters to those that policies know (`lr`, `momentum`,
            `weight_decay`), where they differ.
        held: Values that are the same for all trials, whatever the space says.

    Raises:
        InvalidArgumentError: The space is empty, `names` names something that is not in it, or the policy
            could nudge nothing here.
    """

    def __init__(
        self,
        objective: ModuleLoss | Task | None,
        declared: ExternalSpace,
        warm_start: WarmStartArgument = None,
        seed: int = 0,
        names: Mapping[str, str] | None = None,
        held: Mapping[str, Any] | None = None,
    ) -> None:
        check_arguments(objective, seed, names)
        self.declared = declared
        self.policy = Informed() if warm_start is None else warm_start_of(warm_start)
        check_measurable(objective, self.policy)
        self.streams = Streams(int(seed))
        self._ours = dict(names or {})
        unknown = sorted(set(self._ours) - set(declared.parameters))
        known = list(declared.parameters)
        require(not unknown, "names", f"must name hyper-parameters of {known}", unknown, "correct them")
        ours = [self._ours.get(name, name) for name in declared.parameters]
        rule = f"must give each hyper-parameter of {known} a name of its own"
        require(len(set(ours)) == len(ours), "names", rule, self._ours, "rename one")
        self._theirs = {ours: theirs for theirs, ours in self._ours.items()}
        self.space = self._space({})
        self.objective = Untold(self.space) if objective is None else objective
        self._check(held or {})
        self._check_loss()
        self._seen: list[tuple[History, int, Nudge]] = []  # the last trial: its past, number and nudge
        weakref.finalize(self, _say_at_the_end, self._seen)

    def _check(self, held: Mapping[str, Any]) -> None:
        space = self._space(held)
        try:
            check_warm_start(self.policy, space, self._task({}, space))
        except InvalidArgumentError as error:
            fixed = [name for name in held if name in self.declared.parameters]
            raise InvalidArgumentError(
                f"{error} (fixed by the sampler: {fixed})" if fixed else str(error)
            ) from None

    def _check_loss(self) -> None:
        """Refuse a task of one's own whose loss needs what the tool does not declare."""
        task = self.objective
        if not isinstance(task, GradientTask) or isinstance(self.policy, NoWarmStart):
            return
        absent = [name for name in task.space.names if name not in self.space]
        if not absent:
            return
        middle = self.space.middle()
        try:
            with torch.no_grad():
                task.loss(task.init(0), task.batch(0, 0), middle)
        except KeyError as error:
            needed = error.args[0] if error.args else None
            rule = f"must be measurable with what is declared, {list(self.space.names)}"
            ok, remedy = needed not in absent, "declare it, or pass names= where it has another name there"
            require(ok, "objective", rule, f"a loss that reads {needed!r}", remedy)
        except Exception:  # is said with its cause at the first trial
            return

    def _space(self, held: Mapping[str, Any]) -> SearchSpace:
        """Return the declared space under the policies' names, some values held fixed."""
        declared = self.declared.held(held) if held else self.declared
        ours = ((self._ours.get(name, name), p) for name, p in declared.parameters.items())
        return SearchSpace([dataclasses.replace(parameter, name=name) for name, parameter in ours])

    def _task(self, values: Mapping[str, Any], space: SearchSpace) -> Task:
        """Return what a measurement differentiates, at one configuration; its space is the declared one."""
        if isinstance(self.objective, ModuleLoss):
            return self.objective.task(space, values, self._theirs)
        if self.objective.space == space:
            return self.objective
        task = copy.copy(self.objective)  # one set of counted FLOPs, another space
        try:
            task.space = space
        except AttributeError:
            raise InvalidArgumentError(
                "objective: its space must be the declared one where it cannot be set, "
                f"but got {shown(task.space.names)}; declare the same ranges"
            ) from None
        return task

    def sampled(self, values: Mapping[str, Any]) -> Config:
        """Return what of `values` the space knows, under the policies' names."""
        known = [name for name in self.declared.parameters if name in values]
        return Config({self._ours.get(name, name): self.declared.own(name, values[name]) for name in known})

    def recovered(self, config: Mapping[str, Any]) -> Config:
        """Return the configuration that a record holds in plain values."""
        parameters = {parameter.name: parameter for parameter in self.space}
        return Config({name: recovered(value, parameters.get(name)) for name, value in config.items()})

    def ours(self, name: str) -> str:
        """Return the policies' name of one of the tool's hyper-parameters."""
        return self._ours.get(name, name)

    def theirs(self, name: str) -> str:
        """Return the tool's name of a hyper-parameter."""
        return self._theirs.get(name, name)

    def __call__(
        self, values: Mapping[str, Any], history: History, held: Mapping[str, Any] = MappingProxyType({})
    ) -> tuple[dict[str, Any], Nudge]:
        """Return `values`, nudged and inside their bounds, and the nudge.

        The trial's number is `len(history.trials)`. A measurement that fails or is not finite leaves the
        values as they were; the nudge says so, and so does the log.

        Args:
            values: What was sampled, under the tool's names, with whatever is constant beside it.
            history: The trials before.
            held: Values among them that somebody fixed: they stay, and the policy knows it.

        Raises:
            InvalidArgumentError: The policy cannot work with this space or objective.
        """
        sampled = self.sampled(values)
        nudge = self._nudged(values, sampled, history, held)
        self._seen[:] = [(history, len(history.trials), nudge)]
        if nudge.flagged and (nudge.kind != "finite_differences" or not history.trials):
            log_failure(logger, nudge, history)
        changed = {
            self.theirs(name): value for name, value in nudge.config.items() if not same(value, sampled[name])
        }
        return {**values, **changed}, nudge

    def _nudged(
        self, values: Mapping[str, Any], sampled: Config, history: History, held: Mapping[str, Any]
    ) -> Nudge:
        space = self._space(held) if held else self.space
        missing = [name for name in space.names if name not in sampled]
        outside = [name for name in sampled if not space[name].contains(sampled[name])]
        if missing or outside:  # the policy is not asked, so it has not failed
            what = f"without {missing}" if missing else f"with {outside} out of bounds"
            return Nudge(sampled, "none", flagged=True, reason=f"sampled {what}{LEFT}", kind="out_of_bounds")

        def fit(config: Config) -> Config:
            return Config({name: self._allowed(name, config[name], sampled[name]) for name in sampled})

        runner = WarmStartRunner(self.policy, self._task(values, space), self.streams)
        return runner(sampled, history, fit=fit, refuse_misuse=True)

    def _allowed(self, name: str, value: Value, sampled: Value) -> Value:
        return sampled if same(value, sampled) else self.declared.snapped(self.theirs(name), value)


def check_arguments(objective: Any, seed: Any, names: Any) -> None:
    """Refuse what can be told before the search space is known.

    Raises:
        InvalidArgumentError: For an objective that is neither None nor a `ModuleLoss` nor a task, a seed that
            is no whole number, or names that are no mapping of texts.
    """
    ok = objective is None or (isinstance(objective, ModuleLoss | Task) and not isinstance(objective, type))
    remedy = "write ModuleLoss(model, data, loss)"
    require(ok, "objective", "must be a ModuleLoss or a task", objective, remedy)
    if isinstance(objective, GradientTask):
        check_rule(objective.optimizer, "objective.optimizer")
    require(is_whole(seed), "seed", "must be a whole number", seed, "0, say")
    mapping = isinstance(names, Mapping) and all(isinstance(n, str) for pair in names.items() for n in pair)
    remedy = "{'learning_rate': 'lr'}, say"
    require(names is None or mapping, "names", "must map names to names", names, remedy)


def check_measurable(objective: Any, policy: WarmStartArgument) -> None:
    """Refuse to leave out the objective where the policy, `Informed()` if None, would measure it.

    Raises:
        InvalidArgumentError: Naming the objective.
    """
    asked = Informed() if policy is None else warm_start_of(policy)
    ok = objective is not None or not (isinstance(asked, Informed) and asked.measures)
    remedy = "write ModuleLoss(model, data, loss), or Informed(prior=...) with a prior of past studies"
    require(ok, "objective", "must be there for a policy that probes its loss", objective, remedy)


class Untold:
    """What is tuned, where nobody says more of it than its space.

    Args:
        space: The declared one.
    """

    name, family = "", ""
    metric, metric_range = "score", (-math.inf, math.inf)

    def __init__(self, space: SearchSpace) -> None:
        self.space = space

    def start(self, seed: int) -> Any:
        """Refuse: it is trained elsewhere."""
        raise NotImplementedError("the other tool trains it")

    def advance(self, state: Any, hp: Mapping[str, Value]) -> bool:
        """Refuse: it is trained elsewhere."""
        raise NotImplementedError("the other tool trains it")

    def evaluate(self, state: Any, split: Split) -> float:
        """Refuse: it is trained elsewhere."""
        raise NotImplementedError("the other tool trains it")

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Refuse: nobody knows."""
        raise NotImplementedError("the other tool trains it")


def _say_at_the_end(seen: list[tuple[History, int, Nudge]]) -> None:
    """Log a warm start that failed wherever it was tried, once no trial can come any more."""
    for history, number, nudge in seen:
        coming = nudge if number == len(history.trials) else None  # most tools have noted it by now
        failure = total_failure(history, coming)
        if failure:
            logger.warning("%s", failure)

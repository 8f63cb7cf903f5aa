"""What all integrations share: one configuration in the tool's words in, the nudged one out."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.optimizers import check_rule
from hypernudge.random import Streams
from hypernudge.space import Categorical, Config, HyperParameter, Integer, Real, SearchSpace, Value
from hypernudge.task import GradientTask, Task
from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import History, Nudge
from hypernudge.warmstart.base import WarmStart
from hypernudge.warmstart.informed import Informed
from hypernudge.warmstart.requirements import check_warm_start, warm_start_of

WarmStartArgument = WarmStart | str | Mapping[str, Any] | None
logger = logging.getLogger("hypernudge.integrations")


@dataclass
class Declared:
    """A search space as another tool declares it, under that tool's own names.

    What a warm start can make nothing of (an unbounded normal, a function) is left out, and passes through.
    """

    parameters: dict[str, HyperParameter] = field(default_factory=dict)
    values: dict[str, tuple[float, ...]] = field(default_factory=dict)  # the allowed ones, where few are

    def real(self, name: str, low: float, high: float, log: bool = False) -> None:
        """Add a continuous hyper-parameter; a range of one value is a constant and is left out."""
        if low < high:
            self.parameters[name] = Real(name, float(low), float(high), log)

    def whole(self, name: str, low: int, high: int, log: bool = False) -> None:
        """Add an integer, both bounds included."""
        if low < high:
            self.parameters[name] = Integer(name, int(low), int(high), log)

    def choice(self, name: str, choices: Sequence[Any]) -> None:
        """Add a categorical one."""
        if len(choices) > 1:
            self.parameters[name] = Categorical(name, tuple(choices))

    def stepped(self, name: str, low: float, high: float, step: float) -> None:
        """Add a continuous one of which only every `step` from `low` is allowed."""
        count = math.floor((high - low) / step + 1e-9)
        self.listed(name, tuple(low + index * step for index in range(count + 1)))

    def listed(self, name: str, values: Sequence[float], log: bool = False) -> None:
        """Add a continuous one of which only `values`, ascending, are allowed."""
        self.real(name, values[0], values[-1], log)
        self.values[name] = tuple(values)

    def snapped(self, name: str, value: Value) -> Value:
        """Return the nearest allowed value."""
        parameter = self.parameters[name]
        if not isinstance(parameter, Real) or isinstance(value, str):
            return value
        value = parameter.clip(float(value))
        allowed = self.values.get(name)
        if allowed is None:
            return value
        return min(allowed, key=lambda option: abs(parameter.warp(option) - parameter.warp(value)))


class Nudger:
    """A warm start for the configurations of another tool.

    Args:
        objective: A `ModuleLoss`, or a task of one's own.
        declared: The tool's search space.
        warm_start: The policy, or its name as in YAML; `Informed()` where None.
        seed: Seed of everything random in the warm start.
        names: The tool's names of hyper-parameters to those that policies know (`lr`, `momentum`,
            `weight_decay`), where they differ.

    Raises:
        InvalidArgumentError: The space is empty, or `names` names something that is not in it.
    """

    def __init__(
        self,
        objective: ModuleLoss | Task,
        declared: Declared,
        warm_start: WarmStartArgument = None,
        seed: int = 0,
        names: Mapping[str, str] | None = None,
    ) -> None:
        ok = isinstance(objective, ModuleLoss | Task) and not isinstance(objective, type)
        require(
            ok,
            "objective",
            "must be a ModuleLoss or a task",
            objective,
            "write ModuleLoss(model, data, loss)",
        )
        if isinstance(objective, GradientTask):
            check_rule(objective.optimizer, "objective.optimizer")
        self.objective = objective
        self.declared = declared
        self.policy = Informed() if warm_start is None else warm_start_of(warm_start)
        whole = isinstance(seed, int) and not isinstance(seed, bool)
        require(whole, "seed", "must be a whole number", seed, "0, say")
        self.streams = Streams(seed)
        self._ours = dict(names or {})
        unknown = sorted(set(self._ours) - set(declared.parameters))
        known = list(declared.parameters)
        require(not unknown, "names", f"must name hyper-parameters of {known}", unknown, "correct them")
        self._theirs = {ours: theirs for theirs, ours in self._ours.items()}
        self.space = SearchSpace(
            [
                dataclasses.replace(parameter, name=self._ours.get(name, name))
                for name, parameter in declared.parameters.items()
            ]
        )
        check_warm_start(self.policy, self.space, self._task({}))

    def _task(self, values: Mapping[str, Any]) -> Task:
        """Return what a measurement differentiates, at one configuration."""
        if isinstance(self.objective, ModuleLoss):
            return self.objective.task(self.space, values, self._theirs)
        return self.objective

    def sampled(self, values: Mapping[str, Any]) -> Config:
        """Return what of `values` the space knows, under the policies' names."""
        return Config(
            {
                self._ours.get(name, name): _plain(values[name])
                for name in self.declared.parameters
                if name in values
            }
        )

    def __call__(self, values: Mapping[str, Any], history: History) -> tuple[dict[str, Any], Nudge]:
        """Return `values`, nudged and inside their bounds, and the nudge.

        The trial's number is `len(history.trials)`. A measurement that fails or is not finite leaves the
        values as they were; the nudge says so, and so does the log.

        Raises:
            InvalidArgumentError: The policy cannot work with this space or objective.
        """
        sampled = self.sampled(values)
        begun = time.perf_counter()
        nudge = self._measured(values, sampled, history)
        nudge = dataclasses.replace(nudge, wall_seconds=time.perf_counter() - begun)
        if nudge.flagged:
            logger.warning("warm start of trial %d: %s", len(history.trials), nudge.reason)
        changed = {
            self._theirs.get(name, name): value
            for name, value in nudge.config.items()
            if value != sampled[name]
        }
        return {**values, **changed}, nudge

    def _measured(self, values: Mapping[str, Any], sampled: Config, history: History) -> Nudge:
        policy = type(self.policy).__name__
        missing = [name for name in self.space.names if name not in sampled]
        outside = [name for name in sampled if not self.space[name].contains(sampled[name])]
        if missing or outside:
            what = f"without {missing}" if missing else f"with {outside} out of bounds"
            return Nudge(sampled, policy, flagged=True, reason=f"sampled {what}: left as sampled")
        try:
            nudge = self.policy(self._task(values), sampled, history, self.streams)
        except InvalidArgumentError:
            raise
        except (
            Exception
        ) as error:  # a user's model or loss may raise anything; the trial must start all the same
            reason = f"the measurement raised {type(error).__name__}: {error}: left as sampled"
            return Nudge(sampled, policy, flagged=True, reason=reason)
        config = {
            name: self.declared.snapped(self._theirs.get(name, name), nudge.config[name])
            if nudge.config[name] != sampled[name]
            else sampled[name]
            for name in sampled
        }
        if not all(self.space[name].contains(value) for name, value in config.items()):
            reason = f"the policy left the space ({nudge.config}): left as sampled"
            return dataclasses.replace(nudge, config=sampled, changed=False, flagged=True, reason=reason)
        final = Config(config)
        return dataclasses.replace(nudge, config=final, changed=final != sampled)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value

"""Warm starts in NePS: a wrapper around the optimizer, for `neps.AskAndTell`.

Example::

    class Space(neps.PipelineSpace):
        lr = neps.Float(1e-4, 1.0, log=True)
        epochs = neps.IntegerFidelity(1, 27)

    training = ModuleLoss(model=lambda hp: MLP(), data=train_loader, loss=my_loss)
    optimizer = warm_started(neps.algorithms.priorband(Space()), training, Space(), seed=0)
    tuner = neps.AskAndTell(optimizer=optimizer)

NePS hands its optimizer the trials as they were told, so it learns from the nudged values, and promotions
inherit them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import neps

from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations._ledger import Ledger
from hypernudge.integrations._nudger import Declared, Nudger
from hypernudge.task import Task
from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import History
from hypernudge.warmstart.base import WarmStart

# The `neps_...` algorithms write every draw under its path: "SAMPLING__Resolvable.lr::float__..."
SAMPLED = "SAMPLING__Resolvable."
ENVIRONMENT = "ENVIRONMENT__"


def warm_started(
    optimizer: Any,
    objective: ModuleLoss | Task,
    space: Any,
    *,
    warm_start: WarmStart | None = None,
    seed: int = 0,
    names: Mapping[str, str] | None = None,
) -> WarmStartAsk:
    """Return `optimizer`, nudging each new configuration once; promotions keep theirs.

    Args:
        optimizer: What an algorithm of `neps.algorithms` returned, or any other ask function.
        objective: What is measured: a `ModuleLoss`, or a `GradientTask`.
        space: The optimizer's `neps.PipelineSpace` or `neps.SearchSpace`.
        warm_start: The policy; `Informed()` where None.
        seed: Seed of the warm start.
        names: The space's names to those that policies know, such as `{"learning_rate": "lr"}`.

    Raises:
        InvalidArgumentError: The space, the names or the objective do not fit the policy.
    """
    spaced = declared(space)
    return WarmStartAsk(optimizer, Nudger(objective, spaced, warm_start, seed, names), fidelity(space))


class WarmStartAsk:
    """An ask function whose new configurations are nudged; everything else is the wrapped one's.

    `history` holds what was sampled, what was trained, and why.
    """

    def __init__(self, optimizer: Any, nudger: Nudger, fidelity: tuple[str | None, int | None]) -> None:
        self.optimizer = optimizer
        self._nudger = nudger
        self._fidelity, horizon = fidelity
        self._ledger = Ledger(horizon)
        self._numbers: dict[str, int] = {}
        self._told: set[str] = set()

    @property
    def history(self) -> History:
        """The trials so far: sampled and nudged configurations, and scores by fidelity."""
        return self._ledger.history

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "optimizer":  # while it is being copied, there is none yet
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __call__(self, trials: Mapping[str, Any], budget_info: Any, n: int | None = None) -> Any:
        """Return the wrapped function's configurations; those that start a trial are nudged."""
        self._listen(trials)
        asked = self.optimizer(trials, budget_info, n)
        if isinstance(asked, Sequence):
            return [self._started(sampled) for sampled in asked]
        return self._started(asked)

    def _started(self, sampled: Any) -> Any:
        if sampled.previous_config_id is not None:
            if sampled.previous_config_id in self._numbers:
                self._numbers[sampled.id] = self._numbers[sampled.previous_config_id]
            return sampled
        plain = _Plain(self._nudger.declared, sampled.config)
        values, nudge = self._nudger(plain.values, self._ledger.history)
        self._numbers[sampled.id] = self._ledger.started(self._nudger.sampled(plain.values), nudge)
        return dataclasses.replace(sampled, config=plain.back(values))

    def _listen(self, trials: Mapping[str, Any]) -> None:
        for name, trial in trials.items():
            if name in self._told or name not in self._numbers or trial.report is None:
                continue
            self._told.add(name)
            loss = trial.report.objective_to_minimize
            if isinstance(loss, int | float):
                unit = _value(trial.config, self._fidelity)
                self._ledger.scored(self._numbers[name], max(1, round(unit)), -float(loss))
            elif trial.report.err is not None:
                self._ledger.failed(self._numbers[name])


class _Plain:
    """A configuration by plain names and values, whichever of its two forms NePS wrote it in."""

    def __init__(self, space: Declared, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._choices = {
            name: list(parameter.choices)
            for name, parameter in space.parameters.items()
            if hasattr(parameter, "choices")
        }
        self.keys = {_name(key): key for key in config}
        self.values = {
            name: self._choices[name][config[key]] if self._by_index(name) else config[key]
            for name, key in self.keys.items()
        }

    def _by_index(self, name: str) -> bool:
        return name in self._choices and self.keys[name].startswith(SAMPLED)

    def back(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values in the form they came in."""
        return {
            **self._config,
            **{
                key: self._choices[name].index(values[name]) if self._by_index(name) else values[name]
                for name, key in self.keys.items()
            },
        }


def _name(key: str) -> str:
    return key.removeprefix(ENVIRONMENT).removeprefix(SAMPLED).split("::")[0]


def _value(config: Mapping[str, Any], name: str | None) -> float:
    return next((float(value) for key, value in config.items() if _name(key) == name), 1.0)


def _parts(space: Any) -> dict[str, Any]:
    if isinstance(space, neps.PipelineSpace):
        return dict(space.get_attrs())
    if isinstance(space, Mapping):  # a SearchSpace is one
        return dict(space)
    raise InvalidArgumentError(
        f"space: must be a neps.PipelineSpace or neps.SearchSpace, but got {space!r}; pass the optimizer's"
    )


def fidelity(space: Any) -> tuple[str | None, int | None]:
    """Return the name of the space's fidelity and its largest value, if it has one."""
    found = ((name, max(1, round(part.upper))) for name, part in _parts(space).items() if _is_fidelity(part))
    return next(found, (None, None))


def declared(space: Any) -> Declared:
    """Return a NePS space as a declared one; fidelities, constants and architectures are left out.

    Raises:
        InvalidArgumentError: `space` is neither a `neps.PipelineSpace` nor a `neps.SearchSpace`.
    """
    found = Declared()
    for name, part in _parts(space).items():
        if _is_fidelity(part):
            continue
        if isinstance(part, neps.Float | neps.HPOFloat):
            found.real(name, part.lower, part.upper, bool(part.log))
        elif isinstance(part, neps.Integer | neps.HPOInteger):
            found.whole(name, part.lower, part.upper, bool(part.log))
        elif isinstance(part, neps.Categorical | neps.HPOCategorical) and isinstance(
            part.choices, list | tuple
        ):
            found.choice(name, part.choices)
    return found


def _is_fidelity(part: Any) -> bool:
    return isinstance(part, neps.Fidelity) or bool(getattr(part, "is_fidelity", False))

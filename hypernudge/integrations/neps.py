"""Warm starts in NePS: a wrapper around the optimizer, for `neps.AskAndTell`.

Example:
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

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.integrations._adapter import WarmStartAdapter, WarmStartArgument
from hypernudge.integrations._external_history import ExternalHistory
from hypernudge.integrations._external_space import ExternalSpace, check_not_empty, check_space
from hypernudge.parameters import Categorical, same
from hypernudge.task import Task
from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import History

# The `neps_...` algorithms write every draw under its path: "SAMPLING__Resolvable.lr::float__..."
SAMPLED = "SAMPLING__Resolvable."
ENVIRONMENT = "ENVIRONMENT__"


def warm_started(
    optimizer: Any,
    objective: ModuleLoss | Task | None,
    space: Any,
    *,
    warm_start: WarmStartArgument = None,
    seed: int = 0,
    names: Mapping[str, str] | None = None,
) -> WarmStartAsk:
    """Return `optimizer`, nudging each new configuration once; promotions keep theirs.

    Args:
        optimizer: What an algorithm of `neps.algorithms` returned, or any other ask function.
        objective: What is measured: a `ModuleLoss`, or a `GradientTask`. None for a policy that measures
            nothing, such as `Informed` with a prior of past studies.
        space: The optimizer's `neps.PipelineSpace` or `neps.SearchSpace`.
        warm_start: The policy, or its name; `Informed()` where None.
        seed: Seed of the warm start.
        names: The space's names to those that policies know, such as `{"learning_rate": "lr"}`.

    Raises:
        InvalidArgumentError: The space, the names or the objective do not fit the policy, `space` is not the
            one that the optimizer searches, or it searches a grid.
    """
    ok = callable(optimizer) and not isinstance(optimizer, type)
    require(ok, "optimizer", "must be an optimizer", optimizer, "neps.algorithms.priorband(space), say")
    kind = type(optimizer).__name__
    rule = "must draw its configurations: a nudge would move the points of a grid"
    require(kind != "GridSearch", "optimizer", rule, kind, "leave it without a warm start")
    nudged = isinstance(optimizer, WarmStartAsk)
    require(not nudged, "optimizer", "must not be nudged already", optimizer, "wrap the one inside it")
    spaced = declared(space)
    remedy = "neps.Float(1e-4, 1.0, log=True), say"
    check_not_empty("space", space, spaced, remedy)
    searched = getattr(optimizer, "space", None) or getattr(optimizer, "_pipeline", None)
    if isinstance(searched, neps.PipelineSpace | neps.SearchSpace):
        check_space("space", spaced, declared(searched))
    adapter = WarmStartAdapter(objective, spaced, warm_start, seed, names)
    return WarmStartAsk(optimizer, adapter, fidelity(space), _choices(space))


class WarmStartAsk:
    """An ask function whose new configurations are nudged; everything else is the wrapped one's.

    `history` holds what was sampled, what was trained, and why. `warm_started` makes it.

    Args:
        optimizer: The wrapped ask function.
        adapter: Nudges a configuration.
        fidelity: Name of the fidelity and its largest value, in units of training; None where there is none.
        choices: Values of each categorical, by name.
    """

    def __init__(
        self,
        optimizer: Any,
        adapter: WarmStartAdapter,
        fidelity: tuple[str | None, int | None],
        choices: Mapping[str, list[Any]],
    ) -> None:
        self.optimizer = optimizer
        self._adapter = adapter
        self._choices = choices
        self._fidelity, max_units = fidelity
        self._external = ExternalHistory(max_units)
        self._numbers: dict[str, int] = {}
        self._told: set[str] = set()

    @property
    def history(self) -> History:
        """The trials so far: sampled and nudged configurations, and scores by fidelity."""
        return self._external.history

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
        plain = _Plain(self._choices, sampled.config)
        values, nudge = self._adapter(plain.values, self._external.history)
        self._numbers[sampled.id] = self._external.started(self._adapter.sampled(plain.values), nudge)
        return dataclasses.replace(sampled, config=plain.back(values))

    def _listen(self, trials: Mapping[str, Any]) -> None:
        for name, trial in trials.items():
            if name in self._told or name not in self._numbers or trial.report is None:
                continue
            self._told.add(name)
            loss = trial.report.objective_to_minimize
            if isinstance(loss, int | float):
                unit = _value(trial.config, self._fidelity)
                self._external.scored(self._numbers[name], max(1, round(unit)), -float(loss))
            elif trial.report.err is not None:
                self._external.failed(self._numbers[name])


class _Plain:
    """A configuration by plain names and values, whichever of its two forms NePS wrote it in."""

    def __init__(self, choices: Mapping[str, list[Any]], config: Mapping[str, Any]) -> None:
        self._config, self._choices = dict(config), choices
        self.keys = {_name(key): key for key in config}
        self.values = {
            name: choices[name][config[key]] if self._by_index(name) else config[key]
            for name, key in self.keys.items()
        }

    def _by_index(self, name: str) -> bool:
        return name in self._choices and self.keys[name].startswith(SAMPLED)

    def back(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return values in the form they came in."""
        changed = {name: key for name, key in self.keys.items() if not same(values[name], self.values[name])}
        return {**self._config, **{key: self._written(name, values[name]) for name, key in changed.items()}}

    def _written(self, name: str, value: Any) -> Any:
        return Categorical(name, tuple(self._choices[name])).index(value) if self._by_index(name) else value


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


def _choices(space: Any) -> dict[str, list[Any]]:
    found = ((name, getattr(part, "choices", None)) for name, part in _parts(space).items())
    return {name: list(choices) for name, choices in found if isinstance(choices, list | tuple)}


def fidelity(space: Any) -> tuple[str | None, int | None]:
    """Return the name of the space's fidelity and its largest value, if it has one."""
    found = ((name, max(1, round(part.upper))) for name, part in _parts(space).items() if _is_fidelity(part))
    return next(found, (None, None))


def declared(space: Any) -> ExternalSpace:
    """Return a NePS space as a declared one; fidelities, constants and architectures are left out.

    Raises:
        InvalidArgumentError: `space` is neither a `neps.PipelineSpace` nor a `neps.SearchSpace`.
    """
    found = ExternalSpace()
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

"""Warm starts in Syne Tune: one line around the scheduler.

Example:
    config_space = {"lr": loguniform(1e-4, 1.0), "momentum": uniform(0.0, 0.99), "epochs": 27}
    training = ModuleLoss(model=lambda hp: MLP(), data=train_loader, loss=my_loss)
    scheduler = warm_started(ASHA(config_space, metric="loss", max_t=27), training, config_space, seed=0)
    Tuner(trial_backend=backend, scheduler=scheduler, ...).run()

Schedulers hand the configuration that was trained to their searcher with every result, so the searcher
learns from the nudged values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syne_tune.optimizer.scheduler import TrialScheduler, TrialSuggestion

from hypernudge.errors import require
from hypernudge.integrations._adapter import WarmStartAdapter, WarmStartArgument
from hypernudge.integrations._domains import add_domain
from hypernudge.integrations._external_history import ExternalHistory, given
from hypernudge.integrations._external_space import ExternalSpace, check_mapping, check_not_empty, check_space
from hypernudge.task import Task
from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import History


def warm_started(
    scheduler: Any,
    objective: ModuleLoss | Task | None,
    config_space: Mapping[str, Any],
    *,
    warm_start: WarmStartArgument = None,
    seed: int = 0,
    names: Mapping[str, str] | None = None,
) -> Any:
    """Return `scheduler`, nudging each new configuration once.

    Trials that are resumed, or that start from another trial's checkpoint, keep the configuration they have,
    and so do the `points_to_evaluate` that a user chose.

    Args:
        scheduler: A scheduler of Syne Tune 0.15 or later, or of 0.14, the legacy ones included.
        objective: What is measured: a `ModuleLoss`, or a `GradientTask`. None for a policy that measures
            nothing, such as `Informed` with a prior of past studies.
        config_space: The scheduler's.
        warm_start: The policy, or its name; `Informed()` where None.
        seed: Seed of the warm start.
        names: The space's names to those that policies know, such as `{"learning_rate": "lr"}`.

    Returns:
        A `WarmStartScheduler`. The legacy schedulers of 0.14 register what their searcher's `get_config`
        returned before `suggest` returns it: there the searcher is changed in place, and the scheduler itself
        comes back.

    Raises:
        InvalidArgumentError: The space, the names or the objective do not fit the policy, `config_space` is
            not the one that the scheduler searches, or it searches a grid.
    """
    searcher: Any = getattr(scheduler, "searcher", None)
    _check(scheduler, searcher)
    remedy = "the scheduler's config_space, {'lr': loguniform(1e-4, 1.0)}, say"
    check_mapping("config_space", config_space, "domains", remedy)
    given = declared(config_space)
    check_not_empty("config_space", config_space, given, remedy)
    searched = getattr(scheduler, "config_space", None) or getattr(searcher, "config_space", None)
    if isinstance(searched, Mapping):
        check_space("config_space", given, declared(searched))
    adapter = WarmStartAdapter(objective, given, warm_start, seed, names)
    starts = _Starts(adapter, getattr(scheduler, "max_t", None))
    if hasattr(searcher, "get_config"):
        searcher.get_config = _NudgedGetConfig(searcher, searcher.get_config, starts)
        return scheduler
    return WarmStartScheduler(scheduler, starts)


def _check(scheduler: Any, searcher: Any) -> None:
    """Refuse what is no scheduler, or goes through a grid."""
    ok = hasattr(scheduler, "suggest") and not isinstance(scheduler, type)
    require(ok, "scheduler", "must be a scheduler's instance", scheduler, "ASHA(config_space, ...), say")
    nudged = isinstance(scheduler, WarmStartScheduler)
    nudged = nudged or isinstance(getattr(searcher, "get_config", None), _NudgedGetConfig)
    require(not nudged, "scheduler", "must not be nudged already", scheduler, "wrap the one inside it")
    kind = type(searcher).__name__
    rule = "must draw its configurations: a nudge would move the points of a grid"
    require(not kind.startswith("Grid"), "scheduler", rule, kind, "leave it without a warm start")


class _Starts:
    """Nudges what is new, and knows what became of it."""

    def __init__(self, adapter: WarmStartAdapter, max_units: int | None) -> None:
        self._adapter = adapter
        self._numbers: dict[str, int] = {}
        self.external = ExternalHistory(max_units)

    def nudged(self, config: Mapping[str, Any], chosen: bool) -> dict[str, Any]:
        """Return the configuration to start with; what somebody has chosen is only noted."""
        values = dict(config)
        sampled = self._adapter.sampled(values)
        if chosen:
            nudge = given(sampled, "one of points_to_evaluate")
        else:
            values, nudge = self._adapter(values, self.external.history)
        self._numbers[self._key(values)] = self.external.started(sampled, nudge)
        return values

    def number(self, config: Mapping[str, Any]) -> int | None:
        """Return the number of the trial that has this configuration."""
        return self._numbers.get(self._key(config))

    def _key(self, config: Mapping[str, Any]) -> str:
        # Schedulers add resource limits to a configuration: only what is tuned tells trials apart.
        return repr(sorted(self._adapter.sampled(config).items()))


class WarmStartScheduler(TrialScheduler):  # type: ignore[misc, unused-ignore]
    """A scheduler whose new configurations are nudged; everything else is the wrapped scheduler's.

    `history` holds what was sampled, what was trained, and why. `warm_started` makes it.

    Args:
        scheduler: The wrapped scheduler.
        starts: Nudges what starts, and keeps the history.
    """

    def __init__(self, scheduler: TrialScheduler, starts: _Starts) -> None:
        super().__init__(random_seed=scheduler.random_seed)
        self.scheduler = scheduler
        self._starts = starts

    @property
    def history(self) -> History:
        """The trials so far: sampled and nudged configurations, and scores by resource."""
        return self._starts.external.history

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "scheduler":  # while it is being copied, there is none yet
            raise AttributeError(name)
        return getattr(self.scheduler, name)

    def suggest(self) -> TrialSuggestion | None:
        """Return the wrapped scheduler's suggestion, nudged if it starts a trial from scratch."""
        waiting = _points(self.scheduler)
        suggestion = self.scheduler.suggest()
        fresh = suggestion is not None and suggestion.spawn_new_trial_id
        if not fresh or suggestion.checkpoint_trial_id is not None:
            return suggestion
        chosen = _points(self.scheduler) < waiting
        return TrialSuggestion.start_suggestion(self._starts.nudged(suggestion.config, chosen))

    def on_trial_add(self, trial: Any) -> None:
        """Delegate."""
        self.scheduler.on_trial_add(trial)

    def on_trial_error(self, trial: Any) -> None:
        """Delegate, and note the failure."""
        number = self._starts.number(trial.config)
        if number is not None:
            self._starts.external.failed(number)
        self.scheduler.on_trial_error(trial)

    def on_trial_result(self, trial: Any, result: dict[str, Any]) -> str:
        """Delegate, and note the score."""
        self._note(trial, result)
        decision: str = self.scheduler.on_trial_result(trial, result)
        return decision

    def on_trial_complete(self, trial: Any, result: dict[str, Any]) -> None:
        """Delegate, and note the score."""
        self._note(trial, result)
        self.scheduler.on_trial_complete(trial, result)

    def on_trial_remove(self, trial: Any) -> None:
        """Delegate."""
        self.scheduler.on_trial_remove(trial)

    def metadata(self) -> dict[str, Any]:
        """Return the wrapped scheduler's metadata, and the name of the policy."""
        policy = type(self._starts._adapter.policy).__name__
        return {**self.scheduler.metadata(), "warm_start": policy}

    def _note(self, trial: Any, result: Mapping[str, Any]) -> None:
        number = self._starts.number(trial.config)
        names = self.scheduler.metric_names()
        if number is None or len(names) != 1 or names[0] not in result:
            return
        sign = -1.0 if self.scheduler.metric_mode() == "min" else 1.0
        resource = getattr(self.scheduler, "time_attr", None)
        unit = int(result[resource]) if isinstance(resource, str) and resource in result else 1
        self._starts.external.scored(number, unit, sign * float(result[names[0]]))


class _NudgedGetConfig:
    """Takes the place of a legacy searcher's `get_config`. A class, so that a tuner can be saved."""

    def __init__(self, searcher: Any, wrapped: Any, starts: _Starts) -> None:
        self._searcher = searcher
        self._wrapped = wrapped
        self._starts = starts

    @property
    def history(self) -> History:
        """The trials so far: sampled and nudged configurations."""
        return self._starts.external.history

    def __call__(self, **kwargs: Any) -> dict[str, Any] | None:
        """Return the next configuration, nudged."""
        waiting = len(self._searcher._points_to_evaluate)
        config = self._wrapped(**kwargs)
        if config is None:
            return None
        return self._starts.nudged(config, chosen=len(self._searcher._points_to_evaluate) < waiting)


def _points(scheduler: Any) -> int:
    """Return how many of the user's `points_to_evaluate` are still waiting."""
    searcher = getattr(scheduler, "searcher", None)
    return len(getattr(searcher, "points_to_evaluate", None) or ())


def declared(config_space: Mapping[str, Any]) -> ExternalSpace:
    """Return `config_space`, as Syne Tune has it, as a declared one; constants are left out."""
    found = ExternalSpace()
    for name, domain in config_space.items():
        add_domain(found, name, domain, upper_excluded=False)
    return found

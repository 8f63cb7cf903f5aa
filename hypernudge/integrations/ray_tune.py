"""Warm starts in Ray Tune: a search algorithm around the user's own.

Example, for random search, the usual companion of ASHA:

    training = ModuleLoss(model=lambda hp: MLP(), data=train_loader, loss=my_loss)
    config = tune.TuneConfig(search_alg=WarmStartSearch(training, seed=0), scheduler=ASHAScheduler(), ...)
    tune.Tuner(train, param_space={"lr": tune.loguniform(1e-4, 1.0)}, tune_config=config).fit()

and for Optuna's samplers, whose study would keep the raw values under a searcher that changes them later:

    search = warm_started_optuna(TPESampler, training, param_space, metric="loss", mode="min", seed=0)
"""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from ray import cloudpickle
from ray.tune.search import Searcher
from ray.tune.search.bohb import TuneBOHB
from ray.tune.utils.util import unflatten_dict  # type: ignore[attr-defined, unused-ignore]

from hypernudge.errors import InvalidArgumentError, require, unknown_name
from hypernudge.integrations._adapter import (
    WarmStartAdapter,
    WarmStartArgument,
    check_arguments,
    check_measurable,
)
from hypernudge.integrations._external_history import ExternalHistory, given
from hypernudge.integrations._external_space import check_space, plain
from hypernudge.integrations._paths import NestedSpace, is_in_list, searched
from hypernudge.random import integer
from hypernudge.registry import check_instance
from hypernudge.space import Config
from hypernudge.task import Task
from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import History
from hypernudge.warmstart.requirements import warm_start_of

if TYPE_CHECKING:
    from ray.tune.search.optuna import OptunaSearch

    from hypernudge.integrations.optuna import SamplerSource


class WarmStartSearch(Searcher):  # type: ignore[misc, unused-ignore]
    """Random search, or TuneBOHB, whose configurations are nudged once, before their trial starts.

    Nested spaces are known by their paths: so `names={"optimizer/lr": "lr"}`. `history` holds
    what was sampled, what was trained, and why; it travels in Ray's experiment checkpoints.

    Args:
        objective: What is measured: a `ModuleLoss`, or a `GradientTask`. None for a policy that measures
            nothing, such as `Informed` with a prior of past studies.
        searcher: The searcher to wrap. None draws every configuration from the space as Tune's default does,
            from a stream that belongs to the trial's number. `TuneBOHB` is told of the nudged values. Others
            must have a method `replace_config(trial_id, config)` that makes them learn from `config`.
        warm_start: The policy, or its name; `Informed()` where None.
        seed: Seed of the warm start, and of the draws.
        names: Paths in the space to the names that policies know.
        space: The space; what Tune is given as `param_space` where None.
        metric: Name of the score in results; the tuner's where None.
        mode: "min" or "max"; the tuner's where None.

    Raises:
        InvalidArgumentError: The searcher would learn from what was not trained.
    """

    def __init__(
        self,
        objective: ModuleLoss | Task | None,
        searcher: Searcher | None = None,
        *,
        warm_start: WarmStartArgument = None,
        seed: int = 0,
        names: Mapping[str, str] | None = None,
        space: Mapping[str, Any] | None = None,
        metric: str | None = None,
        mode: str | None = None,
    ) -> None:
        check_arguments(objective, seed, names)
        check_goal(metric, mode)
        super().__init__(metric=metric, mode=mode)
        check_instance("searcher", searcher)
        if type(searcher).__name__ == "OptunaSearch":
            raise InvalidArgumentError(
                "searcher: must not be an OptunaSearch, whose study would keep the raw values; "
                "use warm_started_optuna(sampler, objective, space, ...) instead"
            )
        able = searcher is None or isinstance(searcher, TuneBOHB) or hasattr(searcher, "replace_config")
        rule = "must be None, TuneBOHB, or have a method replace_config(trial_id, config)"
        require(able, "searcher", rule, type(searcher).__name__, "write one, or use warm_started_optuna")
        self.inner: Any = (
            searcher  # a `searcher` attribute would make Tune take this for its ConcurrencyLimiter
        )
        self._objective, self._policy, self._names = objective, warm_start, names
        self._seed = seed
        self._external = ExternalHistory()
        self._numbers: dict[str, int] = {}
        self._space: NestedSpace | None = None
        self._restored: list[dict[str, Any]] | None = None
        self._adapter: WarmStartAdapter | None = None
        if warm_start is not None:
            self._policy = warm_start_of(warm_start)  # known before any space is
        check_measurable(objective, self._policy)
        if space is not None:
            self._use(space)

    @property
    def history(self) -> History:
        """The trials so far: sampled and nudged configurations, and scores by training iteration."""
        return self._external.history

    def _use(self, space: Mapping[str, Any]) -> None:
        found = searched("space", space)
        if self._adapter is not None:
            check_space("param_space", found, self._adapter.declared)
        self._space = NestedSpace(space)
        self._adapter = WarmStartAdapter(self._objective, found, self._policy, self._seed, self._names)
        if self._restored is not None:  # before the choices of the space were known
            self._external = ExternalHistory.from_state(self._restored, self._adapter.recovered)
            self._restored = None

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Take metric, mode and space from the tuner."""
        taken = self.inner is None or self.inner.set_search_properties(metric, mode, config, **spec)
        if not taken or (self._adapter is not None and not config):
            return False
        self._metric, self._mode = metric or self.metric, mode or self.mode
        if config:
            self._use(config)
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Delegate."""
        return bool(self.inner is not None and self.inner.set_max_concurrency(max_concurrent))

    def suggest(self, trial_id: str) -> Any:
        """Return the next configuration, nudged."""
        adapter, space = self._adapter, self._space
        if adapter is None or space is None:
            raise InvalidArgumentError(
                "space: must be known, but got None; give the Tuner a param_space, or this searcher a space"
            )
        waiting = self._chosen_points()
        proposed = self._draw(space) if self.inner is None else self.inner.suggest(trial_id)
        if not isinstance(proposed, dict):  # None: not now; FINISHED: no more
            return proposed
        if any("/" in key for key in proposed):
            proposed = unflatten_dict(proposed)
        flat = space.flat(proposed)
        sampled = adapter.sampled(flat)
        if self._chosen_points() < waiting:
            self._numbers[trial_id] = self._external.started(
                sampled, given(sampled, "one of points_to_evaluate")
            )
            return proposed
        values, nudge = adapter(flat, self._external.history)
        self._numbers[trial_id] = self._external.started(sampled, nudge)
        changes = {path: values[path] for path in adapter.declared.parameters if path in values}
        config = space.replaced(proposed, changes)
        if nudge.changed and isinstance(self.inner, TuneBOHB):
            known = self.inner.trial_to_params[trial_id]
            self.inner.trial_to_params[trial_id] = {path: changes.get(path, v) for path, v in known.items()}
        elif nudge.changed and self.inner is not None:
            self.inner.replace_config(trial_id, config)
        return config

    def _draw(self, space: NestedSpace) -> dict[str, Any]:
        # Tune's domains draw from the legacy generator.
        seed = integer(self._seed, "config", len(self._external), bits=32)
        return space.draw(np.random.RandomState(seed))

    def _chosen_points(self) -> int:
        """Return how many of the points that the user gave to the wrapped searcher are still waiting."""
        return len(getattr(self.inner, "_points_to_evaluate", None) or ())

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Note the score, and delegate."""
        self._note(trial_id, result)
        if self.inner is not None:
            self.inner.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Note the last score or the failure, and delegate."""
        self._note(trial_id, result or {})
        if error and trial_id in self._numbers:
            self._external.failed(self._numbers[trial_id])
        if self.inner is not None:
            self.inner.on_trial_complete(trial_id, result=result, error=error)

    def _note(self, trial_id: str, result: Mapping[str, Any]) -> None:
        score, unit = result.get(self.metric), result.get("training_iteration", 1)
        if trial_id in self._numbers and isinstance(score, int | float):
            sign = -1.0 if self.mode == "min" else 1.0
            self._external.scored(self._numbers[trial_id], int(unit), sign * float(score))

    def on_pause(self, trial_id: str) -> None:
        """Delegate (HyperBandForBOHB calls it)."""
        if self.inner is not None:
            self.inner.on_pause(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """Delegate (HyperBandForBOHB calls it)."""
        if self.inner is not None:
            self.inner.on_unpause(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Write the state as JSON, the wrapped searcher's own checkpoint inside it."""
        inner = None
        if self.inner is not None:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "searcher"
                self.inner.save(str(path))
                inner = base64.b64encode(path.read_bytes()).decode()
        state = {"trials": self._external.state(), "numbers": self._numbers, "searcher": inner}
        Path(checkpoint_path).write_text(json.dumps(plain(state)), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Read back what `save` wrote."""
        state = json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))
        if self._adapter is None:
            self._restored = state["trials"]
        recovered = self._adapter.recovered if self._adapter is not None else Config
        self._external = ExternalHistory.from_state(state["trials"], recovered)
        self._numbers = dict(state["numbers"])
        if self.inner is not None:
            with TemporaryDirectory() as folder:
                path = Path(folder) / "searcher"
                path.write_bytes(base64.b64decode(state["searcher"]))
                self.inner.restore(str(path))


def warm_started_optuna(
    sampler: SamplerSource,
    objective: ModuleLoss | Task | None,
    space: Mapping[str, Any],
    *,
    warm_start: WarmStartArgument = None,
    seed: int = 0,
    names: Mapping[str, str] | None = None,
    **options: Any,
) -> OptunaSearch:
    """Return an `OptunaSearch` whose study stores and learns from nudged values.

    Args:
        sampler: An Optuna sampler or its class, as for `hypernudge.integrations.optuna.WarmStartSampler`.
        objective: What is measured: a `ModuleLoss`, or a `GradientTask`. None for a policy that measures
            nothing, such as `Informed` with a prior of past studies.
        space: Tune's search space, the tuner's `param_space`; nested names become paths, `"optimizer/lr"`.
        warm_start: The policy, or its name; `Informed()` where None.
        seed: Seed of the warm start, and of the sampler where a class was given.
        names: Paths in the space to the names that policies know.
        **options: Further arguments of `OptunaSearch`, such as `metric`, `mode` and `points_to_evaluate`.

    Raises:
        InvalidArgumentError: The space, the names or the objective do not fit the policy.
    """
    from ray.tune.search.optuna import OptunaSearch

    searched("space", space)
    known = [name for name in inspect.signature(OptunaSearch).parameters if name not in ("space", "sampler")]
    for name in options:
        if name not in known:
            raise unknown_name(f"options.{name}", name, known, "must be an option of OptunaSearch")
    check_goal(options.get("metric"), options.get("mode"))
    lists = [path for path, value in NestedSpace(space).leaves.items() if is_in_list(space, path, value)]
    rule, remedy = "must hold no domain inside a list, which OptunaSearch cannot take", "use a mapping there"
    require(not lists, "space", rule, lists, remedy)
    distributions = OptunaSearch.convert_search_space(dict(space))
    wrapped = _picklable()(sampler, objective, distributions, warm_start=warm_start, seed=seed, names=names)
    return OptunaSearch(sampler=wrapped, **options)


def check_goal(metric: Any, mode: Any) -> None:
    """Refuse what says neither of which result nor in which direction.

    Raises:
        InvalidArgumentError: Naming `metric` or `mode`; a list of either is for several objectives.
    """
    metrics = metric if isinstance(metric, list | tuple) else [metric]
    modes = mode if isinstance(mode, list | tuple) else [mode]
    named = all(name is None or isinstance(name, str) for name in metrics)
    require(named, "metric", "must be the name of a result", metric, "'loss', say")
    known = all(each in (None, "min", "max") for each in modes)
    require(known, "mode", "must be 'min' or 'max'", mode, "'min' for a loss")


def _picklable() -> Any:
    """Return a sampler class that pickles by value.

    Ray saves its search with the plain pickle, and the user's model and loss are lambdas as a rule.
    """
    from hypernudge.integrations.optuna import WarmStartSampler

    class RaySampler(WarmStartSampler):
        def __reduce__(self) -> Any:
            return _unpickled, (cloudpickle.dumps((type(self), self.__getstate__())),)

    return RaySampler


def _unpickled(payload: bytes) -> Any:
    kind, state = cloudpickle.loads(payload)
    sampler = kind.__new__(kind)
    sampler.__setstate__(state)
    return sampler

"""Runs of Ray Tune's ASHA on random search, with a warm start or none."""

from __future__ import annotations

import json
import logging
import os
from tempfile import TemporaryDirectory
from typing import Any

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.warm_starts.tools_effect.optuna_runs import Run
from benchmarks.warm_starts.tools_effect.workload import Clock, Workload
from hypernudge.random import integer
from hypernudge.warmstart.base import NoWarmStart, WarmStart


def domain(distribution: BaseDistribution) -> Any:
    """Return a distribution in Ray Tune's terms."""
    from ray import tune

    if isinstance(distribution, CategoricalDistribution):
        return tune.choice(list(distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution):
        return (tune.lograndint if distribution.log else tune.randint)(low, high + 1)
    return (tune.loguniform if distribution.log else tune.uniform)(low, high)


def ray(of: Workload, warm_start: WarmStart | None = None) -> Run:
    """Return a run of a workload."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    import ray as library
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from hypernudge.integrations.ray_tune import WarmStartSearch

    class Trainable(tune.Trainable):  # type: ignore[misc, unused-ignore]
        def setup(self, config: dict[str, Any]) -> None:
            torch.set_num_threads(1)
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            drawn = json.dumps(new_config, sort_keys=True)
            self.scores = of.training(new_config, integer(new_config["seed"], drawn, bits=31))
            return True

        def step(self) -> dict[str, float]:
            return {"score": next(self.scores)}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            del checkpoint_dir

        def load_checkpoint(self, checkpoint: Any) -> None:
            del checkpoint

    def run(seed: int, clock: Clock) -> None:
        if not library.is_initialized():
            library.init(
                num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        search = WarmStartSearch(of.measured(), warm_start=warm_start or NoWarmStart(), seed=seed)
        drawn: dict[str, Any] = {name: domain(distribution) for name, distribution in of.space.items()}
        charged = 0

        class Spent(tune.Stopper):  # type: ignore[misc, unused-ignore]
            def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
                return False

            def stop_all(self) -> bool:
                return clock.over

        class Count(tune.Callback):  # type: ignore[misc, unused-ignore]
            def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:
                nonlocal charged
                for started in search.history.trials[charged:]:
                    clock.fee(started.nudge.flops, started.config)
                charged = len(search.history.trials)
                clock.step(result["score"])

        config = tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=-1,
            max_concurrent_trials=1,
            search_alg=search,
            scheduler=ASHAScheduler(max_t=of.steps, grace_period=1, reduction_factor=3),
            reuse_actors=True,
        )
        with TemporaryDirectory() as folder:
            where = tune.RunConfig(callbacks=[Count()], stop=Spent(), verbose=0, storage_path=folder)
            drawn["seed"] = seed
            tune.Tuner(Trainable, param_space=drawn, tune_config=config, run_config=where).fit()

    return run

"""Runs of Syne Tune's ASHA on random search, with a warm start or none."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.warm_starts.tools_effect.optuna_runs import Run
from benchmarks.warm_starts.tools_effect.workload import Clock, Workload
from hypernudge.random import integer
from hypernudge.warmstart.base import NoWarmStart, WarmStart


def domain(distribution: BaseDistribution) -> Any:
    """Return a distribution in Syne Tune's terms."""
    from syne_tune import config_space as domains

    if isinstance(distribution, CategoricalDistribution):
        return domains.choice(list(distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    whole = isinstance(distribution, IntDistribution)
    names = ("lograndint", "randint") if whole else ("loguniform", "uniform")
    return getattr(domains, names[not distribution.log])(distribution.low, distribution.high)


def syne_tune(of: Workload, warm_start: WarmStart | None = None) -> Run:
    """Return a run of a workload under a `Tuner` with one worker, which trains in this process."""
    from syne_tune import Tuner
    from syne_tune.backend.trial_backend import TrialBackend
    from syne_tune.constants import ST_WORKER_TIMESTAMP, SYNE_TUNE_ENV_FOLDER
    from syne_tune.optimizer.baselines import ASHA

    from hypernudge.integrations.syne_tune import warm_started

    class InProcess(TrialBackend):  # type: ignore[misc, unused-ignore]
        """Trains a step whenever it is asked for results."""

        def __init__(self, seed: int, clock: Clock, scheduler: Any) -> None:
            super().__init__()
            self._seed, self._clock, self._scheduler = seed, clock, scheduler
            self._trainings: dict[int, Iterator[float]] = {}

        def entrypoint_path(self) -> Path:
            return Path("tools-effect")

        def _schedule(self, trial_id: int, config: dict[str, Any]) -> None:
            self._clock.fee(self._scheduler.history.trials[-1].nudge.flops, config)
            self._trainings[trial_id] = of.training(config, integer(self._seed, "trial", trial_id, bits=31))

        def _all_trial_results(self, trial_ids: list[int]) -> list[Any]:
            found = [self._trial_dict[trial_id] for trial_id in trial_ids]
            for trial in found:
                if trial.trial_id in self._trainings and not self._clock.over:
                    score = next(self._trainings[trial.trial_id])
                    self._clock.step(score)
                    step = len(trial.metrics) + 1
                    now = {ST_WORKER_TIMESTAMP: time.time()}
                    trial.metrics.append({"score": score, "step": step, **now})
            return found

        def _stop_trial(self, trial_id: int, result: dict[str, Any] | None) -> None:
            del result
            self._trainings.pop(trial_id, None)

    def run(seed: int, clock: Clock) -> None:
        np.random.seed(integer(seed, "asha", bits=31))  # noqa: NPY002 -- its ASHA draws from there
        space = {name: domain(distribution) for name, distribution in of.space.items()}
        asha = ASHA(
            space,
            metric="score",
            do_minimize=False,
            time_attr="step",
            max_t=of.steps,
            grace_period=1,
            reduction_factor=3,
            random_seed=integer(seed, "scheduler", bits=31),
        )
        # Without a warm start, too: the history is where a trial's fee stands.
        policy = warm_start or NoWarmStart()
        scheduler = warm_started(asha, of.measured(), space, warm_start=policy, seed=seed)
        with TemporaryDirectory() as folder, _set(SYNE_TUNE_ENV_FOLDER, folder), _silent():
            Tuner(
                trial_backend=InProcess(seed, clock, scheduler),
                scheduler=scheduler,
                stop_criterion=lambda status: clock.over,
                n_workers=1,
                sleep_time=0.0,
                tuner_name="tools-effect",
                callbacks=[],
                save_tuner=False,
            ).run()

    return run


@contextlib.contextmanager
def _set(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for a while."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep what the tuner prints of each trial from standard output, which has the table."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield

"""Runs of NePS under Hyperband, its choice where trainings may be shorter, with a warm start or none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.warm_starts.tools_effect.optuna_runs import Run
from benchmarks.warm_starts.tools_effect.workload import Clock, Workload
from hypernudge.random import integer
from hypernudge.warmstart.base import NoWarmStart, WarmStart

UNITS = "units"
"""Name of the fidelity: to how many steps a training is to come."""


def part(distribution: BaseDistribution) -> Any:
    """Return a distribution in NePS's terms."""
    import neps

    if isinstance(distribution, CategoricalDistribution):
        return neps.HPOCategorical(list(distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    kind = neps.HPOInteger if isinstance(distribution, IntDistribution) else neps.HPOFloat
    return kind(distribution.low, distribution.high, log=distribution.log)


def neps_hyperband(of: Workload, warm_start: WarmStart | None = None) -> Run:
    """Return a run of a workload under `neps.AskAndTell` and Hyperband, whose promotions go on training."""
    import neps

    from hypernudge.integrations.neps import warm_started

    def run(seed: int, clock: Clock) -> None:
        space = neps.SearchSpace(
            {
                **{name: part(distribution) for name, distribution in of.space.items()},
                UNITS: neps.HPOInteger(1, of.steps, is_fidelity=True),
            }
        )
        drawing = _Generators(integer(seed, "optimizer", bits=31))
        # Without a warm start, too: the history is where a trial's fee stands.
        optimizer = warm_started(
            neps.algorithms.hyperband(space, eta=3),
            of.measured(),
            space,
            warm_start=warm_start or NoWarmStart(),
            seed=seed,
        )
        tuner = neps.AskAndTell(optimizer=optimizer)
        trainings: dict[str, tuple[Iterator[float], int]] = {}
        while True:
            with drawing:
                trial = tuner.ask()
            earlier = trial.metadata.previous_trial_id
            if earlier is None:
                number = len(optimizer.history.trials) - 1
                config = {name: trial.config[name] for name in of.space}
                clock.fee(optimizer.history.trials[number].nudge.flops, config)
                training, had = of.training(config, integer(seed, "trial", number, bits=31)), 0
            else:
                training, had = trainings.pop(earlier)
            score, until = 0.0, int(trial.config[UNITS])
            for _ in range(had, until):
                score = next(training)
                clock.step(score)
                if clock.over:
                    return
            trainings[trial.id] = training, until
            tuner.tell(trial, -score)

    return run


class _Generators:
    """The global generators, from which NePS draws, with a state of their own while they are entered.

    Args:
        seed: Of all three.
    """

    def __init__(self, seed: int) -> None:
        self._own: Any = None
        self._seed = seed
        self._others: Any = None

    def __enter__(self) -> None:
        self._others = _states()
        if self._own is None:
            random.seed(self._seed)
            np.random.seed(self._seed)  # noqa: NPY002 -- those are what NePS draws from
            torch.manual_seed(self._seed)
        else:
            _restore(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = _states()
        _restore(self._others)


def _states() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _restore(states: tuple[Any, Any, torch.Tensor]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])

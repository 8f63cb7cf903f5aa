"""Runs of Optuna's TPE, with its Hyperband pruner or none, with a warm start or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from benchmarks.warm_starts.tools_effect.workload import Clock, Workload
from hypernudge.random import integer, stream
from hypernudge.warmstart.base import WarmStart

Run = Callable[[int, Clock], None]


def suggested(trial: Any, name: str, distribution: BaseDistribution) -> Any:
    """Return what a trial suggests."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def optuna(
    of: Workload,
    warm_start: WarmStart | None = None,
    *,
    halving: bool,
    enqueued: Sequence[Mapping[str, Any]] = (),
) -> Run:
    """Return a run of a workload, which begins with the configurations `enqueued`, in random order."""
    import optuna as library

    from hypernudge.integrations.optuna import RECORD, WarmStartSampler

    library.logging.set_verbosity(library.logging.ERROR)

    def run(seed: int, clock: Clock) -> None:
        def objective(trial: library.Trial) -> float:
            hp = {name: suggested(trial, name, distribution) for name, distribution in of.space.items()}
            # As the study keeps it: what a sampler notes is not in the trial's own copy.
            noted = trial.study.get_trials(deepcopy=False)[trial.number].user_attrs.get(RECORD, {})
            clock.fee(noted.get("flops", 0.0), hp)
            score = 0.0
            for step, score in enumerate(of.training(hp, integer(seed, "trial", trial.number, bits=31))):
                clock.step(score)
                trial.report(score, step)
                if clock.over:
                    trial.study.stop()
                    break
                if trial.should_prune():
                    raise library.TrialPruned
            return score

        sampler: Any = library.samplers.TPESampler(seed=seed)
        if warm_start is not None:
            sampler = WarmStartSampler(sampler, of.measured(), of.space, warm_start=warm_start, seed=seed)
        pruner = library.pruners.HyperbandPruner(1, of.steps, 3) if halving else library.pruners.NopPruner()
        study = library.create_study(
            direction="maximize", sampler=sampler, pruner=pruner, study_name=str(seed)
        )
        for place in stream(seed, "enqueued").permutation(len(enqueued)):
            study.enqueue_trial(dict(enqueued[place]))
        study.optimize(objective)

    return run

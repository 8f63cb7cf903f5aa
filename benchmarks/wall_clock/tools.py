"""A study in each tool: two workers, the same space and training, so many seconds of the wall."""

from __future__ import annotations

import logging
import multiprocessing as mp
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.wall_clock.training import ETA, UNITS, Training, note, ranges, task_of

WORKERS = 2


def hypernudge(name: str, seed: int, seconds: float, folder: Path, warm_start: str | None = None) -> None:
    """ASHA on two processes."""
    from hypernudge import ASHA, tune
    from hypernudge.engine.workers.processes import ProcessEngine

    task = task_of(name)
    honest = task.evaluate

    def noted(state: Any, split: Any) -> float:
        score = float(honest(state, split))
        if split == "validation":
            note(folder, score)
        return score

    task.evaluate = noted  # type: ignore[method-assign]
    tune(
        task,
        ASHA(task.space, max_units=UNITS, eta=ETA, max_trials=None),
        seed=seed,
        budget=seconds,
        engine=ProcessEngine(workers=WORKERS),
        warm_start=warm_start,
        test="never",
        keep_weights=False,
        progress=False,
    )


def informed(name: str, seed: int, seconds: float, folder: Path) -> None:
    """The same with a warm start."""
    hypernudge(name, seed, seconds, folder, "informed")


def ray(name: str, seed: int, seconds: float, folder: Path) -> None:
    """Ray Tune's own random search and ASHA; its actors are reused."""
    from hypernudge.engine.workers.ray_cluster import QUIET

    os.environ |= {**QUIET, "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1"}
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    import ray as library
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    class Trainable(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            given = {key: value for key, value in config.items() if key != "seed"}
            self.training = Training(name, given, int(config["seed"]), folder)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, float]:
            return {"score": self.training.unit()}

    space = {n: tune.loguniform(a, b) if log else tune.uniform(a, b) for n, a, b, log in ranges(name)}
    library.init(
        address="local",
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        with tempfile.TemporaryDirectory() as directory:
            tune.Tuner(
                tune.with_resources(Trainable, {"cpu": 1}),
                param_space={**space, "seed": tune.randint(0, 2**31)},
                tune_config=tune.TuneConfig(
                    metric="score",
                    mode="max",
                    num_samples=-1,
                    time_budget_s=seconds,
                    reuse_actors=True,
                    scheduler=ASHAScheduler(max_t=UNITS, grace_period=1, reduction_factor=ETA),
                    search_alg=tune.search.basic_variant.BasicVariantGenerator(random_state=seed),
                ),
                run_config=tune.RunConfig(
                    storage_path=directory,
                    verbose=0,
                    stop={"training_iteration": UNITS},
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
    finally:
        library.shutdown()


def optuna(name: str, seed: int, seconds: float, folder: Path) -> None:
    """Random search with the successive-halving pruner, two processes on one journal."""
    # Forked, as the workers of `ProcessEngine` are: what was imported and read is there.
    context: Any = mp.get_context("fork" if sys.platform == "linux" else "spawn")
    given = (name, seconds, folder)
    workers = [context.Process(target=_optuna, args=(*given, seed, worker)) for worker in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _optuna(name: str, seconds: float, folder: Path, seed: int, worker: int) -> None:
    import optuna as library

    library.logging.set_verbosity(library.logging.WARNING)
    warnings.simplefilter("ignore")
    until = time.monotonic() + seconds

    def objective(trial: Any) -> float:
        config = {n: trial.suggest_float(n, low, high, log=log) for n, low, high, log in ranges(name)}
        training, score = Training(name, config, 1000 * seed + trial.number, folder), 0.0
        for unit in range(1, UNITS + 1):
            score = training.unit()
            trial.report(score, unit)
            if trial.should_prune() or time.monotonic() > until:
                raise library.TrialPruned
        return score

    journal: Any = library.storages.journal  # type: ignore[attr-defined]
    backend = journal.JournalFileBackend(str(folder / "journal.log"))
    study = library.create_study(
        study_name="wall_clock",
        storage=library.storages.JournalStorage(backend),
        load_if_exists=True,
        direction="maximize",
        sampler=library.samplers.RandomSampler(seed=2 * seed + worker),
        pruner=library.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA),
    )
    study.optimize(objective, timeout=seconds)


TOOLS: dict[str, Callable[[str, int, float, Path], None]] = {
    "hypernudge": hypernudge,
    "informed": informed,
    "ray_tune": ray,
    "optuna": optuna,
}

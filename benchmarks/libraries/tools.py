"""The job in each library, set up as its own documentation advises; one function a library.

Each returns the number of trials and the best validation accuracy. Imports are inside, for no environment
holds them all.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.libraries.job import ETA, SPACE, TRIALS, UNITS, Training, task

Outcome = tuple[int, float]


def hypernudge(workers: int) -> Outcome:
    """Trials of all rungs train as one population; the clock orders what is reported."""
    from hypernudge import ASHA, tune
    from hypernudge.engine.population import PopulationEngine
    from hypernudge.random import Streams

    engine = PopulationEngine(task(), Streams(0).trial_seed, workers, threads=os.cpu_count() or 1)
    scheduler = ASHA(task().space, max_units=UNITS, eta=ETA, max_trials=TRIALS)
    study = tune(task(), scheduler, seed=0, engine=engine)
    return len(study.history.trials), study.best()[1].validation


def hypernudge_serial(workers: int) -> Outcome:
    """The same study, one trial after the other."""
    from hypernudge import ASHA, tune

    scheduler = ASHA(task().space, max_units=UNITS, eta=ETA, max_trials=TRIALS)
    study = tune(task(), scheduler, seed=0, workers=workers)
    return len(study.history.trials), study.best()[1].validation


def optuna(workers: int) -> Outcome:
    """In process with threads, in-memory storage and the successive-halving pruner."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def objective(trial: Any) -> float:
        config = {name: trial.suggest_float(name, low, high, log=log) for name, low, high, log in SPACE}
        training, best = Training(config, trial.number), 0.0
        for unit in range(1, UNITS + 1):
            score = training.epoch()
            best = max(best, score)
            trial.report(score, unit)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA),
    )
    study.optimize(objective, n_trials=TRIALS, n_jobs=workers)
    scores = [value for trial in study.trials for value in trial.intermediate_values.values()]
    return len(study.trials), max(scores)


def ray(workers: int) -> Outcome:
    """Class trainables whose actors are reused, no log files, no progress output, no checkpoints.

    The number of trials at a time follows from the resources of each: with `max_concurrent_trials` none would
    be pending when another ends, and the actor would be thrown away. A trial that raises, as one without
    `save_checkpoint` does when it is to be saved at its end, takes its actor with it too.
    """
    os.environ |= {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    import ray as library
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    class Trainable(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.training = Training(config, int(config["seed"]))

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, float]:
            return {"score": self.training.epoch()}

    space = {n: tune.loguniform(a, b) if log else tune.uniform(a, b) for n, a, b, log in SPACE}
    cores = os.cpu_count() or 1
    library.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as directory:
        tuner = tune.Tuner(
            tune.with_resources(Trainable, {"cpu": min(1.0, cores / workers)}),
            param_space={**space, "seed": tune.randint(0, 2**31)},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                num_samples=TRIALS,
                reuse_actors=True,
                scheduler=ASHAScheduler(max_t=UNITS, grace_period=1, reduction_factor=ETA),
            ),
            run_config=tune.RunConfig(
                storage_path=directory,
                verbose=0,
                stop={"training_iteration": UNITS},
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        results = tuner.fit()
        if results.num_errors:
            raise RuntimeError(f"{results.num_errors} trials failed, the first: {results.errors[0]}")
        best = max(float(result.metrics["score"]) for result in results if result.metrics)
        count = len(results)
    library.shutdown()
    return count, best


def syne_local(workers: int) -> Outcome:
    """`LocalBackend`: a process for every trial, from a script."""
    from syne_tune.backend import LocalBackend

    entry = Path(__file__).resolve().parent / "syne_entry.py"
    return _syne_tune(workers, lambda space: LocalBackend(entry_point=str(entry)))


def syne_python(workers: int) -> Outcome:
    """`PythonBackend`: a process for every trial, from a function."""
    from syne_tune.backend import PythonBackend

    from benchmarks.libraries.syne_entry import train

    return _syne_tune(workers, lambda space: PythonBackend(tune_function=train, config_space=space))


def _syne_tune(workers: int, make_backend: Callable[[Mapping[str, Any]], Any]) -> Outcome:
    root = Path(__file__).resolve().parents[2]
    os.environ["PYTHONPATH"] = str(root)
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.config_space import loguniform, uniform
    from syne_tune.experiments import load_experiment
    from syne_tune.optimizer.baselines import ASHA

    space: dict[str, Any] = {n: loguniform(a, b) if log else uniform(a, b) for n, a, b, log in SPACE}
    space["units"] = UNITS
    logging.disable(logging.INFO)
    # It counts GPUs by way of a file std.out in the working directory.
    with tempfile.TemporaryDirectory() as directory, contextlib.chdir(directory):
        os.environ["SYNETUNE_FOLDER"] = directory
        scheduler = ASHA(
            space,
            metric="score",
            time_attr="unit",
            max_t=UNITS,
            do_minimize=False,
            random_seed=0,
            reduction_factor=ETA,
        )
        backend = make_backend(space)
        backend.set_path(results_root=directory)
        tuner = Tuner(
            trial_backend=backend,
            scheduler=scheduler,
            stop_criterion=StoppingCriterion(max_num_trials_finished=TRIALS),
            n_workers=workers,
            sleep_time=0.1,
            print_update_interval=1e6,
            save_tuner=False,
        )
        tuner.run()
        rows = load_experiment(tuner.name, local_path=directory).results
    return int(rows["trial_id"].nunique()), float(rows["score"].max())


def neps(workers: int) -> Outcome:
    """One process for each worker on a shared directory, as its documentation has it."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.libraries.neps_worker", directory]
        processes = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            for _ in range(workers)
        ]
        for process in processes:
            _, errors = process.communicate()
            if process.returncode != 0:
                raise RuntimeError(errors.decode()[-2000:])
        lines = [json.loads(line) for line in (Path(directory) / "scores").read_text().splitlines()]
    return len({tuple(line["config"].values()) for line in lines}), max(line["score"] for line in lines)


TOOLS: dict[str, Callable[[int], Outcome]] = {
    "hypernudge": hypernudge,
    "hypernudge_serial": hypernudge_serial,
    "optuna": optuna,
    "ray": ray,
    "syne_local": syne_local,
    "syne_python": syne_python,
    "neps": neps,
}
# What each needs besides hypernudge: the module that shows whether it is there, and the requirement.
NEEDS = {
    "optuna": ("optuna", "optuna>=4.2"),
    "ray": ("ray", "ray[tune]>=2.40"),
    "syne_local": ("syne_tune", "syne-tune>=0.15"),
    "syne_python": ("syne_tune", "syne-tune>=0.15"),
    "neps": ("neps", "neural-pipeline-search>=0.17"),
}

warnings.simplefilter("ignore")

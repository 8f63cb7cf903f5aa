"""The informed warm start inside Optuna and Ray Tune, on an ordinary PyTorch training, and both alone.

    python -m benchmarks.warm_starts.tools_effect --output benchmarks/results/tools_effect

A 64-32-10 network on digits, SGD, five hyper-parameters, up to 27 epochs a trial; with `--architecture` also
width, depth and activation, of which the prior knows nothing. The clock counts epochs of training, one trial
at a time, and charges a warm start with the epochs that its FLOPs would have bought.
Targets come from pilot seeds of plain Optuna TPE. The prior has not seen digits (`exclude_families`).
Methods that end in `_horizon` tell it that trainings take 27 epochs at most; the others leave it to guess.
Writes the runs in the long form of `hypernudge compare`, and what that makes of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import Tensor, nn

from hypernudge import Informed, ModuleLoss
from hypernudge.evidence.report.compare_file import Request, compare_file
from hypernudge.flops import count_flops
from hypernudge.harness.cells.provenance import provenance
from hypernudge.random import integer, torch_stream
from hypernudge.tasks.data.datasets import load_dataset
from hypernudge.warmstart.base import NoWarmStart

EPOCHS, BATCH, BUDGET = 27, 64, 450
FIRST, PILOT, PILOTS, AT = 300_000, 400_000, 10, 0.6
Space = dict[str, BaseDistribution]
Run = Callable[[int, "Clock"], None]
SPACE: Space = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-1, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "label_smoothing": FloatDistribution(0.0, 0.3),
    "noise": FloatDistribution(0.0, 0.5),  # standard deviation of the noise on the inputs
}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
ARCHITECTURE: Space = {
    "width": IntDistribution(2, 64, log=True),
    "depth": IntDistribution(1, 4),
    "activation": CategoricalDistribution(list(ACTIVATIONS)),
}


def _data() -> dict[str, tuple[Tensor, Tensor]]:
    data = load_dataset("digits")
    return {
        part: (torch.tensor(data.x[part], dtype=torch.float32).flatten(1), torch.tensor(data.y[part]))
        for part in ("train", "validation")
    }


DATA = _data()
STEPS = math.ceil(len(DATA["train"][0]) / BATCH)


def network(hp: Mapping[str, Any]) -> nn.Module:
    """Return the network of a configuration, 64-32-10 where it says nothing of it."""
    width, activation = hp.get("width", 32), ACTIVATIONS[hp.get("activation", "relu")]
    widths = [64] + [width] * hp.get("depth", 1)
    hidden = [part for n, m in pairwise(widths) for part in (nn.Linear(n, m), activation())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def loss(model: nn.Module, batch: tuple[Tensor, Tensor], hp: Mapping[str, Any]) -> Tensor:
    """Return the training loss of a mini-batch."""
    x, y = batch
    log_p = model(x + hp["noise"] * torch.randn_like(x)).log_softmax(-1)
    hit = -log_p.gather(1, y.unsqueeze(1)).mean()
    result: Tensor = (1.0 - hp["label_smoothing"]) * hit - hp["label_smoothing"] * log_p.mean()
    return result


def training(hp: Mapping[str, Any], seed: int) -> Iterator[float]:
    """Train as anybody would, and yield the validation accuracy after every epoch."""
    torch.manual_seed(seed)
    model = network(hp)
    sgd = torch.optim.SGD(
        model.parameters(), lr=hp["lr"], momentum=hp["momentum"], weight_decay=hp["weight_decay"]
    )
    (x, y), (x_valid, y_valid) = DATA["train"], DATA["validation"]
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x), generator=torch_stream(seed, "order", epoch))
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            sgd.zero_grad()
            torch.autograd.backward(loss(model, (x[rows], y[rows]), hp))
            sgd.step()
        with torch.no_grad():
            yield (model(x_valid).argmax(1) == y_valid).double().mean().item()


def _epoch_flops(hp: Mapping[str, Any]) -> float:
    model = network(hp)
    batch = DATA["train"][0][:BATCH], DATA["train"][1][:BATCH]
    return STEPS * count_flops(lambda: torch.autograd.backward(loss(model, batch, hp)))[1]


class Clock:
    """Epochs so far, and the scores at each."""

    def __init__(self) -> None:
        self.time, self.scores = 0.0, list[tuple[float, float]]()

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.time >= BUDGET

    def epoch(self, score: float) -> None:
        """Count an epoch; what ends after the budget does not count."""
        self.time += 1.0
        if self.time <= BUDGET:
            self.scores.append((self.time, score))

    def fee(self, flops: float, hp: Mapping[str, Any]) -> None:
        """Charge the warm start of a trial."""
        if flops:
            self.time += flops / _epoch_flops(hp)

    def best_at(self, share: float) -> float:
        """Return the best score by a share of the budget."""
        return max(score for at, score in self.scores if at <= share * BUDGET)


def policy(max_units: int | None = None) -> Informed:
    """Return the warm start, with a prior that knows nothing of digits."""
    return Informed(exclude_families=("digits",), max_units=max_units)


def measured() -> ModuleLoss:
    """Return what the warm start must know of the training."""
    return ModuleLoss(network, DATA["train"], loss, batch_size=BATCH)


def suggested(trial: Any, name: str, distribution: BaseDistribution) -> Any:
    """Return what a trial suggests."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, distribution.low, distribution.high, log=distribution.log)
    assert isinstance(distribution, FloatDistribution)
    return trial.suggest_float(name, distribution.low, distribution.high, log=distribution.log)


def optuna(space: Space, warm_start: Informed | None = None, *, halving: bool) -> Run:
    """Return a run of Optuna's TPE, with its Hyperband pruner or none, with a warm start or none."""
    import optuna as library

    from hypernudge.integrations.optuna import RECORD, WarmStartSampler

    library.logging.set_verbosity(library.logging.ERROR)

    def run(seed: int, clock: Clock) -> None:
        def objective(trial: library.Trial) -> float:
            hp = {name: suggested(trial, name, distribution) for name, distribution in space.items()}
            clock.fee(trial.user_attrs.get(RECORD, {}).get("flops", 0.0), hp)
            score = 0.0
            for epoch, score in enumerate(training(hp, integer(seed, "trial", trial.number, bits=31))):
                clock.epoch(score)
                trial.report(score, epoch)
                if clock.over:
                    trial.study.stop()
                    break
                if trial.should_prune():
                    raise library.TrialPruned
            return score

        sampler: Any = library.samplers.TPESampler(seed=seed)
        if warm_start is not None:
            sampler = WarmStartSampler(sampler, measured(), space, warm_start=warm_start, seed=seed)
        pruner = library.pruners.HyperbandPruner(1, EPOCHS, 3) if halving else library.pruners.NopPruner()
        study = library.create_study(
            direction="maximize", sampler=sampler, pruner=pruner, study_name=str(seed)
        )
        study.optimize(objective)

    return run


def ray(space: Space, warm_start: Informed | None = None) -> Run:
    """Return a run of Ray Tune's ASHA on random search, with a warm start or none."""
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
            self.scores = training(new_config, integer(new_config["seed"], drawn, bits=31))
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
        search = WarmStartSearch(measured(), warm_start=warm_start or NoWarmStart(), seed=seed)
        drawn: dict[str, Any] = {
            name: (tune.loguniform if d.log else tune.uniform)(d.low, d.high)
            for name, d in space.items()
            if isinstance(d, FloatDistribution)
        }
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
                clock.epoch(result["score"])

        config = tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=-1,
            max_concurrent_trials=1,
            search_alg=search,
            scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
            reuse_actors=True,
        )
        with TemporaryDirectory() as folder:
            where = tune.RunConfig(callbacks=[Count()], stop=Spent(), verbose=0, storage_path=folder)
            drawn["seed"] = seed
            tune.Tuner(Trainable, param_space=drawn, tune_config=config, run_config=where).fit()

    return run


METHODS: dict[str, Callable[[Space], Run]] = {
    "optuna_tpe": lambda space: optuna(space, halving=False),
    "optuna_tpe_informed": lambda space: optuna(space, policy(), halving=False),
    "optuna_tpe_informed_horizon": lambda space: optuna(space, policy(EPOCHS), halving=False),
    "optuna_hyperband": lambda space: optuna(space, halving=True),
    "optuna_hyperband_informed": lambda space: optuna(space, policy(), halving=True),
    "optuna_hyperband_informed_horizon": lambda space: optuna(space, policy(EPOCHS), halving=True),
    "ray_asha": ray,
    "ray_asha_informed": lambda space: ray(space, policy()),
    "ray_asha_informed_horizon": lambda space: ray(space, policy(EPOCHS)),
}


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for runs.csv and table.md; runs resume"
    )
    parser.add_argument("--seeds", type=int, default=20, help="paired seeds (default 20)")
    parser.add_argument("--methods", nargs="+", choices=sorted(METHODS), default=None, help="all")
    parser.add_argument("--architecture", action="store_true", help="tune the network too; Optuna only")
    options = parser.parse_args()
    able = [method for method in METHODS if not (options.architecture and method.startswith("ray"))]
    methods = options.methods or able
    if unable := sorted(set(methods) - set(able)):
        parser.error(f"--methods: with --architecture must be some of {able}, but got {unable}")
    space = SPACE | ARCHITECTURE if options.architecture else SPACE
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    folder = options.output / "cells"
    folder.mkdir(exist_ok=True)
    pilots = [_cell(folder, "optuna_tpe", PILOT + i, space).best_at(AT) for i in range(PILOTS)]
    target = float(np.median(pilots))
    cells = {
        (method, seed): _cell(folder, method, seed, space)
        for seed in range(FIRST, FIRST + options.seeds)
        for method in methods
    }
    runs = options.output / "runs.csv"
    with runs.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "variation", "seed", "time", "score"])
        for (method, seed), clock in cells.items():
            best = -math.inf
            for at, score in clock.scores:
                if score > best:  # only the incumbent matters, and the file stays small
                    best = score
                    writer.writerow(["digits", method, seed, f"{at:.4f}", f"{score:.6f}"])
    rows = _rows(runs, target, methods)
    table = _table(rows, cells, target)
    (options.output / "table.md").write_text(table)
    (options.output / "provenance.json").write_text(json.dumps(provenance(), indent=2) + "\n")
    sys.stdout.write(table)
    return 0


def _cell(folder: Path, method: str, seed: int, space: Space) -> Clock:
    """Return a finished run, from its file if there is one."""
    path, clock = folder / f"{method}-{seed}.json", Clock()
    if path.is_file():
        clock.scores = [(at, score) for at, score in json.loads(path.read_text())]
        return clock
    begun = time.perf_counter()
    METHODS[method](space)(seed, clock)
    path.write_text(json.dumps(clock.scores))
    sys.stderr.write(f"{method} {seed}: best {clock.best_at(1.0):.4f}, {time.perf_counter() - begun:.1f} s\n")
    return clock


def _rows(runs: Path, target: float, methods: list[str]) -> list[dict[str, Any]]:
    rows = []
    for baseline in ("optuna_tpe", "optuna_hyperband", "ray_asha"):
        others = [m for m in methods if m.endswith("_informed") or m == f"{baseline}_informed_horizon"]
        if baseline not in methods or not others:
            continue
        request = Request(
            baseline, target, others, budget=BUDGET, wall_clock=False, clock="training [epochs]"
        )
        events: list[dict[str, Any]] = []
        compare_file(runs, request, events.append)
        rows += [event for event in events if event.get("event") == "comparison"]
    return rows


def _table(rows: list[dict[str, Any]], cells: dict[tuple[str, int], Clock], target: float) -> str:
    methods = list(dict.fromkeys(method for method, _ in cells))
    seeds = len(cells) // len(methods)
    lines = [
        f"Digits, {seeds} paired seeds, target {target:.4f}, budget {BUDGET} epochs.",
        "",
        "| | median time to target [epochs] | reached | best score, median |",
        "|---|---|---|---|",
    ]
    for method in methods:
        own = [clock for (name, _), clock in cells.items() if name == method]
        times = [min((at for at, score in c.scores if score >= target), default=math.inf) for c in own]
        median = float(np.median(times))
        shown = f"{median:.0f}" if math.isfinite(median) else f"over {BUDGET}"
        best = np.median([clock.best_at(1.0) for clock in own])
        reached = sum(math.isfinite(t) for t in times)
        lines.append(f"| {method} | {shown} | {reached} of {seeds} | {best:.4f} |")
    lines += [
        "",
        "| against | with the warm start | ratio of times to target [95 %] | p (Holm) | verdict |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        ratio, p = row["time_to_target"]["ratio"], row["time_to_target"]["p_holm"]
        interval = f"{ratio['estimate']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
        lines.append(f"| {row['baseline']} | {row['warm_start']} | {interval} | {p:.2g} | {row['verdict']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

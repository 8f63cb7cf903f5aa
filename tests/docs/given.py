"""What the reader of a page has: names, files, and what the fragment of an experiment is part of."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.nn.functional import cross_entropy

from hypernudge import ASHA, ModuleTask, RandomSearch, Real, SearchSpace, tune
from tests.docs.snippets import ROOT

# What a fragment of an experiment file stands in.
COMMON = {
    "task": "breast_cancer_mlp",
    "scheduler": {"name": "asha", "max_units": 9},
    "budget": {"units": 9},
    "target": 0.9,
    "seeds": {"first": 0, "count": 6},
}
VARIATIONS: dict[str, Any] = {"plain": {"warm_start": "none"}, "nudged": {"warm_start": "curvature_band"}}
_REAL_TASK = {"task": "cifar10_resnet20_small"}
COMMON_OF = {"modules": _REAL_TASK, "games": {"task": "cartpole"}}
"""Other values of `COMMON` on some pages."""
VARIATIONS_OF = {
    "trees": {"plain": {"warm_start": "none"}, "density": {"warm_start": "density"}},
    "evidence": {
        "plain": {"warm_start": "none"},
        **{
            label: {"warm_start": {"name": "fixed_band", "label": label}}
            for label in ("ohgw", "aees", "ohgw_aees", "halving")
        },
    },
}
ALTERNATIVES = {"episodes"}
"""Pages whose blocks are alternatives: each finds a new model and optimizer."""
ROOMS = ("benchmarks", "config", "examples", "experiments", "scripts", "src", "tests")
"""What commands in a clone find in the working directory."""


class Net(nn.Sequential):
    """A classifier of four numbers."""

    def __init__(self, width: int = 4):
        super().__init__(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))


def loader(rows: int = 96) -> torch.utils.data.DataLoader:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 4, generator=generator)
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, (x.sum(1) > 0).long()), batch_size=32
    )


def names() -> dict[str, Any]:
    """Return the names that a reader has: a task, a model, an optimizer, loaders, a loss."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    task = ModuleTask(
        model=lambda hp: nn.Linear(4, 2),
        data=(loader(), loader()),
        loss=lambda model, batch, hp: cross_entropy(model(batch[0]), batch[1]),
        score="accuracy",
        space=SearchSpace([Real("lr", 1e-4, 1.0, log=True), Real("momentum", 0.0, 0.9)]),
    )
    tuned = {"task": task, "tune": tune, "ASHA": ASHA}
    loaders = {name: loader() for name in ("loader", "train_loader", "valid_loader", "test_loader")}
    training = {"criterion": nn.CrossEntropyLoss(), "cross_entropy": cross_entropy, "Net": Net, "MLP": Net}
    return {**tuned, **loaders, **training, "model": model, "optimizer": optimizer, "epochs": 2, "nn": nn}


def clone(folder: Path) -> None:
    """Make `folder` look like a clone to whoever works in it."""
    for room in ROOMS:
        (folder / room).symlink_to(ROOT / room, target_is_directory=True)


def aees_experiments(folder: Path, monkeypatch: Any) -> None:
    """Results of SST-2, as published, and of CIFAR-100."""
    from hypernudge.experiments.training.results import save_run_result
    from tests.experiments.synthetic import result_of

    clone(folder)
    shutil.copytree(ROOT / "benchmarks/results/sst2_minilm/records", folder / "results")
    for mode in ("baseline", "adaptive", "random"):
        for seed in (0, 1):
            result = result_of(mode, seed)
            save_run_result(result, folder / "results" / f"cifar-{mode}-{seed}.json")


def dash(folder: Path, monkeypatch: Any) -> None:
    """A kept study."""
    from tests.dash.kept import keep
    from tests.study.synthetic import study_of

    keep(folder / "runs" / "mine", study_of(trials=12))


def evidence(folder: Path, monkeypatch: Any) -> None:
    """Runs of two methods, and studies of Optuna."""
    from tests.evidence.tool_outputs import optuna_study

    random.seed(0)
    with (folder / "runs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["task", "variation", "seed", "time", "score"])
        for seed in range(8):
            for method, speed in (("asha", 1.0), ("mine", 1.5)):
                for step in range(1, 31):
                    rows.writerow(
                        ["digits", method, seed, step, 1 - 0.9 ** (speed * step) + random.gauss(0, 0.01)]
                    )
    for seed in (0, 1):
        optuna_study(f"sqlite:///{folder / 'studies.db'}", f"digits-tpe-{seed}", [0.5, 0.4, 0.45])


def experiments(folder: Path, monkeypatch: Any) -> None:
    """A prior of one's own."""
    shutil.copy(ROOT / "hypernudge" / "warmstart" / "prior.json", folder / "mine.json")


def trees(folder: Path, monkeypatch: Any) -> None:
    """A table."""
    random.seed(0)
    with (folder / "mine.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "region", "size", "price"])
        for number in range(200):
            size = random.random()
            rows.writerow([number, random.choice("abc"), size, 3 * size + random.gauss(0, 0.1)])


def warm_starts(folder: Path, monkeypatch: Any) -> None:
    """An experiment on a task of one's own, and past studies of every kind."""
    from tests.harness.test_past_prior import optuna_storage, ray_experiment, results, table
    from tests.warmstart.pasts import SPACE, tried
    from tests.warmstart.test_past_choice import formula

    (folder / "config").mkdir()
    shutil.copy(ROOT / "examples" / "own_task.py", folder / "config" / "spirals.py")
    common = {**COMMON, "task": "spirals:Spirals", "seeds": {"count": 1}, "budget": {"units": 20}}
    common["scheduler"] = {"name": "random", "max_units": 1, "max_trials": 12}
    experiment = {"common": common, "variations": {"plain": {"warm_start": "none"}}}
    (folder / "config" / "mine.yaml").write_text(yaml.safe_dump(experiment))
    monkeypatch.setenv("HOME", str(folder))
    (folder / "results" / "trees").mkdir(parents=True)
    results(folder / "results" / "trees", monkeypatch, seeds=(0,))
    for seed, name in enumerate(("kept", "next")):
        tune(formula(), RandomSearch(SPACE, max_trials=12), seed=seed, study=folder / "runs" / name)
    optuna_storage(folder / "study.db", tried(n=12))
    ray_experiment(folder / "ray_results", tried(n=12))
    table(folder / "past.csv", tried(n=12))


FILES: dict[str, Callable[[Path, Any], None]] = {
    name: made
    for name, made in globals().items()
    if name in ("aees_experiments", "dash", "evidence", "experiments", "trees", "warm_starts")
}
"""What a page's reader finds in the working directory."""
NEEDS = {
    "start/optuna": "optuna",
    "start/lightning": "lightning",
    "start/suggest": "lightning",
    "start/transformers": "transformers",
    "start/ray_tune": "ray.tune",
    "start/syne_tune": "syne_tune",
    "trees": "xgboost",
    "games": "stable_baselines3",
    "dash": "plotly",
    "aees_experiments": "mlflow",
    "warm_starts": "optuna",
    "evidence": "optuna",
}
"""What a page is about must be installed."""

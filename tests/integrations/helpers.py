"""One small training that every tool's test tunes."""

import math

import numpy as np
import torch
from torch import nn

from hypernudge import Categorical, Real, SearchSpace
from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import Nudge
from hypernudge.warmstart.past.file import PastFile
from hypernudge.warmstart.past.studies import PastTrial, past_study

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(64, 5, generator=GENERATOR)
Y = (X[:, 0] > 0).long()


def model(hp):
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2))


def loss(model, batch, hp):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def training():
    return ModuleLoss(model, (X, Y), loss, batch_size=32)


class Tenfold:
    """A policy that any test can follow: ten times the learning rate, whatever the bounds."""

    def __call__(self, task, sampled, history, streams):
        number = len(history.trials)
        lr = sampled["lr"] * 10
        # It learns, draws and measures like a real one.
        known = [t.nudge.measurements["seen"] for t in history.trials if "seen" in t.nudge.measurements]
        measurements = {"seen": float(number), "known": float(len(known))}
        measurements["draw"] = float(streams("tenfold", number).random())
        inside = task.space["lr"].clip(lr)
        return Nudge(
            sampled.replace(lr=inside), "tenfold", changed=True, reason="x10", measurements=measurements
        )


def no_model(hp):
    raise RuntimeError("out of memory")


def flat_loss(model, batch, hp):
    return nn.functional.cross_entropy(model(batch[0]), batch[1]) * math.nan


def score(config):
    """A stand-in for training: lower is better, best at lr = 0.1."""
    return abs(math.log10(config["lr"]) + 1.0) + 0.1 * config.get("momentum", 0.0)


def past_prior(folder, names=("lr", "momentum", "act")):
    """A prior of past studies of `score`, whose best configurations have lr = 0.1; returns its path."""
    space = SearchSpace(
        [
            parameter
            for parameter in (
                Real("lr", 1e-4, 1.0, log=True),
                Real("momentum", 0.0, 0.99),
                Categorical("act", ("relu", "tanh")),
            )
            if parameter.name in names
        ]
    )
    studies = []
    for task in range(4):
        rng = np.random.default_rng(task)
        configs = [dict(space.sample(rng)) for _ in range(40)]
        trials = [PastTrial(config, {1: -score(config)}) for config in configs]
        studies.append(past_study(f"t{task}", trials, log=("lr",)))
    PastFile(tuple(studies)).dump(folder / "past.json")
    return str(folder / "past.json")


def near_the_best(configs, name="lr"):
    """How many learning rates lie within a factor of three of the best."""
    return sum(abs(math.log10(config[name]) + 1.0) < 0.5 for config in configs)

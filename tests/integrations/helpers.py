"""One small training that every tool's test tunes."""

import math

import torch
from torch import nn

from hypernudge.tasks.module import ModuleLoss
from hypernudge.trial import Nudge

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

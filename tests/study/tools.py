"""Studies that run in milliseconds."""

from __future__ import annotations

import torch
from torch import nn

from hypernudge import ASHA, Categorical, ModuleTask, Real, SearchSpace
from tests.conftest import Bowl

SPACE = SearchSpace([Real("lr", 1e-3, 10.0, log=True), Categorical("width", (4, 8, (1, 2)))])
TRAIN, VALID, TEST = slice(0, 64), slice(64, 128), slice(128, 192)


def data():
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(192, 8, generator=drawn)
    return x, (x.sum(1) + 0.5 * torch.randn(192, generator=drawn) > 0).long()


def model(hp):
    width = hp["width"] if isinstance(hp["width"], int) else 6
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))


def loss(net, batch, hp):
    """Raises for large rates and is not finite for some others."""
    if float(torch.as_tensor(hp["lr"]).detach()) > 5:
        raise RuntimeError("this rate is too large")
    value = nn.functional.cross_entropy(net(batch[0]), batch[1])
    return value * float("nan") if 2 < float(torch.as_tensor(hp["lr"]).detach()) < 5 else value


def module(**options):
    x, y = data()
    parts = tuple((x[part], y[part]) for part in (TRAIN, VALID, TEST))
    settings = {"score": "accuracy", "schedule": "cosine", "batch_size": 16, **options}
    return ModuleTask(model=model, data=parts, loss=loss, space=SPACE, **settings)


class Minimised(Bowl):
    """The bowl with a score that is to be made small."""

    metric = "squared error"

    def score(self, params, split):
        return -super().score(params, split)


class AlwaysFails(Bowl):
    def batch(self, seed, step):
        raise OSError("the disk is gone")


def asha(space, trials=12, units=9):
    return ASHA(space, max_units=units, max_trials=trials)


def plain(events):
    """Return events without wall times, as text: NaN is then equal to itself."""
    import dataclasses

    found = []
    for event in events:
        if hasattr(event, "wall_seconds"):
            error = event.error and event.error.strip().splitlines()[-1]
            event = dataclasses.replace(event, wall_seconds=0.0, error=error)
        if hasattr(event, "nudge"):
            event = dataclasses.replace(event, nudge=dataclasses.replace(event.nudge, wall_seconds=0.0))
        found.append(repr(event))
    return found


class Troubled(Bowl):
    """Some trials raise, some diverge."""

    name = "troubled"

    def loss(self, params, batch, hp):
        if hp["label_smoothing"] < 0.05:
            raise RuntimeError("out of luck")
        value = super().loss(params, batch, hp)
        return value * float("nan") if hp["label_smoothing"] > 0.25 else value

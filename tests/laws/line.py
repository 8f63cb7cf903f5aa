"""The task of one weight that the tests of arguments share."""

import torch

from hypernudge import (
    ASHA,
    OHGW,
    GradientTask,
    Informed,
    RandomSearch,
    Real,
    SearchSpace,
    tune,
)

LR, MOMENTUM = Real("lr", 1e-4, 1.0, log=True), Real("momentum", 0.0, 0.9)


SPACE = SearchSpace([LR, MOMENTUM])


class Line(GradientTask):
    """One weight; nothing of it is ever trained in this file unless an argument is right."""

    name, space, batch_size, steps_per_unit, step_flops = "line", SPACE, 4, 2, 1e6

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def init(self, seed):
        return {"w": torch.ones(1)}

    def batch(self, seed, step):
        return {"x": torch.ones(4, 1)}

    def loss(self, params, batch, hp):
        return ((batch["x"] @ params["w"]) ** 2).mean()

    def score(self, params, split):
        return -float(params["w"].abs())


def search(space=SPACE, **options):
    return RandomSearch(space, **{"max_units": 1, "max_trials": 2, **options})


def study(task=None, scheduler=None, **options):
    """Return what tunes; nothing is built before it is called."""
    scheduler = search() if scheduler is None else scheduler
    return lambda: tune(task or Line(), scheduler, **{"seed": 0, **options})


WARM_STARTS = {
    "an unknown name": ("informd", "warm_start"),
    "no name": ("", "warm_start"),
    "a class": (Informed, "warm_start"),
    "another class": (OHGW, "warm_start"),
    "an optimizer's class": (torch.optim.SGD, "warm_start"),
    "true": (True, "warm_start"),
    "a list": (["informed"], "warm_start"),
    "a mapping without a name": ({"prior": "none"}, "warm_start"),
    "an unknown option": ({"name": "informed", "prio": "none"}, "warm_start.prio"),
    "an option out of range": ({"name": "informed", "max_units": 0}, "max_units"),
    "a prior that is not there": ({"name": "informed", "prior": "no/such/file"}, "prior"),
    "a module that is not there": ("nowhere:Policy", "warm_start"),
    "a function of one argument": (lambda config: config, "warm_start"),
    "a scheduler": (ASHA(SPACE), "warm_start"),
    "a function that returns nothing": (lambda task, sampled, history, streams: None, "warm_start"),
    "a function that returns a configuration": (
        lambda task, sampled, history, streams: sampled,
        "warm_start",
    ),
    "what moves nothing of the space": ({"name": "literal", "only": ["width"]}, "only"),
}

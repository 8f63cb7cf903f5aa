"""Optimizers, their groups of parameters, and schedules."""

import math
from functools import partial

import pytest
import torch

from hypernudge import suggest
from tests.suggestion.small import QUICK, data, loss, network


class Extra(torch.optim.SGD):
    """Keeps something that its state does not hold."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.scale = 0.5

    def step(self, closure=None):
        assert self.scale == 0.5
        return super().step(closure)


@pytest.mark.parametrize(
    "optimizer",
    [
        torch.optim.SGD,
        partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=1e-3),
        torch.optim.Adam,
        torch.optim.AdamW,
        partial(torch.optim.AdamW, foreach=True),
        partial(torch.optim.Adam, lr=torch.tensor(1e-3), capturable=False),
        torch.optim.RMSprop,
        torch.optim.Adagrad,
        torch.optim.NAdam,
        torch.optim.LBFGS,
        Extra,
    ],
)
def test_any_optimizer(optimizer):
    found = suggest(network(), loss, data(), optimizer, **QUICK)
    assert found.basis == "trials"
    assert 1e-5 < found.lr < 1e3 and math.isfinite(found.curvature)
    best = min(trial.loss for trial in found.trials)
    assert best < 0.75 * found.untrained


def test_groups_keep_their_proportions_also_under_a_scheduler():
    model = network()
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters(), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 10)
    found = suggest(model, loss, data(), optimizer, **QUICK)
    assert found.ratios == pytest.approx((1, 10))
    found.apply(optimizer)
    assert [g["initial_lr"] for g in optimizer.param_groups] == pytest.approx([found.lr, 10 * found.lr])
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([found.lr / 10, found.lr])


@pytest.mark.parametrize("still", [0, 1])
def test_a_group_whose_rate_is_0_stays_still_also_under_a_scheduler(still):
    model = network()
    groups = [{"params": model[k].parameters(), "lr": 0.0 if k == 2 * still else 0.1} for k in (0, 2)]
    optimizer = torch.optim.SGD(groups)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    found = suggest(model, loss, data(), optimizer, schedule=scheduler, **QUICK)
    assert found.ratios[still] == 0 and found.ratios[1 - still] == 1
    found.apply(optimizer, scheduler)
    rates = [0.0 if k == still else found.lr for k in (0, 1)]
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(rates)
    assert scheduler.base_lrs == pytest.approx(rates)


def test_rates_that_are_all_0_are_set_in_schedulers_as_well():
    optimizer = torch.optim.SGD(network().parameters(), 0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    found = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    found.apply(optimizer, scheduler)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == found.lr


def test_a_schedule_that_rises_above_its_base_rate_says_its_peak():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    built = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=50)
    found = suggest(model, loss, data(), optimizer, schedule=built, steps=50, **QUICK)
    assert found.peak == pytest.approx(25 * found.lr, rel=0.05)
    assert f"(base rate of OneCycleLR, whose peak is {found.peak:.2g}, 50 steps)" in str(found)
    found.apply(optimizer, built)
    assert optimizer.param_groups[0]["max_lr"] == pytest.approx(found.peak, rel=0.05)


class Plain(torch.optim.Optimizer):
    """As people write one: the gradients must be there, a closure is not looked at."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p -= group["lr"] * p.grad


class Bare(Plain):
    """The same, and a closure is not even taken."""

    def step(self):
        super().step()


@pytest.mark.parametrize("optimizer", [Plain, Bare])
def test_an_optimizer_that_calls_no_closure(optimizer):
    theirs = suggest(network(), loss, data(), optimizer, **QUICK)
    pytorchs = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    assert theirs.lr == pytest.approx(pytorchs.lr, rel=1e-3)
    assert theirs.gradients == pytorchs.gradients


def test_a_scheduler_of_pytorch_is_followed():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    built = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
    ours = suggest(model, loss, data(), optimizer, steps=200, schedule="cosine", **QUICK)
    theirs = suggest(model, loss, data(), optimizer, steps=200, schedule=built, **QUICK)
    assert theirs.schedule == "CosineAnnealingLR" and ours.schedule == "cosine"
    assert theirs.lr == pytest.approx(ours.lr, rel=0.05)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "power"),
    [
        (torch.optim.SGD, "constant", 0.3),
        (torch.optim.SGD, "cosine", 0.15),
        (torch.optim.AdamW, "constant", 0.6),
        (torch.optim.AdamW, "cosine", 0.3),
        (torch.optim.RMSprop, "constant", 0.6),
        (partial(torch.optim.SGD, momentum=0.9), "constant", 0.3),
    ],
)
def test_the_rate_falls_with_the_length_of_the_training(optimizer, schedule, power):
    def asked(steps):
        return suggest(network(), loss, data(), optimizer, steps=steps, schedule=schedule, **QUICK)

    short, long, longest = asked(8), asked(80), asked(10**6)
    assert long.trials == short.trials == longest.trials
    assert long.lr == pytest.approx(short.lr / 10**power, rel=1e-6)
    assert longest.lr == pytest.approx(short.lr / 10 ** (1.5 * power), rel=1e-6)  # no further than that
    assert long.high / long.low == pytest.approx(short.high / short.low)

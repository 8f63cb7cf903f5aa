"""Trainings of known length, whose rates are watched."""

import torch

from hypernudge.episodes import EpisodicScheduler
from tests.episodes.helpers import Problem

STEPS = 240


def groups_of(problem, lr=0.1):
    """Return two groups with rates and decays of their own, as embeddings and norms have."""
    first, *rest = problem.model.parameters()
    return [{"params": [first], "lr": lr, "weight_decay": 0.1}, {"params": rest, "lr": 2 * lr}]


def sgd(problem, lr=0.1):
    return torch.optim.SGD(groups_of(problem, lr), lr=lr, momentum=0.9)


def train(problem, optimizer, episodes, steps, schedule=None, start=0):
    """Return the multiplier of every step, and the rates of both groups."""
    seen = []
    for step in range(start, start + steps):
        optimizer.zero_grad()
        loss = problem.loss(step, size=32)
        loss.backward()
        if episodes.controller.uses_loss:
            episodes.observe(loss)
        bases = [group["lr"] for group in optimizer.param_groups]
        optimizer.step()
        assert [group["lr"] for group in optimizer.param_groups] == bases
        seen.append((bases, episodes.last_lr))
        if schedule is not None:
            schedule.step()
    return seen


def multipliers(seen):
    return [rates[0] / bases[0] for bases, rates in seen]


def annealed(lr=0.1, steps=STEPS, total=STEPS, **options):
    problem = Problem()
    optimizer = sgd(problem, lr)
    episodes = EpisodicScheduler(optimizer, total_steps=total, **options)
    return episodes, train(problem, optimizer, episodes, steps), problem

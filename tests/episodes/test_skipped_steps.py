"""A gradient scaler that skips a step inside a fused kernel: as if the step had not been asked for."""

import math

import pytest
import torch

from hypernudge.episodes import Alignment, CustomAxis, EpisodicScheduler, GradientNoise, LearningRate
from tests.episodes.helpers import Problem, same

OPTIMIZERS = {
    "sgd": lambda p, fused: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=fused),
    "adam": lambda p, fused: torch.optim.Adam(p, lr=0.01, fused=fused),
    "adamw": lambda p, fused: torch.optim.AdamW(p, lr=0.01, fused=fused),
    "adagrad": lambda p, fused: torch.optim.Adagrad(p, lr=0.01, fused=fused),
}


def run(name, fused, build, *, scaled=True, steps=20):
    """Train with every second step overflowing; without a scaler it is left out instead."""
    problem = Problem()
    optimizer = OPTIMIZERS[name](problem.model.parameters(), fused)
    episodes = build(optimizer)
    # Powers of two: scaling and unscaling are exact.
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**30, growth_interval=10_000, enabled=scaled)
    for step in range(steps):
        optimizer.zero_grad()
        loss = problem.loss(step)
        scaler.scale(loss).backward()
        if step % 2:
            problem.model[0].weight.grad.fill_(math.inf)
        episodes.observe(loss)
        if scaled or step % 2 == 0:
            scaler.step(optimizer)
            scaler.update()
        assert optimizer.param_groups[0]["lr"] in (0.1, 0.01)
    return problem, episodes


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "build",
    [
        lambda o: EpisodicScheduler(
            o, LearningRate([0.5, 2.0]), GradientNoise([0.0, 0.05]), episode_length=3, seed=2
        ),
        lambda o: EpisodicScheduler(
            o, LearningRate([0.5, 2.0]), episode_length=3, seed=2, deferred_reads=True
        ),
        lambda o: EpisodicScheduler(
            o, CustomAxis("held", [0.0, 1.0], lambda v: None, lambda t: None), episode_length=2, seed=1
        ),
    ],
    ids=["rate and noise", "deferred", "whole episode"],
)
@pytest.mark.parametrize("fused", [False, True])
def test_only_real_steps_count_and_the_others_leave_no_trace(name, build, fused):
    finals = [run(name, fused, build, scaled=scaled) for scaled in (False, True)]
    for _, episodes in finals:
        assert episodes.step_count == 10
    assert finals[0][1].records == finals[1][1].records
    assert same(finals[0][0].parameters(), finals[1][0].parameters())


def test_alignment_probes_real_steps_only():
    def build(optimizer):
        return EpisodicScheduler(optimizer, controller=Alignment(min_samples=2, samples=3, warmup_samples=3))

    finals = [run("sgd", True, build, scaled=scaled, steps=40) for scaled in (False, True)]
    left, right = (episodes for _, episodes in finals)
    assert left.step_count == right.step_count == 20
    assert [record.end_step for record in left.records] == [record.end_step for record in right.records]
    assert left.records

"""The hook-based scheduler in an ordinary training loop."""

import math

import pytest
import torch
from torch import nn

from hypernudge.episodes import (
    CustomAxis,
    DiscountedUCB,
    EmaLogReward,
    EpisodicScheduler,
    Exp3,
    GradientNoise,
    LearningRate,
    Momentum,
    ThompsonSampling,
    TrendContext,
    WeightDecay,
)
from tests.episodes.helpers import Problem, same, sgd, train


def test_neutral_arm_is_the_bare_optimizer_bit_for_bit():
    finals = []
    for attach in (False, True):
        problem = Problem()
        optimizer = torch.optim.AdamW(problem.model.parameters(), lr=0.01)
        episodes = None
        if attach:
            episodes = EpisodicScheduler(
                optimizer, LearningRate([1.0]), GradientNoise([0.0]), Momentum([1.0]), WeightDecay([1.0])
            )
        train(problem, optimizer, 20, episodes)
        finals.append(problem.parameters())
    assert same(*finals)


def test_multiplied_steps_are_steps_at_the_multiplied_rate():
    plain, steered = Problem(), Problem()
    train(plain, sgd(plain, 0.05, momentum=0.9), 12)
    optimizer = sgd(steered, 0.1, momentum=0.9)
    rates = train(steered, optimizer, 12, EpisodicScheduler(optimizer, LearningRate([0.5])))
    assert same(plain.parameters(), steered.parameters())
    assert rates == [[0.1]] * 12


def test_episodes_and_records():
    problem = Problem()
    optimizer = sgd(problem)
    with EpisodicScheduler(
        optimizer, LearningRate([0.5, 1.0, 2.0]), episode_length=5, reward=EmaLogReward(), seed=0
    ) as episodes:
        train(problem, optimizer, 18, episodes)
    spans = [(record.start_step, record.end_step) for record in episodes.records]
    assert spans == [(0, 4), (5, 9), (10, 14), (15, 17)]
    assert sorted(record.selection.arms[0] for record in episodes.records[:3]) == [0, 1, 2]
    first = episodes.records[0]
    assert first.loss_start == Problem().loss(0).item()
    assert first.reward.base == math.log(first.reward.ema_start + 1e-8) - math.log(
        first.reward.ema_end + 1e-8
    )
    before = len(episodes.records)
    train(problem, optimizer, 6)  # detached: an ordinary optimizer again
    assert len(episodes.records) == before


def test_criterion_hook_sees_training_losses_only():
    problem = Problem()
    criterion = nn.CrossEntropyLoss()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), criterion=criterion, episode_length=3)
    inputs, targets = torch.zeros(2, 4), torch.zeros(2, dtype=torch.long)
    for _ in range(3):
        with torch.no_grad():
            criterion(problem.model(inputs) * 100, targets)  # an evaluation
        loss = criterion(problem.model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert episodes.records[0].loss_end == loss.item()
    episodes.detach()
    assert not criterion._forward_hooks


class Output(dict):
    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("wrap", [lambda loss: {"loss": loss}, lambda loss: Output(loss=loss)])
def test_watching_a_model_that_returns_its_loss(wrap):
    class WithLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return wrap((self.weight * x).pow(2).sum())

    model = WithLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    episodes = EpisodicScheduler(optimizer, LearningRate([1.0, 2.0]), criterion=model, episode_length=2)
    for _ in range(2):
        model(torch.ones(3))["loss"].backward()
        optimizer.step()
    assert episodes.records[0].loss_start == 3.0


def test_accumulation_counts_real_steps_and_averages_micro_batches():
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), episode_length=2)
    seen = []
    for micro in range(16):
        loss = problem.loss(micro) / 4
        loss.backward()
        episodes.observe(loss)
        seen.append(loss.item())
        if micro % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
    assert episodes.step_count == 4
    assert len(episodes.records) == 2
    assert episodes.records[0].loss_start == sum(seen[:4]) / 4
    assert episodes.records[1].loss_end == sum(seen[12:]) / 4


@pytest.mark.parametrize("bandit", [DiscountedUCB, ThompsonSampling, Exp3])
@pytest.mark.parametrize("conditional", [False, True])
def test_every_axis_and_bandit_together(bandit, conditional):
    problem = Problem()
    optimizer = torch.optim.AdamW(problem.model.parameters(), lr=0.01, weight_decay=0.1)
    dropout = nn.Dropout(0.1)

    def set_dropout(value):
        old, dropout.p = dropout.p, value
        return old

    seen = []
    episodes = EpisodicScheduler(
        optimizer,
        LearningRate([0.5, 2.0]),
        GradientNoise([0.0, 0.01]),
        WeightDecay([0.0, 1.0, 3.0]),
        Momentum([0.5, 1.0, 2.0]),
        CustomAxis("dropout", [0.0, 0.3], set_dropout, lambda old: setattr(dropout, "p", old)),
        bandit=bandit,
        conditional=conditional,
        context=TrendContext(),
        episode_length=3,
        seed=1,
    )

    def look(_optimizer, _args, _kwargs):
        group = optimizer.param_groups[0]
        seen.append((group["lr"], group["weight_decay"], group["betas"][0], dropout.p))

    optimizer.register_step_pre_hook(look)  # registered later, so it runs inside ours
    chosen = []
    for step in range(30):
        assert dropout.p == episodes.current.values[4]  # in force before the forward pass
        loss = problem.loss(step)
        optimizer.zero_grad()
        loss.backward()
        episodes.observe(loss)
        chosen.append(episodes.current.values)
        optimizer.step()
        group = optimizer.param_groups[0]
        assert (group["lr"], group["weight_decay"], group["betas"]) == (0.01, 0.1, (0.9, 0.999))
    for (rate, _, decay, horizon, p), inside in zip(chosen, seen, strict=True):
        beta = 1 - (1 - 0.9) / horizon
        assert inside == pytest.approx((0.01 * rate, 0.1 * decay, beta, p))
    assert len(set(chosen)) > 3
    episodes.detach()
    assert dropout.p == 0.1


def test_seedless_schedulers_differ_and_remember_their_seed():
    seeds = {EpisodicScheduler(sgd(Problem()), LearningRate([1.0])).seed for _ in range(4)}
    assert len(seeds) == 4

"""What goes wrong in training, and wrong arguments: named, and nothing left half applied."""

import math

import pytest
import torch

from hypernudge.episodes import (
    CustomAxis,
    EmaLogReward,
    EpisodicScheduler,
    GradientNoise,
    LearningRate,
    Momentum,
    WeightDecay,
)
from tests.episodes.helpers import Problem, same, sgd, train


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_step_that_raises_leaves_the_base_rate_and_counts_for_nothing(order):
    class Explosive(torch.optim.SGD):
        armed = False

        def step(self, closure=None):
            if self.armed:
                raise FloatingPointError("boom")
            return super().step(closure)

    problem = Problem()
    optimizer = Explosive(problem.model.parameters(), lr=0.1)
    if order == "before":
        torch.optim.lr_scheduler.StepLR(optimizer, 100)
    episodes = EpisodicScheduler(optimizer, LearningRate([4.0]), episode_length=3)
    if order == "after":
        torch.optim.lr_scheduler.StepLR(optimizer, 100)
    train(problem, optimizer, 2, episodes)
    optimizer.armed = True
    with pytest.raises(FloatingPointError, match="boom"):
        train(problem, optimizer, 1, episodes)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert episodes.step_count == 2
    optimizer.armed = False
    train(problem, optimizer, 1, episodes)
    assert episodes.step_count == 3
    assert len(episodes.records) == 1


def nan_at(episodes, problem, optimizer, bad, steps=6):
    for step in range(steps):
        loss = problem.loss(step)
        optimizer.zero_grad()
        loss.backward()
        episodes.observe(loss * math.nan if step in bad else loss)
        optimizer.step()


@pytest.mark.parametrize("deferred", [False, True])
class TestNonFinite:
    def build(self, policy, deferred):
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(
            optimizer,
            LearningRate([0.5, 2.0]),
            episode_length=3,
            non_finite=policy,
            reward=EmaLogReward(),
            deferred_reads=deferred,
        )
        return episodes, problem, optimizer

    def test_ignored_steps_leave_the_reward_of_the_others(self, deferred):
        episodes, problem, optimizer = self.build("ignore", deferred)
        nan_at(episodes, problem, optimizer, {1})
        record = episodes.records[0]
        assert record.reward == EmaLogReward()([record.loss_start, record.loss_end])
        assert len(episodes.records) == 2

    def test_an_episode_of_nothing_else_teaches_nothing(self, deferred):
        episodes, problem, optimizer = self.build("ignore", deferred)
        before = episodes.controller.state_dict()["bandits"][0][0]["pulls"]
        nan_at(episodes, problem, optimizer, {0, 1, 2}, steps=3)
        assert episodes.records[0].reward is None
        assert episodes.controller.state_dict()["bandits"][0][0]["pulls"] == before

    def test_worst_reward(self, deferred):
        episodes, problem, optimizer = self.build("worst", deferred)
        nan_at(episodes, problem, optimizer, {1})
        assert episodes.records[0].reward.value == -1.0
        assert episodes.records[1].reward.value > -1.0

    def test_raising_leaves_nothing_half_applied(self, deferred):
        episodes, problem, optimizer = self.build("raise", deferred)
        with pytest.raises(ValueError, match="finite"):
            nan_at(episodes, problem, optimizer, {1})
        assert optimizer.param_groups[0]["lr"] == 0.1
        nan_at(episodes, problem, optimizer, set(), steps=6)
        assert episodes.records[-1].reward is not None


def test_wrappers_are_unwrapped_and_strangers_refused():
    class Wrapper:
        def __init__(self, optimizer):
            self.optimizer = optimizer

    optimizer = sgd(Problem())
    assert EpisodicScheduler(Wrapper(Wrapper(optimizer)), LearningRate([1.0])).optimizer is optimizer
    with pytest.raises(TypeError, match=r"optimizer: must be a torch\.optim\.Optimizer"):
        EpisodicScheduler(object(), LearningRate([1.0]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda o: EpisodicScheduler(o, episode_length=5), "axes: must not be empty"),
        (lambda o: EpisodicScheduler(o, LearningRate([])), "lr_candidates: must not be empty"),
        (lambda o: EpisodicScheduler(o, LearningRate([0.0])), "lr_candidates: must all be above 0"),
        (lambda o: EpisodicScheduler(o, GradientNoise([-1.0])), "noise_candidates: must all be 0 or above"),
        (lambda o: EpisodicScheduler(o, WeightDecay([1.0])), "weight_decay above 0"),
        (lambda o: EpisodicScheduler(o, Momentum([1.0])), "neither betas nor a momentum"),
        (lambda o: EpisodicScheduler(o, LearningRate([1.0]), LearningRate([1.0])), "different names"),
        (lambda o: EpisodicScheduler(o, LearningRate([1.0]), episode_length=0), "episode_length: must be"),
        (lambda o: EpisodicScheduler(o, LearningRate([1.0]), non_finite="x"), "non_finite: must be one of"),
        (lambda o: CustomAxis("", [1.0], print, print), "name: must not be empty"),
        (lambda o: CustomAxis("a", [], print, print), "must not be empty"),
        (lambda o: CustomAxis("a", [math.inf], print, print), "must be finite"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build(sgd(Problem()))


def test_losses_must_be_scalar_and_present():
    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]))
    with pytest.raises(ValueError, match=r"loss: must be a scalar, but has shape \(3,\)"):
        episodes.observe(torch.ones(3))
    problem.loss(0).backward()
    before = problem.parameters()
    with pytest.raises(RuntimeError, match="no loss was observed before"):
        optimizer.step()
    assert same(before, problem.parameters())
    assert optimizer.param_groups[0]["lr"] == 0.1

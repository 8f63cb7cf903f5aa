"""When an axis acts: for an episode, around a step, or once the gradients of a step have been computed."""

import pytest
import torch

from hypernudge.episodes import CustomAxis, EpisodicScheduler, GradientNoise, LearningRate
from hypernudge.episodes.axes.param_group_axis import ParamGroupAxis
from tests.episodes.helpers import Problem, same, sgd, train


class Clip:
    """A user's axis: the largest norm of the gradients."""

    name = tag = "clip"
    phase = "gradients"
    neutral = float("inf")

    def __init__(self, candidates):
        self.candidates = tuple(candidates)
        self.applied, self.undone = [], []

    def check(self, optimizer):
        pass

    def apply(self, optimizer, value):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.applied.append(value)
        return float(torch.nn.utils.clip_grad_norm_(parameters, value))

    def undo(self, optimizer, token):
        self.undone.append(token)


def test_phases_of_the_axes():
    phases = [axis.phase for axis in (LearningRate([1.0]), GradientNoise([0.0]))]
    assert phases == ["step", "gradients"]
    for whole, phase in ((True, "episode"), (False, "step")):
        assert CustomAxis("a", [1.0], float, print, whole_episode=whole).phase == phase


class Dampening(ParamGroupAxis):
    """A user's axis whose candidates are the values themselves, 1 among them."""

    name, tag, argument, neutral = "dampening", "damp", "dampening candidates", None

    def change(self, group, value, saved):
        saved.append((group, "dampening", group["dampening"]))
        group["dampening"] = value


def test_a_candidate_of_one_is_applied_where_candidates_are_values():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    axis = Dampening([1.0])
    assert axis.keys(optimizer) == {"dampening"}
    token = axis.apply(optimizer, 1.0)
    assert optimizer.param_groups[0]["dampening"] == 1.0
    axis.undo(optimizer, token)
    assert optimizer.param_groups[0]["dampening"] == 0
    assert LearningRate([1.0, 2.0]).apply(optimizer, 1.0) is None


def test_an_axis_of_the_user_s_own_changes_the_gradients():
    clipped, plain = Problem(), Problem()
    optimizer, axis = sgd(clipped), Clip([0.1])
    with EpisodicScheduler(optimizer, axis, episode_length=2) as episodes:
        train(clipped, optimizer, 3, episodes)
    bare = sgd(plain)
    for step in range(3):
        bare.zero_grad()
        plain.loss(step).backward()
        torch.nn.utils.clip_grad_norm_(plain.model.parameters(), 0.1)
        bare.step()
    assert same(clipped.parameters(), plain.parameters())
    assert axis.applied == [0.1] * 3
    assert len(axis.undone) == 3
    assert all(norm > 0.1 for norm in axis.undone)


def test_every_evaluation_of_a_closure_has_its_gradients_changed():
    problem, axis = Problem(), Clip([0.1])
    optimizer = torch.optim.LBFGS(problem.model.parameters(), lr=0.1, max_iter=4)
    EpisodicScheduler(optimizer, axis, GradientNoise([0.01]), episode_length=2, seed=0)
    evaluations = []

    def closure():
        evaluations.append(1)
        optimizer.zero_grad()
        loss = problem.loss(0)
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    assert len(axis.applied) == len(axis.undone) == len(evaluations) > 2


def test_a_neutral_value_is_not_applied():
    problem, axis = Problem(), Clip([float("inf")])
    optimizer = sgd(problem)
    train(problem, optimizer, 2, EpisodicScheduler(optimizer, axis, episode_length=1))
    assert axis.applied == []


def test_noise_serves_several_schedulers_and_each_draws_its_own():
    axis, moved = GradientNoise([0.1]), []
    for seed in (0, 1, 0):
        problem = Problem()
        optimizer = sgd(problem)
        train(problem, optimizer, 3, EpisodicScheduler(optimizer, axis, seed=seed))
        moved.append(problem.parameters())
    assert same(moved[0], moved[2])
    assert not same(moved[0], moved[1])
    with pytest.raises(RuntimeError, match="no source; pass the axis to EpisodicScheduler"):
        axis.apply(sgd(Problem()), 0.1)


def test_an_unknown_phase_is_refused():
    axis = Clip([0.1])
    axis.phase = "gradient"
    match = "phase of axis 'clip': must be one of 'episode', 'step', 'gradients'.*pass 'gradients'"
    with pytest.raises(ValueError, match=match):
        EpisodicScheduler(sgd(Problem()), axis)

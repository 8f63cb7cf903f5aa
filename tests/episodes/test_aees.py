"""The step_start/step_end front: order of calls, recovery, checkpoints."""

import dataclasses
import math

import pytest
import torch

import hypernudge
from hypernudge import AEES
from hypernudge.episodes import CandidateConfig
from tests.episodes.helpers import Problem, same


def front(problem=None, optimizer=None, **options):
    problem = problem or Problem()
    optimizer = optimizer or torch.optim.SGD(problem.model.parameters(), lr=0.1)
    options = {"lr_candidates": (0.5, 2.0), "episode_length": 3, "seed": 0, **options}
    return AEES(optimizer, **options), problem


def one_step(aees, problem, step, loss=None):
    aees.step_start(step)
    aees.optimizer.zero_grad()
    own = problem.loss(step)
    own.backward()
    aees.step_end(own if loss is None else loss)


def test_record_is_frozen_and_the_same_for_an_episode():
    aees, problem = front(noise_candidates=(0.0, 0.05))
    picks = []
    for step in range(6):
        picks.append(aees.step_start(step))
        assert aees.current_candidate is picks[-1]
        problem.loss(step).backward()
        aees.step_end(1.0)
        assert aees.current_candidate is None
    assert picks[0] is picks[1] is picks[2] is not picks[3]
    assert picks[3] is picks[5]
    assert CandidateConfig("lr1_n0") == CandidateConfig("lr1_n0", 1.0, 0.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        picks[0].lr_multiplier = 3.0


@pytest.mark.parametrize(
    ("rate", "noise", "name"),
    [(1.2, 0.05, "lr1p2_n0p05"), (1.0, 0.0, "lr1_n0"), (1e-5, 0.0, "lr1em05_n0")],
)
def test_names(rate, noise, name):
    aees, _ = front(lr_candidates=(rate,), noise_candidates=(noise,))
    assert aees.step_start(0).name == name


def test_wrong_order_of_calls_is_named_and_harmless():
    aees, problem = front()
    with pytest.raises(RuntimeError, match=r"step_end\(\) called without step_start"):
        aees.step_end(1.0)
    with pytest.raises(ValueError, match="step: must be at least 0"):
        aees.step_start(-1)
    aees.step_start(0)
    with pytest.raises(RuntimeError, match=r"step_start\(\) called twice"):
        aees.step_start(0)
    with pytest.raises(RuntimeError, match=r"finalize\(\) called with an open step"):
        aees.finalize()
    with pytest.raises(RuntimeError, match=r"state_dict\(\) called with an open step"):
        aees.state_dict()
    problem.loss(0).backward()
    aees.step_end(1.0)
    aees.finalize()
    aees.finalize()
    assert len(aees.get_logs()["episode_rewards"]) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, torch.tensor(math.nan)])
def test_non_finite_loss_is_refused_before_anything_changes(bad):
    aees, problem = front()
    one_step(aees, problem, 0)
    before = problem.parameters()
    with pytest.raises(ValueError, match="finite"):
        one_step(aees, problem, 1, loss=bad)
    assert same(before, problem.parameters())
    assert aees.optimizer.param_groups[0]["lr"] == 0.1
    for step in range(1, 3):
        one_step(aees, problem, step)
    logs = aees.get_logs()
    assert logs["episode_end_steps"] == [2]


def test_a_loss_without_logarithm_is_refused_before_the_update():
    aees, problem = front(ema_alpha=1.0)
    one_step(aees, problem, 0)
    one_step(aees, problem, 1)
    before = problem.parameters()
    with pytest.raises(ValueError, match="loss: must stay positive"):
        one_step(aees, problem, 2, loss=-1.0)
    assert same(before, problem.parameters())
    for step in range(3, 6):  # the episode was dropped, a new one begins
        one_step(aees, problem, step)
    assert aees.get_logs()["episode_start_steps"] == [3]
    one_step(aees, problem, 6, loss=-2.0)
    with pytest.raises(ValueError, match="loss: must stay positive"):
        aees.finalize()
    aees.finalize()
    assert len(aees.get_logs()["episode_rewards"]) == 1


def test_a_raising_step_leaves_the_base_rate_and_the_front_usable():
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.1)
    aees, _ = front(problem, optimizer)
    one_step(aees, problem, 0)
    good = optimizer.step

    def bad(closure=None):
        raise FloatingPointError("boom")

    optimizer.step = bad
    with pytest.raises(FloatingPointError):
        one_step(aees, problem, 1)
    assert optimizer.param_groups[0]["lr"] == 0.1
    optimizer.step = good
    one_step(aees, problem, 1)
    one_step(aees, problem, 2)
    assert aees.get_logs()["episode_end_steps"] == [2]


def test_logs_are_copies_and_norms_cost_only_on_request():
    aees, problem = front()
    for step in range(3):
        one_step(aees, problem, step)
    aees.get_logs()["episode_rewards"].append(7.0)
    logs = aees.get_logs()
    assert {len(column) for column in logs.values()} == {1}
    assert logs["mean_update_norms"] == [None]
    assert "context_buckets" not in logs
    measured, problem = front(update_norm=True, context_mode="trend")
    for step in range(3):
        one_step(measured, problem, step)
    assert measured.get_logs()["mean_update_norms"][0] > 0
    assert measured.get_logs()["context_buckets"] == ["stable"]


def test_plateau_scheduler_is_given_the_loss():
    problem = Problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
    aees, _ = front(problem, optimizer, lr_scheduler=scheduler)
    for step in range(3):
        one_step(aees, problem, step, loss=torch.tensor(1.0))
    assert optimizer.param_groups[0]["lr"] == 0.025


def test_without_compat_the_front_is_the_same_but_streams_are_independent():
    gradients = []
    for compat in ("pulseopt", None):
        parameters = [torch.nn.Parameter(torch.zeros(64)) for _ in range(2)]
        optimizer = torch.optim.SGD(parameters, lr=1.0)
        aees = AEES(optimizer, noise_candidates=(1.0,), seed=3, compat=compat, context_mode="trend")
        aees.step_start(0)
        for parameter in parameters:
            parameter.grad = torch.zeros(64)
        aees.step_end(1.0)
        gradients.append([parameter.grad.clone() for parameter in parameters])
    assert torch.equal(gradients[0][0], torch.randn(64, generator=torch.Generator().manual_seed(3)))
    assert not torch.equal(gradients[0][0], gradients[1][0])
    with pytest.raises(ValueError, match="compat: must be"):
        AEES(optimizer, compat="x")
    aees, problem = front(compat=None, control_mode="random", noise_candidates=(0.0, 0.1))
    for step in range(30):
        one_step(aees, problem, step)
    assert set(aees.get_logs()["selected_lr_indices"]) == {0, 1}


def test_import_of_the_package_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, hypernudge; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "AEES" in dir(hypernudge)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = hypernudge.nonsense

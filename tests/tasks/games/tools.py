"""Small tasks on games, and what tests compare of a trial."""

import torch

from hypernudge.space import Config
from hypernudge.tasks.games.task import PPOTask

CONTROL = {
    "lr": 1e-3,
    "ent_coef": 3e-3,
    "vf_coef": 0.5,
    "clip_range": 0.2,
    "gamma": 0.98,
    "gae_lambda": 0.9,
    "max_grad_norm": 0.5,
    "minibatches": 4,
    "epochs": 3,
}


def control(game="cartpole", **options):
    """Return a task of seconds."""
    small = {"environments": 4, "length": 32, "unit_steps": 128, "episodes": 2, "schedule": "constant"}
    return PPOTask(game, space="ppo_control", **{**small, **options})


def pong(**options):
    """Return Pong with as few steps as there can be."""
    small = {"environments": 2, "length": 8, "unit_steps": 16, "episodes": 1, "frames": 200, "device": "cpu"}
    return PPOTask("pong", space={"lr": {"low": 1e-5, "high": 1e-2, "log": True}}, **{**small, **options})


def config(task, **values):
    """Return a configuration of the task's space."""
    known = {
        **{p.name: p.decode(0.5) for p in task.space},
        **{n: v for n, v in CONTROL.items() if n in task.space},
    }
    return Config({**known, **values})


def trained(task, hp, units, seed=7):
    """Return a trial after some units, with its parameters after each."""
    state = task.start(seed)
    return state, [after_a_unit(task, state, hp) for _ in range(units)]


def after_a_unit(task, state, hp):
    """Train a unit; return the parameters."""
    assert task.advance(state, hp)
    return task.weights(state)


def equal(a, b):
    """Whether two lists of parameters have the same bits."""
    same = [
        p.keys() == q.keys() and all(torch.equal(p[n], q[n]) for n in p) for p, q in zip(a, b, strict=True)
    ]
    return bool(same) and all(same)

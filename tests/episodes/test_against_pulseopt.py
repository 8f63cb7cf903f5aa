"""Bit equality with the published package over random configurations."""

import copy
import math
import random
import struct

import pytest
import torch
from torch import nn

from hypernudge import AEES

pulseopt = pytest.importorskip(
    "pulseopt", reason="the published package is not installed (extra `peers`), nothing to compare with"
)

CASES = 220


def bits(value):
    """Make equality bitwise: 0.0 and -0.0 differ, and so do ints and floats of different value."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, list):
        return [bits(item) for item in value]
    return value


def random_configuration(rng):
    rates = rng.choice([(1.0,), (0.5, 1.0, 2.0), (0.7, 1.3), (0.1, 0.5, 1, 2, 10), (2.0,)])
    noises = rng.choice([(0.0,), (0.0, 0.01), (0.0, 0.005, 0.05), (0.02,), (1e-5, 0.1)])
    low = rng.choice([-1.0, -0.05, -0.3])
    return {
        "lr_candidates": rates,
        "noise_candidates": noises,
        "episode_length": rng.choice([1, 2, 3, 5, 8]),
        "control_mode": rng.choice(["adaptive", "adaptive", "random"]),
        "structured_control_mode": rng.choice(["independent", "conditional"]),
        "context_mode": rng.choice(["none", "trend"]),
        "context_trend_window": rng.choice([1, 2, 3, 5]),
        "context_trend_epsilon": rng.choice([0.0, 1e-3, 0.05]),
        "reward_instability_lambda": rng.choice([0.0, 0.1, 2.0]),
        "reward_epsilon": rng.choice([1e-8, 1e-3]),
        "reward_clip_min": low,
        "reward_clip_max": rng.choice([low, 0.02, 1.0]),
        "ema_alpha": rng.choice([0.1, 0.5, 1.0]),
        "seed": rng.randrange(1000),
    }


def build_model(seed):
    torch.manual_seed(seed)  # test only: the layers' own initialisation has no generator argument
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    model[0].bias.requires_grad_(seed % 3 != 0)
    return model


def build_optimizer(kind, model):
    groups = [{"params": model[0].parameters(), "lr": 0.03}, {"params": model[2].parameters()}]
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    if kind == "adamw":
        return torch.optim.AdamW(groups, lr=0.01)
    return torch.optim.RMSprop(groups, lr=0.005)


def build_scheduler(kind, optimizer):
    if kind == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    if kind == "step":
        return torch.optim.lr_scheduler.StepLR(optimizer, 7, gamma=0.8)
    return None


def train(front, model, optimizer, steps, finalize_at, data):
    generator = torch.Generator().manual_seed(data)
    rates, picks = [], []
    for step in range(steps):
        picks.append(front.step_start(step))
        assert front.current_candidate is picks[-1]
        optimizer.zero_grad()
        inputs = torch.randn(6, 4, generator=generator)
        targets = torch.randint(3, (6,), generator=generator)
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        front.step_end(loss if step % 2 else loss.item())
        assert front.current_candidate is None
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        if step in finalize_at:
            front.finalize()
    front.finalize()
    return rates, [(p.name, p.lr_multiplier, p.noise_std) for p in picks]


@pytest.mark.parametrize("block", range(4))
def test_same_bits_as_the_package(block):
    for case in range(block, CASES, 4):
        rng = random.Random(case)
        options = random_configuration(rng)
        steps = rng.randrange(17, 36)
        finalize_at = set(rng.sample(range(steps), rng.choice([0, 2, 5])))
        optimizer_kind = rng.choice(["sgd", "adamw", "rmsprop"])
        scheduler_kind = rng.choice(["none", "cosine", "step"])
        results = []
        model = build_model(case)
        for make, extra in ((pulseopt.AEES, {}), (AEES, {"update_norm": True})):
            twin = copy.deepcopy(model)
            optimizer = build_optimizer(optimizer_kind, twin)
            scheduler = build_scheduler(scheduler_kind, optimizer)
            front = make(optimizer, lr_scheduler=scheduler, **options, **extra)
            rates, picks = train(front, twin, optimizer, steps, finalize_at, case)
            logs = front.get_logs()
            parameters = [parameter.detach().clone() for parameter in twin.parameters()]
            results.append((rates, picks, logs, parameters))
        theirs, ours = results
        where = f"case {case}: {options}"
        assert bits(theirs[0]) == bits(ours[0]), where
        assert theirs[1] == ours[1], where
        assert set(theirs[2]) == set(ours[2]), where
        assert len(ours[2]["episode_rewards"]) >= 2, where
        for name, column in theirs[2].items():
            assert bits(column) == bits(ours[2][name]), f"{name}; {where}"
        for left, right in zip(theirs[3], ours[3], strict=True):
            assert torch.equal(left, right), where


def test_every_mode_is_among_the_cases():
    drawn = [random_configuration(random.Random(case)) for case in range(CASES)]
    for key in ("control_mode", "structured_control_mode", "context_mode"):
        assert {options[key] for options in drawn} >= {
            "control_mode": {"adaptive", "random"},
            "structured_control_mode": {"independent", "conditional"},
            "context_mode": {"none", "trend"},
        }[key]


@pytest.mark.parametrize(
    "wrong",
    [
        {"control_mode": "x"},
        {"context_mode": "x"},
        {"structured_control_mode": "x"},
        {"lr_candidates": ()},
        {"lr_candidates": (1.0, 0.0)},
        {"noise_candidates": ()},
        {"noise_candidates": (-0.1,)},
        {"episode_length": 0},
        {"reward_instability_lambda": -1.0},
        {"reward_epsilon": 0.0},
        {"reward_clip_min": 1.0, "reward_clip_max": 0.0},
        {"context_trend_window": 0},
        {"context_trend_epsilon": -1.0},
        {"ema_alpha": 0.0},
        {"ema_alpha": 1.5},
        {"episode_length": 0, "ema_alpha": 2.0, "lr_candidates": (-1,), "context_mode": "x"},
    ],
)
def test_refuses_what_the_package_refuses(wrong):
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    with pytest.raises(ValueError):
        pulseopt.AEES(optimizer, **wrong)
    names = ["context_mode"] if len(wrong) == 4 else list(wrong)
    with pytest.raises(ValueError, match=names[0].removesuffix("_min")):
        AEES(optimizer, **wrong)


def test_defaults_are_the_package_s():
    import inspect

    theirs = inspect.signature(pulseopt.AEES).parameters
    ours = inspect.signature(AEES).parameters
    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name
    assert math.isclose(ours["ema_alpha"].default, 0.1)


def test_unseeded_constant_noise_is_the_package_s():
    results = []
    for make in (pulseopt.AEES, AEES):
        model = build_model(1)
        optimizer = build_optimizer("sgd", model)
        front = make(optimizer, noise_candidates=(0.1,), episode_length=3)
        train(front, model, optimizer, 7, (), 3)
        results.append([parameter.detach().clone() for parameter in model.parameters()])
    for left, right in zip(*results, strict=True):
        assert torch.equal(left, right)

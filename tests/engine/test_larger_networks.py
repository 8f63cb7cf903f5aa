"""ResNet-20 and a Transformer: population = one trial in an ordinary loop, batched and member by member."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from benchmarks.confirmation.networks import LanguageTask, ResNetTask
from hypernudge.engine.trainer import Population
from hypernudge.engine.trajectory import Trajectory
from hypernudge.random import Streams
from hypernudge.task import GradientTask

STREAMS = Streams(11)


class SmallResNet(ResNetTask):
    """ResNet-20 on 16 samples of 8x8 noise."""

    batch_size = 4


class SmallLanguage(LanguageTask):
    batch_size, steps_per_unit, length = 2, 2, 8


def resnet():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(80, 3, 8, 8, generator=generator)
    return SmallResNet((images, torch.randint(0, 10, (80,), generator=generator)))


def language():
    return SmallLanguage(Path("absent"))  # then a text that ships with Python serves


def in_float64(task):
    """The same task in double precision."""
    init, batch = task.init, task.batch

    def double(tensors):
        return {n: v.double() if v.is_floating_point() else v for n, v in tensors.items()}

    task.init = lambda seed: double(init(seed))
    task.batch = lambda seed, step: double(batch(seed, step))
    if isinstance(task, ResNetTask):
        task.held_out = {part: (x.double(), y) for part, (x, y) in task.held_out.items()}
    task.module.double()
    return task


@pytest.mark.parametrize("make", [resnet, language])
@pytest.mark.parametrize(
    ("max_batched_flops", "dtype", "tolerance"),
    [(math.inf, "float64", 1e-10), (math.inf, "float32", 1e-3), (0.0, "float64", 1e-12)],
)
def test_population_is_serial(make, max_batched_flops, dtype, tolerance):
    task = in_float64(make()) if dtype == "float64" else make()
    configs = [task.space.sample(STREAMS("config", i)).replace(lr=0.01) for i in range(3)]
    seeds = [STREAMS.trial_seed(i) for i in range(3)]
    members = [Trajectory(config, seed) for config, seed in zip(configs, seeds, strict=True)]
    Population(task, max_batched_flops=max_batched_flops, threads=2).train(members)
    for member, config, seed in zip(members, configs, seeds, strict=True):
        assert member.error is None
        assert (member.shape is None) == (max_batched_flops == 0.0)  # trained alone, or in a cohort
        state = task.start(seed)
        assert GradientTask.advance(task, state, config)
        expected = task.evaluate(state, "validation")
        if member.shape is None:
            found = member.state.params
        else:
            found = {
                **member.shape.params.views(member.state.params),
                **member.shape.buffers.views(member.state.buffers),
            }
        assert found.keys() == state.params.keys()
        for name, value in state.params.items():
            assert torch.allclose(found[name], value.detach(), rtol=tolerance, atol=tolerance), name
        assert member.scores[0][0] == pytest.approx(expected, abs=1 / 16 if dtype == "float32" else 1e-9)


def test_networks_begin_alike_whatever_the_global_generator(tmp_path):
    def initial(seed):
        torch.manual_seed(seed)
        return LanguageTask(tmp_path).init(3)

    first, second = initial(0), initial(1)
    assert all(torch.equal(first[name], second[name]) for name in first)

"""What episodes cost: device reads, operations, memory."""

import torch

from hypernudge.episodes import (
    EpisodicScheduler,
    GradientNoise,
    LearningRate,
)
from tests.episodes.helpers import Problem, same, sgd, train


def test_deferred_reads_change_nothing_and_are_one_per_episode():
    results = []
    for deferred in (False, True):
        problem = Problem()
        optimizer = sgd(problem)
        episodes = EpisodicScheduler(
            optimizer, LearningRate([0.5, 1.0, 2.0]), episode_length=5, seed=3, deferred_reads=deferred
        )
        train(problem, optimizer, 33, episodes)
        episodes.finalize()
        results.append((problem.parameters(), episodes.records))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_device_reads_are_counted_by_the_dispatcher():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Reads(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten._local_scalar_dense.default:
                Reads.count += 1
            return function(*args, **(kwargs or {}))

    problem = Problem()
    optimizer = sgd(problem)
    episodes = EpisodicScheduler(
        optimizer, LearningRate([0.5, 2.0]), GradientNoise([0.0, 0.1]), episode_length=5, deferred_reads=True
    )
    with Reads():
        train(problem, optimizer, 40, episodes)
    # .tolist() of the buffer bypasses the dispatcher, so it is counted where it is made
    assert Reads.count == 0
    assert episodes.device_reads == len(episodes.records) == 8


def test_the_rate_axis_runs_no_tensor_operation_and_so_takes_no_memory():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Operations(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.names = []

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.names.append(str(function))
            return function(*args, **(kwargs or {}))

    seen = []
    for attach in (False, True):
        problem = Problem()
        optimizer = sgd(problem, momentum=0.9)
        episodes = None
        if attach:
            episodes = EpisodicScheduler(optimizer, LearningRate([0.5, 2.0]), episode_length=3)
        with Operations() as operations:
            train(problem, optimizer, 9, episodes)
        seen.append([name for name in operations.names if "_local_scalar_dense" not in name])
    assert seen[0]
    assert seen[0] == seen[1]

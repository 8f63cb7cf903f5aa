"""What episodes cost: device reads, operations, memory; and the benchmark of their time."""

import json

import pytest
import torch

from benchmarks.episodes import __main__ as command
from benchmarks.episodes import tables
from benchmarks.episodes.measure import overheads
from benchmarks.parts import Parts
from hypernudge.episodes import (
    EpisodicScheduler,
    GradientNoise,
    LearningRate,
)
from scripts import import_graph
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


def cell(**overheads):
    return {"rounds": 60, "plain_median_ms": 124.384, "overhead_percent": overheads}


def test_the_tables_show_every_cell_and_the_span_of_each_model():
    cells = {
        ("mlp_26k", "sgd"): {
            **cell(hypernudge_lr=2.078, hypernudge_default=19.4),
            "overhead_range": {"hypernudge_lr": [1.91, 2.34], "hypernudge_default": [-0.2, 23.1]},
        },
        ("mlp_26k", "adamw_fused"): cell(hypernudge_lr=4.2, hypernudge_default=33.7),
        ("resnet18", "sgd"): cell(hypernudge_lr=-0.11, hypernudge_default=0.53),
    }
    assert tables.every_cell(cells).splitlines() == [
        "| model | optimizer | rounds | plain step, ms | rate axis | default at first |",
        "|---|---|---|---|---|---|",
        "| mlp_26k | sgd | 60 | 124.38 | 2.1 (1.9 to 2.3) | 19 (-0.20 to 23) |",
        "| mlp_26k | adamw_fused | 60 | 124.38 | 4.2 | 34 |",
        "| resnet18 | sgd | 60 | 124.38 | -0.11 | 0.53 |",
    ]
    assert tables.by_model(cells).splitlines()[2:] == [
        "| MLP, 26 thousand parameters | 2.1-4.2 | 19-34 |",
        "| ResNet-18, 32x32, batch 32 | at most 0.00 | 0.53 |",
    ]


def test_overheads_are_those_of_the_steps_that_nothing_disturbed():
    plain = [1.0 + 0.001 * k for k in range(100)]
    times = {"plain": plain, "ours": [value + 0.05 for value in plain[:50]] + [9.0] * 50}
    value, low, high = overheads(times, [1.0] * 100)["ours"]
    assert value == pytest.approx(2.5, abs=0.2) and low <= value <= high


def test_the_command_goes_on_after_the_last_cell_and_prints_them_all(tmp_path, monkeypatch, capsys):
    measured = []

    def measure_cell(model, optimizer, rounds, device):
        measured.append((model, optimizer, rounds))
        return cell(hypernudge_lr=1.0)

    monkeypatch.setattr(command, "measure_cell", measure_cell)
    path = str(tmp_path / "parts.json")
    for models in (["mlp_26k"], ["mlp_26k", "resnet18"]):
        command.main(["--output", path, "--optimizers", "sgd", "--models", *models])
    assert measured == [("mlp_26k", "sgd", 3000), ("resnet18", "sgd", 60)]
    *lines, last = capsys.readouterr().out.splitlines()
    assert "| resnet18 | sgd | 60 | 124.38 | 1.0 |" in lines
    assert json.loads(last)["overhead_percent"] == {
        "mlp_26k": {"sgd": {"hypernudge_lr": 1.0}},
        "resnet18": {"sgd": {"hypernudge_lr": 1.0}},
    }
    with pytest.raises(SystemExit):
        command.main(["--output", path, "--quick"])
    assert "must be of this benchmark with" in capsys.readouterr().err


def test_the_pages_hold_the_tables_that_the_command_prints():
    folder = import_graph.ROOT / "benchmarks/results/episodes"
    settings = json.loads((folder / "parts.json").read_text())["settings"]
    cells = command.cells_of(Parts(folder / "parts.json", settings))
    assert len(cells) == 9
    assert tables.every_cell(cells) in (folder / "README.md").read_text()
    assert tables.by_model(cells) in (import_graph.ROOT / "docs/episodes.md").read_text()

"""Cells of `hypernudge run` hold no trials that wait in memory, whatever the task."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from hypernudge.parameters import Real
from hypernudge.space import SearchSpace
from hypernudge.tasks.module.task import ModuleTask

SPACE = SearchSpace([Real("lr", 1e-4, 1e-2, log=True)])


class Wide(nn.Module):
    """Eight megabytes of weights, of which a batch reads few."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * 2**20))

    def forward(self, x):
        return x @ self.weight[:16].view(4, 4)


def wide():
    """A user's task, as YAML names it."""
    x = torch.ones(8, 4)

    def loss(model, batch, hp):
        return ((model(batch[0]) - 1) ** 2).mean()

    data = ((x, x), (x, x))
    return ModuleTask(lambda hp: Wide(), data, loss, lambda model, data: float(model.weight[0]), SPACE)


class Own:
    """A task without files of its own: states of eight megabytes."""

    name, target, metric, space = "own", 0.9, "score", SPACE

    def start(self, seed):
        return {"w": torch.zeros(2 * 2**20), "n": 0}

    def advance(self, state, hp):
        state["n"] += 1
        state["w"] += hp["lr"]
        return True

    def evaluate(self, state, split):
        return float(state["w"][0])

    def unit_flops(self, hp):
        return 1e6


SCRIPT = """
import sys
from pathlib import Path
from hypernudge.engine import waiting
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import resolve_plan
from tests.memory import peak_kilobytes

waiting.IN_MEMORY = 16 * 2**20
task, folder = sys.argv[1], Path(sys.argv[2])
common = {"task": f"tests.harness.test_waiting_trials:{task}", "target": 0.9, "seeds": [0, 1]}
common |= {"scheduler": {"name": "asha", "max_units": 9}, "warm_start": {"name": "none"}}
peaks = []
for seed, units in ((0, 12), (1, 60)):
    variations = {"mine": {"budget": {"units": units}}}
    variation = resolve_plan({"common": common, "variations": variations}, folder).variations[0]
    record = run_cell(variation, seed, folder)
    assert record["status"] == "completed", record["errors"]
    peaks.append(peak_kilobytes())
waiting = [trial for trial in record["trials"] if trial["status"] == "paused"]
assert len(waiting) > 20, [trial["status"] for trial in record["trials"]]
print(peaks[1] - peaks[0])
"""


@pytest.mark.parametrize("task", ["wide", "Own"])
def test_memory_of_a_cell_does_not_grow_with_trials_that_wait(task, tmp_path):
    call = [sys.executable, "-c", SCRIPT, task, str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 80 * 1024  # more than 20 trials of 8 MB are 160 MB; 16 MB wait in memory

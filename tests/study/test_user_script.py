"""The example of a study that survives, killed at random and run again."""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hypernudge import Study
from hypernudge.study.store import FILE
from tests.study.tools import plain

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "kept_study.py"
DRIVER = """
import os, runpy, sys, types
import torch
from hypernudge.tasks.module.trials import Trials
from hypernudge.tasks.vision import images
torch.set_num_threads(1)
drawn = torch.Generator().manual_seed(0)
kinds = torch.rand(10, 32, 32, 3, generator=drawn)

class Part:
    def __init__(self, count):
        self.labels = torch.randint(10, (count,), generator=drawn)
        noise = torch.rand(count, 32, 32, 3, generator=drawn)
        self.images = (255 * (0.15 * kinds[self.labels] + 0.85 * noise)).to(torch.uint8)
    def tensors(self):
        return self.images, self.labels

def load_images(name, limit):
    try:
        return honest_images(name, limit=limit)
    except ValueError:  # the data set is not here: images of its size, with something to learn
        return types.SimpleNamespace(parts={part: Part(count) for part, count in limit.items()})

honest_images, images.load_images = images.load_images, load_images
honest = Trials.advance

def advance(self, state):
    before = state.reached
    going = honest(self, state)
    if state.reached > before:  # trained, and in its file
        with open("trained.txt", "a") as file:
            file.write(f"{state.file} {state.unit}\\n")
    return going

Trials.advance = advance
found = runpy.run_path(sys.argv[1])
study, task, parts = found["study"], found["task"], found["parts"]
net = task.recipe.model(study.best_config)
net.load_state_dict(study.best_weights())
with torch.no_grad():
    scores = [float((net(x).argmax(1) == y).double().mean()) for x, y in parts[1:]]
torch.save({"weights": dict(study.best_weights()), "scores": scores}, "best.pt")
"""


def run(folder, kill_after=None):
    folder.mkdir(exist_ok=True)
    (folder / "driver.py").write_text(DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "driver.py", str(SCRIPT)],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    if kill_after is not None:  # so many further units, whenever that is
        count = units(folder) + kill_after
        while units(folder) < count and process.poll() is None:
            time.sleep(0.005)
        process.kill()
    out, _ = process.communicate()
    return process.returncode, out


def units(folder):
    path = folder / "trained.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_the_script_is_short():
    code = SCRIPT.read_text().partition('"""\n')[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 25


@pytest.mark.slow
def test_a_script_killed_five_times_finds_what_it_would_have_found(tmp_path):
    code, out = run(tmp_path / "whole")
    assert code == 0
    assert re.search(r"Study of cifar10, ASHA, seed 0\n +trials: 27 \(.*failed", out)
    drawn = random.Random(7)
    for _ in range(5):
        code, _ = run(tmp_path / "killed", kill_after=drawn.randint(1, 12))
        assert code == -9
    code, again = run(tmp_path / "killed")
    assert code == 0
    assert again == out
    whole, killed = (Study.open(tmp_path / name / "runs/mine") for name in ("whole", "killed"))
    assert plain(killed.history.events) == plain(whole.history.events)
    statuses = set(killed.to_frame()["status"])
    assert statuses == {"paused", "failed", "diverged"}
    assert len(killed.to_frame()) == 27
    trained = (tmp_path / "killed" / "trained.txt").read_text().splitlines()
    assert len(trained) == len(set(trained))
    reported = len(killed.to_frame(per="unit"))
    assert len(trained) == reported == units(tmp_path / "whole")
    best, undisturbed = (
        torch.load(tmp_path / name / "best.pt", weights_only=True) for name in ("killed", "whole")
    )
    for name, value in undisturbed["weights"].items():
        assert torch.equal(value, best["weights"][name])
        assert torch.equal(value, killed.best_weights()[name])
    assert best["scores"] == pytest.approx([killed.best_value, killed.best_test], abs=1e-7)
    lines = (tmp_path / "killed/runs/mine" / FILE).read_text().splitlines()
    opened = [json.loads(line)["event"] for line in lines].count("opened")
    assert opened == 5

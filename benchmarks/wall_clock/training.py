"""One training function for all tools: it writes every score, and when it was known, to a file."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from hypernudge.parameters import Real
from hypernudge.registry import build
from hypernudge.space import Config
from hypernudge.tasks.module.task import ModuleTask

FILE = "scores.jsonl"
UNITS, ETA = 9, 3
TASKS: dict[str, dict[str, Any]] = {
    # `config/task/cifar10_resnet20_small.yaml`, in units of a third: one takes about a second of one core.
    "resnet": {
        "name": "image_classification",
        "dataset": {"name": "cifar10", "limit": {"train": 10_000, "validation": 1_000}},
        "model": {"name": "resnet20", "width": 4},
        "optimizer": "sgd",
        "schedule": "cosine",
        "augmentation": {"flip": True, "crop": 4, "colour": 0.4},
        "space": "mid",
        "batch_size": 128,
        "steps_per_unit": 13,
    },
    "tiny": {
        "name": "image_classification",
        "dataset": {"name": "cifar10", "limit": {"train": 256, "validation": 128}},
        "model": {"name": "resnet20", "width": 1},
        "optimizer": "sgd",
        "schedule": "cosine",
        "space": "mid",
        "batch_size": 64,
        "steps_per_unit": 4,
    },
}


@cache
def task_of(name: str) -> ModuleTask:
    """Return a task; once in each process."""
    torch.set_num_threads(1)
    task: ModuleTask = build("task", TASKS[name])
    return task


def ranges(name: str) -> list[tuple[str, float, float, bool]]:
    """Return name, low, high and whether the scale is logarithmic, of every hyper-parameter."""
    found = []
    for parameter in task_of(name).space:
        assert isinstance(parameter, Real)  # tools would see another space otherwise
        found.append((parameter.name, parameter.low, parameter.high, parameter.log))
    return found


class Training:
    """One trial of any tool: a unit of training for every call of `unit`.

    Args:
        name: Of the task.
        config: Hyper-parameters.
        seed: Of initialisation and data order.
        folder: Where scores are written.
    """

    def __init__(self, name: str, config: Mapping[str, Any], seed: int, folder: Path) -> None:
        self._task, self._folder = task_of(name), folder
        self._config = Config(config)
        self._study: AbstractContextManager[Any] = self._task.study(UNITS)
        self._study.__enter__()
        self._state = self._task.start(seed)

    def unit(self) -> float:
        """Train a unit; return the validation score, -1 for one that diverged."""
        finite = self._task.advance(self._state, self._config)
        score = float(self._task.evaluate(self._state, "validation")) if finite else -1.0
        note(self._folder, score)
        return score


def note(folder: Path, score: float) -> None:
    """Write down that a score is known now."""
    with (folder / FILE).open("a") as file:
        file.write(json.dumps([time.time(), score]) + "\n")


def scores(folder: Path, begun: float) -> list[tuple[float, float]]:
    """Return seconds since the tool was called, and the score, of every unit in order of time."""
    path = folder / FILE
    lines = path.read_text().splitlines() if path.exists() else []
    return sorted((at - begun, score) for at, score in map(json.loads, lines))

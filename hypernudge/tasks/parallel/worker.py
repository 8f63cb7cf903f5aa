"""A process for one further device: builds the task, and trains what the first process says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import torch

from hypernudge.errors import one_line
from hypernudge.registry import build
from hypernudge.tasks.module.task import ModuleTask
from hypernudge.tasks.parallel.devices import connected
from hypernudge.tasks.parallel.training import ParallelTraining


def main() -> int:
    """Train until the first process has ended; return the exit code."""
    lines = iter(sys.stdin)
    about = json.loads(next(lines))
    torch.set_num_threads(about["threads"])
    fabric = connected(about["rank"], about["count"], about["port"], about["device"])
    task = build("task", about["task"])
    assert isinstance(task, ModuleTask)  # no other task starts this
    try:
        _follow(lines, fabric, task)
    except Exception as error:  # the first process says more, if it is still there
        sys.stderr.write(f"device {about['rank']}: {type(error).__name__}: {one_line(error)}\n")
        return 1
    return 0


def _follow(lines: Iterator[str], fabric: Any, task: ModuleTask) -> None:
    """Do what each line says."""
    training: ParallelTraining | None = None
    for line in lines:
        told = json.loads(line)
        if told["do"] == "begin":
            training = ParallelTraining(
                fabric, None, *task.training_arguments(told["hp"], told["seed"], told["units"])
            )
            continue
        assert training is not None  # a trial begins before it does anything else
        if told["do"] == "load":
            training.load_from_first()
        else:
            training.advance()


if __name__ == "__main__":
    sys.exit(main())

"""Tasks of the engine's benchmarks, and the ordinary loops that they are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.networks import LanguageTask, ResNetTask, cifar10, standardised
from hypernudge.engine.trajectory import Trajectory
from hypernudge.random import Streams
from hypernudge.task import GradientTask
from hypernudge.tasks.builtin import supervised
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.supervised.augment import translate
from hypernudge.tasks.supervised.supervised import SupervisedTask


def make_task(name: str, data_dir: Path, batch_size: int) -> tuple[GradientTask, nn.Module]:
    """Return the task and the module of its ordinary loop."""
    if name in ("digits_mlp", "digits_cnn"):
        model = {"name": "mlp", "hidden": [32]} if name == "digits_mlp" else {"name": "cnn"}
        digits = supervised("digits", model, batch_size=batch_size, steps_per_unit=40, label=name)
        return digits, build_network(model, digits.dataset.shape, digits.dataset.classes)
    if name == "lm":
        language = LanguageTask(data_dir)
        return language, language.module
    x, y = cifar10(data_dir)
    images = ResNetTask((standardised(x, x), y))
    return images, images.module


def ordinary_loop(task: GradientTask, module: nn.Module, hp: dict[str, float]) -> Callable[[], None]:
    """Return what trains one trial for one unit and scores it, as one would write it by hand."""
    optimizer = torch.optim.SGD(
        module.parameters(), lr=hp["lr"], momentum=hp["momentum"], weight_decay=hp["weight_decay"]
    )
    position = 0

    def unit() -> None:
        nonlocal position
        module.train()
        for _ in range(task.steps_per_unit):
            batch = task.batch(0, position)
            x = batch["x"]
            if isinstance(task, SupervisedTask):
                x = translate(x, batch["noise"], hp["augmentation"])
            logits = module(x).flatten(0, -2)
            loss = F.cross_entropy(logits, batch["y"].flatten(), label_smoothing=hp["label_smoothing"])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            position += 1
        module.eval()
        with torch.no_grad():
            params = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            own = {name: params[name] for name in task.init(0)}
            task.score(own, "validation")
            task.score(own, "test")

    return unit


def members_of(task: GradientTask, count: int) -> list[Trajectory]:
    streams = Streams(0)
    return [
        Trajectory(task.space.sample(streams("config", i)).replace(lr=0.01), streams.integer("trial", i))
        for i in range(count)
    ]


def timed(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun

"""The networks of the parts that measure prices: ResNet-20, a vision transformer, a language model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hypernudge.space import Real, SearchSpace
from hypernudge.tasks.language.transformer import TransformerLM
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.networks.losses import cross_entropy
from hypernudge.tasks.vision.resnet import CifarResNet
from hypernudge.tasks.vision.vit import VisionTransformer

SPACE = SearchSpace(
    [
        Real("lr", 1e-4, 1.0, log=True),
        Real("momentum", 0.0, 0.99),
        Real("weight_decay", 1e-6, 1e-1, log=True),
        Real("label_smoothing", 0.0, 0.3),
    ]
)
HP = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "label_smoothing": 0.1}
NAMES = ("resnet20", "vit", "lm")


class Workload(NamedTuple):
    """A network with random data: only time counts."""

    model: Callable[[Any], nn.Module]
    data: tuple[Tensor, Tensor]
    optimizer: str
    batch_size: int


def workload(name: str, tiny: bool) -> Workload:
    """Return a network and its data; `tiny` for a CPU in a second."""
    drawn = torch.Generator().manual_seed(0)
    side, size, count = (8, 4, 16) if tiny else (32, 128, 2048)
    if name == "lm":
        vocabulary, width, depth, length = (32, 16, 1, 8) if tiny else (8192, 256, 6, 256)
        tokens = torch.randint(vocabulary, (count // 4, length + 1), generator=drawn)
        return Workload(
            lambda hp: TransformerLM((length,), vocabulary, width, depth, 4 if width > 16 else 2, 0.1),
            (tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()),
            "adamw",
            2 if tiny else 32,
        )
    x = torch.randn(count, 3, side, side, generator=drawn)
    data = x, torch.randint(10, (count,), generator=drawn)
    if name == "vit":
        options = (10, side, 4, 16, 1, 2) if tiny else (10, side, 4, 192, 12, 3)
        return Workload(lambda hp: VisionTransformer(*options), data, "adamw", size)
    depth, width = (8, 4) if tiny else (20, 16)
    return Workload(lambda hp: CifarResNet(depth, 10, width), data, "sgd", size)


def loss(model: nn.Module, batch: Any, hp: Any) -> Tensor:
    """Return the cross-entropy of labels or of next tokens."""
    return cross_entropy(model(batch[0]), batch[1], hp["label_smoothing"])


def module_task(name: str, device: torch.device, tiny: bool, steps: int) -> ModuleTask:
    """Return the task with so many steps in a unit; its data lie on the device."""
    work = workload(name, tiny)
    data = tuple(part.to(device) for part in work.data)
    return ModuleTask(
        work.model,
        (data, data),
        loss,
        "accuracy",
        SPACE,
        name=name,
        optimizer=work.optimizer,
        batch_size=work.batch_size,
        steps_per_unit=steps,
        units=10_000,
        device=device.type,
    )

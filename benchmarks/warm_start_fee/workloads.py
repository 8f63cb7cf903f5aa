"""The cells whose fee is measured, as experiments of the harness; two of them on networks of their own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from hypernudge.space import Real, SearchSpace
from hypernudge.tasks.language.transformer import TransformerLM
from hypernudge.tasks.module import ModuleTask
from hypernudge.tasks.vision.resnet import resnet20 as network

SPACE = SearchSpace(
    [Real("lr", 1e-4, 1.0, log=True), Real("momentum", 0.0, 0.99), Real("weight_decay", 1e-6, 1e-1, log=True)]
)
STEPS = 20
"""Optimizer steps of a unit of the two networks: few, so that a cell takes half a minute and no hours."""

DIGITS: dict[str, Any] = {"task": "digits_mlp", "space": "mid", "budget": {"units": 150}}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "population": ("population", DIGITS),
    "population_together": ("population", DIGITS),
    "serial": ("serial", DIGITS),
    "resnet20": ("serial", {"task": f"{__name__}:resnet20", "budget": {"units": 60}}),
    "lm": ("serial", {"task": f"{__name__}:lm", "budget": {"units": 60}}),
}
"""By name: engine and what else the cells have. The second trains eight cells of the first at a time."""
TOGETHER = 8


def experiment(case: str, seeds: int) -> dict[str, Any]:
    """Return an experiment of two variations, without a warm start and with `informed`."""
    return {
        "name": "warm_start_fee",
        "common": {
            "scheduler": {"name": "asha", "max_units": 27},
            "workers": 4,
            "target": 0.9,
            "seeds": {"first": 0, "count": seeds},
            **CASES[case][1],
        },
        "variations": {"none": {"warm_start": "none"}, "informed": {"warm_start": "informed"}},
    }


def resnet20() -> ModuleTask:
    """ResNet-20 with BatchNorm on images of 8 x 8 pixels, SGD: random inputs, for only time counts."""
    drawn = torch.Generator().manual_seed(0)
    x, y = torch.randn(320, 3, 8, 8, generator=drawn), torch.randint(10, (320,), generator=drawn)
    held = (x[:64], y[:64])
    return ModuleTask(
        lambda hp: network(),
        ((x, y), held),
        _classify,
        "accuracy",
        SPACE,
        name="resnet20",
        batch_size=16,
        steps_per_unit=STEPS,
        device="cpu",
    )


def lm() -> ModuleTask:
    """A Transformer language model of two blocks under AdamW, on windows of 32 random tokens."""
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.randint(512, (320, 33), generator=drawn)
    x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    return ModuleTask(
        lambda hp: TransformerLM((32,), 512, 64, 2, 4),
        ((x, y), (x[:64], y[:64])),
        _predict,
        "loss",
        SPACE,
        name="lm",
        metric="minus loss",
        metric_range=(-100.0, 0.0),
        optimizer="adamw",
        batch_size=16,
        steps_per_unit=STEPS,
        device="cpu",
    )


def _classify(model: nn.Module, batch: Any, hp: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def _predict(model: nn.Module, batch: Any, hp: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())

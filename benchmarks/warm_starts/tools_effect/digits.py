"""A 64-32-10 network on digits by SGD, up to 27 epochs a trial: an ordinary PyTorch training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from torch import Tensor, nn

from benchmarks.warm_starts.tools_effect.workload import Space, Workload
from hypernudge import Informed, ModuleLoss
from hypernudge.flops import count_flops
from hypernudge.random import torch_stream
from hypernudge.tasks.data.datasets import load_dataset
from hypernudge.warmstart.measurement import prior as priors

EPOCHS, BATCH, BUDGET = 27, 64, 450
SPACE: Space = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-1, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "label_smoothing": FloatDistribution(0.0, 0.3),
    "noise": FloatDistribution(0.0, 0.5),  # standard deviation of the noise on the inputs
}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
ARCHITECTURE: Space = {
    "width": IntDistribution(2, 64, log=True),
    "depth": IntDistribution(1, 4),
    "activation": CategoricalDistribution(list(ACTIVATIONS)),
}


@cache
def data() -> dict[str, tuple[Tensor, Tensor]]:
    """Return images and labels of the training and the validation part."""
    read = load_dataset("digits")
    return {
        part: (torch.tensor(read.x[part], dtype=torch.float32).flatten(1), torch.tensor(read.y[part]))
        for part in ("train", "validation")
    }


def network(hp: Mapping[str, Any]) -> nn.Module:
    """Return the network of a configuration, 64-32-10 where it says nothing of it."""
    width, activation = hp.get("width", 32), ACTIVATIONS[hp.get("activation", "relu")]
    widths = [64] + [width] * hp.get("depth", 1)
    hidden = [part for n, m in pairwise(widths) for part in (nn.Linear(n, m), activation())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def loss(model: nn.Module, batch: tuple[Tensor, Tensor], hp: Mapping[str, Any]) -> Tensor:
    """Return the training loss of a mini-batch."""
    x, y = batch
    log_p = model(x + hp["noise"] * torch.randn_like(x)).log_softmax(-1)
    hit = -log_p.gather(1, y.unsqueeze(1)).mean()
    result: Tensor = (1.0 - hp["label_smoothing"]) * hit - hp["label_smoothing"] * log_p.mean()
    return result


def training(hp: Mapping[str, Any], seed: int) -> Iterator[float]:
    """Train as anybody would, and yield the validation accuracy after every epoch."""
    torch.manual_seed(seed)
    model = network(hp)
    sgd = torch.optim.SGD(
        model.parameters(), lr=hp["lr"], momentum=hp["momentum"], weight_decay=hp["weight_decay"]
    )
    (x, y), (x_valid, y_valid) = data()["train"], data()["validation"]
    for epoch in range(EPOCHS):
        order = torch.randperm(len(x), generator=torch_stream(seed, "order", epoch))
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            sgd.zero_grad()
            torch.autograd.backward(loss(model, (x[rows], y[rows]), hp))
            sgd.step()
        with torch.no_grad():  # not around the yield: whoever waits there would train without gradients
            score = (model(x_valid).argmax(1) == y_valid).double().mean().item()
        yield score


def epoch_flops(hp: Mapping[str, Any]) -> float:
    """Return the cost of an epoch."""
    model, (x, y) = network(hp), data()["train"]
    steps = math.ceil(len(x) / BATCH)
    batch = x[:BATCH], y[:BATCH]
    return steps * count_flops(lambda: torch.autograd.backward(loss(model, batch, hp)))[1]


def workload(architecture: bool = False, prior: str = priors.SHIPPED) -> Workload:
    """Return the training with its space; with `architecture` width, depth and activation are tuned, too.

    Args:
        architecture: Whether the network is tuned.
        prior: Of the warm start, without what it knows of digits.
    """
    return Workload(
        name="digits",
        title="Digits",
        space=SPACE | ARCHITECTURE if architecture else SPACE,
        training=training,
        measured=lambda: ModuleLoss(network, data()["train"], loss, batch_size=BATCH),
        policy=lambda units: Informed(prior=prior, exclude_families=("digits",), max_units=units),
        step_flops=epoch_flops,
        steps=EPOCHS,
        unit="epochs",
        per_step=1.0,
        budget=BUDGET,
    )

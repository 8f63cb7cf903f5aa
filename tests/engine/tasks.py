"""Tasks that misbehave, or that only `torch.vmap` can batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from hypernudge.random import torch_stream
from hypernudge.space import Real, SearchSpace
from hypernudge.task import GradientTask
from hypernudge.tasks.builtin import supervised

SPACE = SearchSpace([Real("lr", 1e-3, 1.0, log=True), Real("momentum", 0.0, 0.99), Real("shift", 0.0, 1.0)])


def digits(model="mlp", dtype="float64", **options):
    description = {"mlp": {"name": "mlp", "hidden": [32]}, "cnn": {"name": "cnn", "channels": [8, 16]}}[model]
    settings = {"batch_size": 128, "steps_per_unit": 10, **options}
    return supervised("digits", description, dtype=dtype, **settings)


def table(dtype="float64", **options):
    model = {"name": "mlp", "hidden": [32]}
    return supervised("breast_cancer", model, batch_size=64, steps_per_unit=7, dtype=dtype, **options)


class Quadratic(GradientTask):
    """Regression with running statistics, written like a user's own task."""

    name, space, batch_size, steps_per_unit = "quadratic", SPACE, 16, 5
    metric_range = (-1e9, 1e9)
    buffers = ("running",)

    def init(self, seed):
        w = torch.randn(8, 3, generator=torch_stream(seed, "w"), dtype=torch.float64)
        return {
            "w": w,
            "b": torch.zeros(3, dtype=torch.float64),
            "running": torch.zeros(8, dtype=torch.float64),
        }

    def batch(self, seed, step):
        x = torch.randn(16, 8, generator=torch_stream(seed, "x", step), dtype=torch.float64)
        return {"x": x, "y": x[:, :3].sin()}

    def loss_and_buffers(self, params, batch, hp):
        running = 0.9 * params["running"] + 0.1 * batch["x"].mean(0)
        return self.loss(params, batch, hp), {"running": running}

    def loss(self, params, batch, hp):
        return F.mse_loss(batch["x"] @ params["w"] + params["b"], batch["y"] + hp["shift"])

    def score(self, params, split):
        bias = 1.0 if split == "test" else 0.0
        return -float((params["w"] ** 2).sum() + params["running"].sum() + bias)


class Branching(Quadratic):
    """Branches on a value, so it cannot be batched."""

    def loss(self, params, batch, hp):
        loss = super().loss(params, batch, hp)
        return loss if torch.as_tensor(hp["shift"]).detach().item() > 0.5 else 2.0 * loss


class Fragile(Quadratic):
    """Raises for one seed in its second unit."""

    culprit = -1

    def batch(self, seed, step):
        if seed == self.culprit and step >= 7:
            raise OSError("the disk is gone")
        return super().batch(seed, step)

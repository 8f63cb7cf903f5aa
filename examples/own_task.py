"""Your own PyTorch training as a task: under 40 lines from a model and data to a tuned configuration.

python examples/own_task.py
"""

import math

import torch
from torch import nn
from torch.func import functional_call

from hypernudge import ASHA, GradientTask, Informed, Real, SearchSpace, tune


class Spirals(GradientTask):
    """Two interleaved spirals, a small network, learning rate and momentum to tune."""

    name, batch_size, steps_per_unit = "spirals", 64, 30
    space = SearchSpace([Real("lr", 1e-4, 1.0, log=True), Real("momentum", 0.0, 0.99)])

    def __init__(self):
        t = torch.linspace(0.25, 3, 600).repeat(2) * math.pi
        self.y = torch.arange(2).repeat_interleave(600)
        angle = t + math.pi * self.y
        self.x = torch.stack([t * angle.cos(), t * angle.sin()], 1) / 9
        self.train = torch.randperm(1200, generator=torch.Generator().manual_seed(0)).chunk(3)
        self.model = nn.Sequential(
            nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
        )

    def init(self, seed):
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(p.shape, generator=generator) / p.shape[-1] ** 0.5
            for name, p in self.model.named_parameters()
        }

    def batch(self, seed, step):
        generator = torch.Generator().manual_seed(seed + step)
        rows = self.train[0][torch.randint(len(self.train[0]), (64,), generator=generator)]
        return {"x": self.x[rows], "y": self.y[rows]}

    def loss(self, params, batch, hp):
        return nn.functional.cross_entropy(functional_call(self.model, params, (batch["x"],)), batch["y"])

    def score(self, params, split):
        rows = self.train[1 if split == "validation" else 2]
        outputs = functional_call(self.model, params, (self.x[rows],))
        return (outputs.argmax(1) == self.y[rows]).float().mean().item()


def main():
    torch.set_num_threads(1)  # so small a network gains nothing from more
    task = Spirals()
    for warm_start in (None, Informed()):
        study = tune(task, ASHA(task.space, max_trials=40), warm_start=warm_start, seed=0, workers=4)
        trial, unit = study.best()
        name = type(warm_start).__name__ if warm_start else "plain"
        print(
            f"{name:>8}: accuracy {unit.validation:.3f} after {unit.time:.3f} s, lr {trial.config['lr']:.4f}"
        )


if __name__ == "__main__":
    main()

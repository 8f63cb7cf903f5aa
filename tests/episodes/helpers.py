import torch
from torch import nn


class Problem:
    """A small regression-like problem whose batches depend only on (seed, step)."""

    def __init__(self, seed=0):
        self.seed = seed
        generator = torch.Generator().manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)

    def loss(self, step, size=8):
        generator = torch.Generator().manual_seed(self.seed * 100_003 + step)
        inputs = torch.randn(size, 4, generator=generator)
        targets = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()
        return nn.functional.cross_entropy(self.model(inputs), targets)

    def parameters(self):
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def train(problem, optimizer, steps, episodes=None, before_step=None):
    rates = []
    for step in range(steps):
        optimizer.zero_grad()
        loss = problem.loss(step)
        loss.backward()
        if episodes is not None:
            episodes.observe(loss)
        if before_step is not None:
            before_step(step)
        optimizer.step()
        rates.append([group["lr"] for group in optimizer.param_groups])
    return rates


def sgd(problem, lr=0.1, **options):
    return torch.optim.SGD(problem.model.parameters(), lr=lr, **options)

"""Networks whose weights look trained: noise, and a large value planted in its matrices."""

import math

import torch
from torch import nn

from tests.episodes.helpers import Problem


def plant(module, times=3.0):
    """Add to every large enough matrix of `module` a value of so many times its edge; return the module."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() < 2 or min(parameter.shape[0], parameter[0].numel()) < 16:
                continue
            rows, columns = parameter.shape[0], parameter[0].numel()
            left, right = (torch.randn(side, generator=generator) for side in (rows, columns))
            edge = parameter.square().mean().sqrt() * (math.sqrt(rows) + math.sqrt(columns))
            spike = times * edge * torch.outer(left / left.norm(), right / right.norm())
            parameter += spike.view_as(parameter)
    return module


def network(classes=3):
    """Return a new network with a matrix that is large enough to be looked at."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, classes))


def problem(*, pretrained):
    """Return the problem of the other tests with such a network, new or pretrained."""
    found = Problem()
    found.model = plant(network()) if pretrained else network()
    return found

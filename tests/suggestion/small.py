"""What the tests of `suggest` share: a small network, its data and its loss."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

QUICK = {"trial_steps": 40, "seconds": None}


def data(rows=64, batch_size=8):
    x = torch.randn(rows, 4, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=batch_size)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])

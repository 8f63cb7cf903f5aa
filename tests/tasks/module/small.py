"""Small trainings with what real networks have: BatchNorm, attention, dropout, tied and frozen weights."""

import torch
from torch import nn

from hypernudge import ModuleTask, Real, SearchSpace
from hypernudge.tasks.language.transformer import TransformerLM
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
CONFIG = {"lr": 0.02, "momentum": 0.8, "weight_decay": 1e-3, "label_smoothing": 0.1}
_DRAWN = torch.Generator().manual_seed(0)
IMAGES = torch.randn(24, 3, 8, 8, generator=_DRAWN), torch.randint(10, (24,), generator=_DRAWN)
TOKENS = torch.randint(16, (24, 9), generator=_DRAWN)
WINDOWS = TOKENS[:, :-1].contiguous(), TOKENS[:, 1:].contiguous()
SIZE, STEPS = 8, 3  # samples of a batch, batches of an epoch


def classify(model, batch, hp):
    return cross_entropy(model(batch[0]), batch[1], hp["label_smoothing"])


def predict(model, batch, hp):
    return cross_entropy(model(batch[0]), batch[1], hp["label_smoothing"])


def frozen_start(hp):
    """A ResNet whose first convolution is frozen where it was drawn."""
    model = CifarResNet(8, 10, 4)
    model.conv.requires_grad_(False)
    return model


NETWORKS = {
    "resnet": (lambda hp: CifarResNet(8, 10, 4), IMAGES, classify),
    "frozen": (frozen_start, IMAGES, classify),
    "vit": (lambda hp: VisionTransformer(10, 8, 4, 16, 2, 2, dropout=0.1), IMAGES, classify),
    "lm": (lambda hp: TransformerLM((8,), 16, 16, 2, 2, dropout=0.1), WINDOWS, predict),
}


def task_of(name, **options):
    """Return a training of `SIZE` samples a step, `STEPS` steps a unit."""
    model, data, loss = NETWORKS[name]
    given = {"batch_size": SIZE, "device": "cpu", "space": SPACE, "score": "accuracy", **options}
    return ModuleTask(model, (data, data, data), loss, **given)


class Plain(nn.Module):
    """A perceptron with dropout, for what does not depend on the network."""

    def __init__(self, width=8, dropout=0.2):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(192, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, 10)
        )

    def forward(self, x):
        return self.layers(x)


def plain_task(**options):
    """Return a training of `Plain`."""
    given = {"batch_size": SIZE, "device": "cpu", "space": SPACE, "score": "accuracy", **options}
    model = given.pop("model", lambda hp: Plain())
    return ModuleTask(
        model, given.pop("data", (IMAGES, IMAGES, IMAGES)), given.pop("loss", classify), **given
    )


def weights(task, units=2):
    state = task.start(3)
    for _ in range(units):
        task.advance(state, CONFIG)
    return [value.detach().clone() for value in state.training.params]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))

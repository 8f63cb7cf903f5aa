"""A study that survives: stop it, run it again, and it goes on: python examples/kept_study.py."""

from torch import Tensor, nn, tensor

from hypernudge import ASHA, ModuleTask, Real, SearchSpace, tune
from hypernudge.tasks.vision.images import load_images

data = load_images("cifar10", limit={"train": 1000, "validation": 500, "test": 500})
parts = [data.parts[name].tensors() for name in ("train", "validation", "test")]
parts = [(images.permute(0, 3, 1, 2) / 255.0, labels) for images, labels in parts]


def cnn(hp):
    layers = [nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))


def loss(model, batch, hp):
    if hp["lr"] > 3:
        raise RuntimeError("out of luck")  # whatever happens in a training
    value: Tensor = nn.functional.cross_entropy(model(batch[0]), batch[1])
    return value * (tensor(float("nan")) if hp["lr"] < 1e-3 else 1.0)


space = SearchSpace([Real("lr", 1e-4, 10, log=True), Real("momentum", 0, 0.99)])
task = ModuleTask(cnn, parts, loss, "accuracy", space, name="cifar10", schedule="cosine", batch_size=50)
study = tune(task, ASHA(space, max_units=9, max_trials=27), seed=0, workers=2, study="runs/mine")
print(study)

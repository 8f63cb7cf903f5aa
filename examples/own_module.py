"""Your own module and loaders to a tuned configuration: python examples/own_module.py."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from hypernudge import ASHA, Integer, ModuleTask, Real, SearchSpace, tune

pixels, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
digits = TensorDataset(pixels.float() / 16, labels)
train, valid, test = random_split(digits, [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))
space = SearchSpace([Real("lr", 1e-4, 1, log=True), Real("momentum", 0, 0.99), Integer("width", 16, 128)])
task = ModuleTask(
    model=lambda hp: nn.Sequential(nn.Linear(64, hp["width"]), nn.ReLU(), nn.Linear(hp["width"], 10)),
    data=(DataLoader(train, batch_size=32, shuffle=True), DataLoader(valid, 128), DataLoader(test, 128)),
    loss=lambda model, batch, hp: nn.functional.cross_entropy(model(batch[0]), batch[1]),
    score="accuracy",
    space=space,
    schedule="cosine",
)
study = tune(task, ASHA(space, max_units=9, max_trials=12), warm_start="informed", seed=0)
trial, unit = study.best()
print(f"accuracy {unit.validation:.3f} (validation), {unit.test:.3f} (test): {trial.config}")

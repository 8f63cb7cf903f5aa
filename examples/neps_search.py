"""NePS with warm starts, under Hyperband. In an environment of its own: see docs/integrations.md.

python examples/neps_search.py
"""

import neps
import torch
from sklearn.datasets import load_digits
from torch import nn

from hypernudge import ModuleLoss
from hypernudge.integrations.neps import warm_started

digits = load_digits()
x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
train, valid = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).split([1297, 500])


def make_model(hp):
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def epochs(hp, count):
    """An ordinary training loop: yields the validation error after every epoch."""
    torch.manual_seed(0)
    model = make_model(hp)
    optimizer = torch.optim.SGD(model.parameters(), lr=hp["lr"], momentum=hp["momentum"])
    for _ in range(count):
        for rows in train[torch.randperm(len(train))].split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        yield (model(x[valid]).argmax(1) != y[valid]).float().mean().item()


# What the warm start needs to know: the model, the data, and the loss of a mini-batch.
training = ModuleLoss(
    make_model,
    (x[train], y[train]),
    lambda model, batch, hp: nn.functional.cross_entropy(model(batch[0]), batch[1]),
    batch_size=32,
)


class Space(neps.PipelineSpace):
    lr = neps.Float(1e-4, 1.0, log=True)
    momentum = neps.Float(0.0, 0.99)
    epochs = neps.IntegerFidelity(1, 4)


def main():
    optimizer = warm_started(neps.algorithms.hyperband(Space()), training, Space(), seed=0)
    tuner = neps.AskAndTell(optimizer=optimizer)
    for _ in range(12):
        trial = tuner.ask()
        error = list(epochs(trial.config, trial.config["epochs"]))[-1]
        tuner.tell(trial, error)
        print(trial.id, dict(trial.config), f"error {error:.3f}")
    for trial in optimizer.history.trials:
        print(trial.number, trial.nudge.reason)


if __name__ == "__main__":
    main()

"""Syne Tune with warm starts, in a loop of our own; `Tuner(scheduler=scheduler, ...)` takes it as well.

python examples/syne_tune_search.py
"""

import datetime

import torch
from sklearn.datasets import load_digits
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import loguniform, uniform
from syne_tune.optimizer.baselines import ASHA
from syne_tune.optimizer.scheduler import SchedulerDecision
from torch import nn

from hypernudge import ModuleLoss
from hypernudge.integrations.syne_tune import warm_started

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
space = {"lr": loguniform(1e-4, 1.0), "momentum": uniform(0.0, 0.99)}


def main():
    scheduler = ASHA(space, metric="error", time_attr="epoch", max_t=4, reduction_factor=2, random_seed=0)
    scheduler = warm_started(scheduler, training, space, seed=0)
    for number in range(12):
        trial = Trial(number, scheduler.suggest().config, datetime.datetime.now())
        scheduler.on_trial_add(trial)
        for epoch, error in enumerate(epochs(trial.config, 4), 1):
            result = {"error": error, "epoch": epoch}
            if scheduler.on_trial_result(trial, result) != SchedulerDecision.CONTINUE:
                break
        else:
            scheduler.on_trial_complete(trial, result)
        print(trial.trial_id, trial.config, f"error {error:.3f},", scheduler.history.trials[-1].nudge.reason)


if __name__ == "__main__":
    main()

"""An Optuna study with warm starts.

python examples/optuna_study.py
"""

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn

from hypernudge import ModuleLoss
from hypernudge.integrations.optuna import WarmStartSampler

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


def objective(trial):
    hp = {
        "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
        "momentum": trial.suggest_float("momentum", 0, 0.99),
    }
    for epoch, error in enumerate(epochs(hp, 3)):
        trial.report(error, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return error


def main():
    sampler = WarmStartSampler(
        optuna.samplers.TPESampler, training, seed=0
    )  # the space is what the first trial suggests
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=12)
    for trial in study.trials:
        print(trial.number, trial.params, trial.user_attrs["hypernudge"]["reason"])
    print("best error", study.best_value, study.best_params)


if __name__ == "__main__":
    main()

"""Ray Tune with warm starts: random search under ASHA.

python examples/ray_tune_search.py
"""

import os

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sklearn.datasets import load_digits
from torch import nn

from hypernudge import ModuleLoss
from hypernudge.integrations.ray_tune import WarmStartSearch

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
space = {"lr": tune.loguniform(1e-4, 1.0), "momentum": tune.uniform(0.0, 0.99)}


def trainable(config):
    for error in epochs(config, 4):
        tune.report({"error": error})


def main():
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    search = WarmStartSearch(training, seed=0)
    config = tune.TuneConfig(
        metric="error",
        mode="min",
        num_samples=8,
        search_alg=search,
        scheduler=ASHAScheduler(),
        reuse_actors=True,
    )
    results = tune.Tuner(trainable, param_space=space, tune_config=config).fit()
    for result in results:
        print(result.config, f"error {result.metrics['error']:.3f}")
    print("best", results.get_best_result().config)


if __name__ == "__main__":
    main()

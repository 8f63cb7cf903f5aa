"""The study that the tests of Optuna share."""

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler

from hypernudge.integrations.optuna import RECORD, WarmStartSampler
from hypernudge.warmstart.measurement.posterior import RANK_DEVIATION, RANK_MEAN
from tests.integrations.helpers import (
    score,
    training,
)

SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "width": IntDistribution(4, 16),
    "act": CategoricalDistribution(["relu", "tanh"]),
}


def objective(trial):
    config = {
        "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
        "momentum": trial.suggest_float("momentum", 0.0, 0.99),
        "width": trial.suggest_int("width", 4, 16),
        "act": trial.suggest_categorical("act", ["relu", "tanh"]),
    }
    trial.set_user_attr("trained", config)
    return score(config)


def study_with(sampler=TPESampler, policy=None, storage=None, direction="minimize", **options):
    wrapped = WarmStartSampler(
        sampler, options.pop("objective", training()), SPACE, warm_start=policy, **options
    )
    return optuna.create_study(
        study_name="s", sampler=wrapped, storage=storage, direction=direction, load_if_exists=True
    )


def measurements(trial):
    """What was measured for a trial; not how its start was believed to rank."""
    found = trial.user_attrs.get(RECORD, {}).get("measurements", {})
    return [name for name in found if name not in (RANK_MEAN, RANK_DEVIATION)]

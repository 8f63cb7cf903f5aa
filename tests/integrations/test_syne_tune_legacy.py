"""The legacy schedulers of Syne Tune 0.14: the model is asked what it learned: the nudged values."""

import datetime

import pytest

pytest.importorskip(
    "syne_tune.optimizer.legacy_baselines",
    reason="Syne Tune 0.14 needs an environment of its own: see docs/integrations.md",
)

import syne_tune
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, loguniform, uniform
from syne_tune.optimizer.legacy_baselines import (
    ASHA,
    MOBSTER,
    BayesianOptimization,
    GridSearch,
    SyncHyperband,
)
from syne_tune.optimizer.scheduler import SchedulerDecision

from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations.syne_tune import warm_started
from tests.integrations.helpers import Tenfold, score, training

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        not syne_tune.__version__.startswith("0.14"), reason="the tests are about Syne Tune 0.14"
    ),
]
SPACE = {"lr": loguniform(1e-4, 1.0), "momentum": uniform(0.0, 0.99), "epochs": 9}


def made(baseline):
    options = {"metric": "loss", "mode": "min", "random_seed": 0}
    if baseline is not BayesianOptimization:
        options.update(resource_attr="epoch", max_resource_attr="epochs")
    return baseline(SPACE, **options)


@pytest.mark.parametrize("baseline", [ASHA, MOBSTER, SyncHyperband, BayesianOptimization])
def test_the_model_learns_the_nudged_point_and_promotions_inherit_it(baseline):
    scheduler = made(baseline)
    assert warm_started(scheduler, training(), SPACE, warm_start=Tenfold()) is scheduler
    history = scheduler.searcher.get_config.history
    trials, promoted = {}, 0
    for _ in range(12):
        suggestion = scheduler.suggest(len(trials))
        if suggestion.spawn_new_trial_id:
            trial = Trial(len(trials), suggestion.config, datetime.datetime(2026, 1, 1))
            trials[trial.trial_id] = trial
            scheduler.on_trial_add(trial)
            first = 1
        else:
            trial, first = trials[suggestion.checkpoint_trial_id], 2
            promoted += 1
            assert suggestion.config is None or suggestion.config["lr"] == trial.config["lr"]
        for epoch in range(first, 10):
            result = {"loss": score(trial.config), "epoch": epoch}
            if scheduler.on_trial_result(trial, result) != SchedulerDecision.CONTINUE:
                break
        else:
            scheduler.on_trial_complete(trial, result)
    assert len(history.trials) == len(trials) > 3
    for trial, known in zip(trials.values(), history.trials, strict=True):
        assert trial.config["lr"] == known.config["lr"]
        assert known.nudge.changed == (known.number > 0), "their first point, the middle, counts as chosen"
    model = getattr(scheduler.searcher, "state_transformer", None)
    assert (model is not None) == (baseline in (MOBSTER, BayesianOptimization))
    if model is not None:
        learned = {number: config["lr"] for number, config in model.state.config_for_trial.items()}
        assert len(learned) > 2
        for number, lr in learned.items():
            assert lr == pytest.approx(trials[int(number)].config["lr"], rel=1e-12)


def test_a_grid_is_refused():
    grid = {"lr": choice([1e-3, 1e-2]), "momentum": uniform(0.0, 0.99)}
    with pytest.raises(InvalidArgumentError, match="scheduler: must draw its configurations"):
        warm_started(GridSearch(grid, metric="loss", mode="min"), training(), grid)


def test_another_space_than_the_schedulers_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"config_space\.lr: must be the space that is searched"):
        warm_started(made(ASHA), training(), {**SPACE, "lr": loguniform(1e-6, 1.0)})

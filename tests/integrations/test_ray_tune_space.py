"""Ray Tune's domains, nested and in lists, and its choices."""

import numpy as np
import pytest
import torch

pytest.importorskip("ray", reason="Ray Tune is an extra: install hypernudge[ray-tune]")

from optuna.samplers import TPESampler
from ray import tune

from hypernudge import ModuleLoss
from hypernudge.integrations._paths import declared
from hypernudge.integrations.optuna import RECORD
from hypernudge.integrations.ray_tune import WarmStartSearch, warm_started_optuna
from hypernudge.space import Categorical, Integer, Real
from tests.integrations.helpers import (
    Tenfold,
    X,
    Y,
    model,
    training,
)
from tests.integrations.ray_search import SPACE, run

pytestmark = pytest.mark.filterwarnings("default")


def test_nested_spaces():
    space = {"optimizer": {"lr": tune.loguniform(1e-4, 1.0)}, "units": tune.randint(1, 8)}
    search = WarmStartSearch(training(), warm_start=Tenfold(), names={"optimizer/lr": "lr"})
    config = run_one(search, space)
    assert config["optimizer"]["lr"] == search.history.trials[0].config["lr"]
    assert search.history.trials[0].nudge.changed


def test_domains_inside_lists_are_drawn():
    space = {
        "lr": tune.loguniform(1e-4, 1.0),
        "layers": [tune.choice([4, 8]), tune.choice([4, 8])],
        "blocks": [{"width": tune.randint(1, 8), "act": "relu"}, 3],
        "pair": (tune.uniform(0.0, 1.0), "x"),
        "fixed": [1, 2],
    }
    seen = []

    def sized(hp):
        seen.append(dict(hp))
        return model(hp)

    source = ModuleLoss(sized, (X, Y), lambda model, batch, hp: model(batch[0]).square().mean())
    search = WarmStartSearch(source, seed=5)
    first, second = run(search, 2, space)
    for config in (first, second):
        assert set(config["layers"]) <= {4, 8} and len(config["layers"]) == 2
        assert config["blocks"][0]["width"] in range(1, 8) and config["blocks"][0]["act"] == "relu"
        assert config["blocks"][1] == 3 and config["fixed"] == [1, 2]
        assert isinstance(config["pair"], tuple) and 0 <= config["pair"][0] <= 1 and config["pair"][1] == "x"
    assert not any(trial.nudge.flagged for trial in search.history.trials)
    assert first["lr"] == search.history.trials[0].config["lr"]
    assert set(search.history.trials[0].config) == {"lr", "layers/0", "layers/1", "blocks/0/width", "pair/0"}
    assert seen[0]["layers"] == first["layers"] and seen[0]["layers/1"] == first["layers"][1]
    assert run(WarmStartSearch(source, seed=5), 2, space) == [first, second]


def test_what_is_in_a_list_can_be_nudged():
    space = {"groups": [{"lr": tune.loguniform(1e-4, 1.0)}, {"lr": 0.5}]}
    search = WarmStartSearch(training(), warm_start=Tenfold(), names={"groups/0/lr": "lr"})
    config = run_one(search, space)
    assert search.history.trials[0].nudge.changed
    assert config["groups"] == [{"lr": search.history.trials[0].config["lr"]}, {"lr": 0.5}]


def test_choices_are_kept_as_they_are():
    space = {
        "lr": tune.loguniform(1e-4, 1.0),
        "arch": tune.choice([{"kind": "mlp", "sizes": [64, 64]}, {"kind": "cnn", "sizes": [8]}]),
        "weight_decay": tune.choice([None, 1e-4]),
        "sizes": tune.choice([[64, 64], [128]]),
        "count": tune.choice(np.array([1, 2, 2])),
        "nested": tune.choice([{"drop": tune.uniform(0.1, 0.2)}, None]),
        "twice": tune.sample_from(lambda config: 2 * config["lr"]),
    }
    search = WarmStartSearch(training(), seed=1)
    configs = run(search, 14, space)
    assert not any(trial.nudge.flagged for trial in search.history.trials)
    assert {repr(config["arch"]) for config in configs} == {repr(c) for c in space["arch"].categories}
    assert {repr(config["weight_decay"]) for config in configs} <= {"None", "0.0001"}  # it prefers one
    assert {repr(config["sizes"]) for config in configs} == {"[64, 64]", "[128]"}
    assert {config["count"] for config in configs} == {1, 2}
    assert all(config["nested"] is None or 0.1 <= config["nested"]["drop"] <= 0.2 for config in configs)
    for config, trial in zip(configs, search.history.trials, strict=True):
        assert config["twice"] == 2 * trial.sampled["lr"]


@pytest.mark.parametrize("late", [False, True])
def test_choices_come_back_from_a_checkpoint(tmp_path, late):
    space = {
        "lr": tune.loguniform(1e-4, 1.0),
        "sizes": tune.choice([(64, 64), (128,)]),
        "act": tune.choice([torch.nn.ReLU, torch.nn.Tanh]),
    }
    search = WarmStartSearch(training(), seed=1, space=space)
    run(search, 4, space)
    search.save(str(tmp_path / "state"))
    again = WarmStartSearch(training(), seed=1, space=None if late else space)
    again.restore(str(tmp_path / "state"))
    assert run(again, 2, space, first=4) == run(search, 2, space, first=4)
    assert again.history.as_table() == search.history.as_table()
    assert again.history.trials[0].config["act"] in (torch.nn.ReLU, torch.nn.Tanh)


def test_optunas_choices_too():
    space = {"lr": tune.loguniform(1e-4, 1.0), "arch": tune.choice([{"sizes": [64]}, {"sizes": [8, 8]}])}
    search = warm_started_optuna(TPESampler, training(), space, metric="loss", mode="min")
    configs = run(search, 4, space)
    assert all(config["arch"] in space["arch"].categories for config in configs)
    assert not any(trial.user_attrs[RECORD]["flagged"] for trial in search._ot_study.trials)


def run_one(search, space):
    search.set_search_properties("loss", "min", space)
    return search.suggest("t")


def test_domains():
    space = declared(
        {
            **SPACE,
            "units": tune.randint(1, 8),
            "even": tune.qrandint(2, 8, 2),
            "half": tune.quniform(0.0, 1.0, 0.5),
            "normal": tune.randn(0.0, 1.0),
        }
    )
    assert space.parameters["lr"] == Real("lr", 1e-4, 1.0, log=True)
    assert space.parameters["act"] == Categorical("act", ("relu", "tanh"))
    assert space.parameters["units"] == Integer("units", 1, 7), "Tune's upper bound is excluded"
    assert space.parameters["even"] == Integer("even", 2, 8)
    assert [space.snapped("even", value) for value in (2, 3, 7.4)] == [2, 2, 8]
    assert [space.snapped("half", value) for value in (0.2, 0.3, 7.0)] == [0.0, 0.5, 1.0]
    assert "epochs" not in space.parameters and "normal" not in space.parameters

"""`config/studies/games.yaml`, and the prior of past games: whole, with trainings of a few steps."""

import json

import pytest

from benchmarks.games.starts import starts
from hypernudge import ASHA, Informed, RandomSearch, tune
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.trial import FINITE_DIFFERENCES
from hypernudge.warmstart.past.file import load
from tests.harness.tools import ROOT

SMALL = {"environments": 2, "length": 16, "unit_steps": 32, "episodes": 2}


@pytest.mark.parametrize(
    ("name", "games", "pairs"),
    [
        ("games", {"cartpole_ppo", "acrobot_ppo"}, 20),
        ("games_cartpole", {"cartpole_ppo"}, 20),
        ("games_pong", {"pong_ppo"}, 2),  # no claim: what three hours allow
    ],
)
def test_every_setting_has_its_pairs_of_four_methods(name, games, pairs):
    plan = load_plan(ROOT / "config" / "studies" / f"{name}.yaml", ["++common.target=0"])
    labels = {}
    for variation in plan.variations:
        assert len(variation.seeds) == pairs
        labels.setdefault(variation.labels["task"], []).append(variation.labels["warm_start"])
    assert set(labels) == games
    assert all(found == ["none", "literal", "random_step", "informed"] for found in labels.values())


@pytest.mark.parametrize("policy", ["literal", "informed"])
def test_a_cell_trains(policy, tmp_path):
    pytest.importorskip("stable_baselines3", reason="extra rl")
    training = ", ".join(f"{name}: {value}" for name, value in SMALL.items())
    small = [f"++common.training={{{training}}}", "common.budget.units=9", "common.seeds.count=1"]
    plan = load_plan(ROOT / "config" / "studies" / "games.yaml", ["++common.target=0", *small])
    (tmp_path / "plan.json").write_text(json.dumps(plan.as_dict()))
    variation = next(v for v in plan.variations if v.run_id == f"cartpole-{policy}")
    record = run_cell(variation, 0, tmp_path / variation.run_id)
    assert record["status"] == "completed" and record["errors"] == []
    assert record["trials"] and not any(FINITE_DIFFERENCES in t["nudge"]["reason"] for t in record["trials"])
    found = starts(tmp_path)
    assert list(found) == [policy] and found[policy]["trials"] == len(record["trials"])
    assert policy != "literal" or found[policy]["changed"] == found[policy]["trials"]


def test_a_prior_of_past_games_informs_another_one(tmp_path):
    pytest.importorskip("stable_baselines3", reason="extra rl")
    from hypernudge.cli import main
    from tests.tasks.games.tools import control

    for game in ("acrobot", "cartpole"):
        task = control(game, **SMALL)
        tune(task, RandomSearch(task.space, max_units=1, max_trials=8), seed=1, study=tmp_path / game)
    sources, out = [str(tmp_path / game) for game in ("acrobot", "cartpole")], tmp_path / "games.json"
    assert main(["prior", "build", *sources, "--output", str(out)]) == 0
    assert {study.task for study in load(str(out)).studies} == {"acrobot_ppo", "cartpole_ppo"}
    task = control("mountain_car", **SMALL)
    policy = Informed(prior=str(out))
    study = tune(task, ASHA(task.space, max_units=1), seed=0, max_trials=3, warm_start=policy)
    assert all(trial.nudge.kind != "gave_up" for trial in study.history.trials)

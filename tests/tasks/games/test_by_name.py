"""Games as tasks of a configuration file; plans read them where the extra is not installed."""

import math
import subprocess
import sys

import pytest
import yaml

from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.dry_build import check_buildable
from hypernudge.tasks.games.catalogue import GAMES
from tests.harness.tools import ROOT


def planned(folder, task, **common):
    """Return the only variation of a plan beside the shipped configuration groups."""
    shared = {
        "task": task,
        "scheduler": {"name": "asha", "max_units": 3},
        "budget": {"units": 6},
        "workers": 2,
        "seeds": {"first": 0, "count": 1},
        **common,
    }
    path = folder / "games.yaml"
    path.write_text(yaml.safe_dump({"name": "games", "common": shared, "variations": {"only": {}}}))
    (variation,) = load_plan(path).variations
    return variation


@pytest.mark.parametrize("game", GAMES)
def test_every_game_of_the_catalogue_is_a_task_by_name(game, tmp_path):
    spec = planned(tmp_path, game).spec
    assert (spec["task"]["name"], spec["task"]["game"], spec["task"]["label"]) == ("ppo", game, f"{game}_ppo")
    assert spec["space"] == ("ppo" if GAMES[game].atari else "ppo_control")
    low, high = (math.inf if end is None else end for end in spec["task"]["metric_range"])
    assert spec["task"]["metric"] == "mean return"
    assert (abs(low), high) == (abs(GAMES[game].low), GAMES[game].high)


@pytest.mark.parametrize("task", ["cartpole", {"name": "ppo", "game": "pong"}])
def test_a_plan_of_games_can_be_built(task, tmp_path):
    """Nobody scores a policy that has not begun: a run would be refused."""
    for package in ("stable_baselines3", "ale_py"):
        pytest.importorskip(package, reason="needs the extra rl")
    planned(tmp_path, task, target=1.0)
    check_buildable(load_plan(tmp_path / "games.yaml"))


def test_the_published_run_of_the_page_is_a_plan(tmp_path):
    page = (ROOT / "docs" / "games.md").read_text()
    (text,) = [part for part in page.split("```yaml\n")[1:] if part.startswith("defaults")]
    path = tmp_path / "published.yaml"
    path.write_text(text.partition("```")[0])
    (variation,) = load_plan(path).variations
    assert (variation.spec["task"]["game"], variation.spec["training"]["unit_steps"]) == ("pong", 102_400)
    task = variation.spec["training"]
    assert task["unit_steps"] % (8 * 128) == 0
    assert task["unit_steps"] * variation.spec["scheduler"]["max_units"] * 4 > 10_000_000  # frames


WITHOUT = """
import sys

for name in ("gymnasium", "stable_baselines3", "ale_py"):
    sys.modules[name] = None
from hypernudge.errors import MissingExtraError
from hypernudge.tasks.games.task import PPOTask

for game in ("cartpole", "pong", "nosuchgame"):
    try:
        PPOTask(game)
    except MissingExtraError as error:
        print(error)
"""


def test_the_missing_extra_is_named_in_one_line():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("pip install 'hypernudge[rl]'" in line for line in lines)


def test_a_cell_runs_and_says_what_it_played(tmp_path):
    pytest.importorskip("stable_baselines3", reason="extra rl")
    from hypernudge.harness.cells.cell import run_cell

    small = {"environments": 4, "length": 32, "unit_steps": 128, "episodes": 2}
    variation = planned(tmp_path, "cartpole", training=small, warm_start="literal", target=100)
    record = run_cell(variation, 0, tmp_path / "run")
    assert record["trials"] and not any(trial["nudge"]["flagged"] for trial in record["trials"])
    assert all(0 <= value <= 500 for value in record["curve"]["validation"])
    assert record["description"]["data"]["game"] == "CartPole-v1"


def test_networks_and_games_have_names_in_src():
    pytest.importorskip("stable_baselines3", reason="extra rl")
    import torch

    from hypernudge.errors import InvalidArgumentError
    from src.model import build_model
    from src.preprocess import load_dataset

    games = load_dataset("cartpole").training(2)
    assert games.reset().shape == (2, 4)
    logits, values = build_model({"name": "ppo_mlp", "shape": (4,), "classes": 2})(torch.zeros(3, 4))
    assert logits.shape == (3, 2) and values.shape == (3,)
    picture = torch.zeros(2, 4, 84, 84, dtype=torch.uint8)
    network = build_model({"name": "ppo_cnn", "shape": (4, 84, 84), "classes": 6})
    assert network(picture)[0].shape == (2, 6)
    assert sum(p.numel() for p in network.parameters()) == 1_687_719  # as published, for six actions
    with pytest.raises(InvalidArgumentError, match="shape: must be"):
        build_model({"name": "ppo_cnn", "shape": (4,), "classes": 6})

"""The simulate command, on a table written for the purpose."""

import json
import math

import numpy as np
import pytest

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.registry import REGISTRY
from hypernudge.tasks.curves.tabulated import Tabulated

UNITS = 9


@pytest.fixture
def curves(tmp_path):
    rng = np.random.default_rng(0)
    hp = np.column_stack([10 ** rng.uniform(-4, 0, 60), rng.random(60), np.full(60, 3.0)])
    floor = (np.log10(hp[:, 0]) + 2) ** 2 + hp[:, 1]
    valid = floor[:, None] + 2.0 / np.arange(1, UNITS + 1)
    valid[7, 4:] = math.nan
    path = tmp_path / "table.npz"
    np.savez(path, hp=hp, hp_names=np.array(["lr", "beta", "fixed"]), valid=valid)
    return path


# A network that is hardly trained decides like any other.
QUICK = {"dyhpo": ("--set", "fitting={epochs: 5, refinement: 2, fit_points: 16}")}


def simulated(capsys, *arguments):
    assert main(["simulate", *map(str, arguments), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("scheduler", REGISTRY["scheduler"])
def test_prints_decisions_and_the_incumbent_curve(capsys, curves, scheduler):
    arguments = ("--scheduler", scheduler, "--curves", curves, "--workers", 4, "--seed", 3, "--budget", 90)
    arguments += QUICK.get(scheduler, ())
    events = simulated(capsys, *arguments)
    assert events == simulated(capsys, *arguments)
    decisions = [event for event in events if event["event"] == "decision"]
    reached = {}
    for event in decisions:
        assert event["since"] == reached.get(event["trial"], 0) < event["until"] <= UNITS
        assert ("config" in event) == (event["action"] == "start") == (event["since"] == 0)
        reached[event["trial"]] = event["until"]
    incumbents = [event for event in events if event["event"] == "incumbent"]
    assert [e["score"] for e in incumbents] == sorted(e["score"] for e in incumbents)
    assert [e["time"] for e in incumbents] == sorted(e["time"] for e in incumbents)
    result = events[-1]
    assert result["score"] == incumbents[-1]["score"] and result["units"] <= 90
    assert result["decisions"] == len(decisions) and result["trials"] == len(reached)
    # What is printed is in the table.
    task = Tabulated(curves)
    configs = {event["trial"]: event["config"] for event in decisions if "config" in event}
    for event in incumbents:
        row = task.table.index(configs[event["trial"]])
        assert event["score"] == -task.valid[row, event["unit"] - 1]


def test_prints_for_people_and_takes_scheduler_options(capsys, curves):
    arguments = ["--scheduler", "asha", "--curves", str(curves), "--set", "eta=2", "--set", "max_trials=4"]
    assert main(["simulate", *arguments, "--max-units", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["replay", *arguments, "--max-units", "4"]) == 0  # its former name
    assert capsys.readouterr().out.splitlines() == lines
    assert "4 trials" in lines[-1] and any("to unit 2" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scheduler", "asah"], ("--scheduler", "asha")),
        (["--scheduler", "asha", "--max-units", "99"], ("--max-units", "9")),
        (["--scheduler", "asha", "--workers", "0"], ("--workers", "[1, 10000]")),
        (["--scheduler", "asha", "--budget", "0"], ("--budget", "number in (0, 1e+07)")),
        (["--scheduler", "asha", "--budget", "inf"], ("--budget", "number in (0, 1e+07)")),
        (["--scheduler", "asha", "--set", "max_units=99"], ("--set", "--max-units")),
        (["--scheduler", "asha", "--set", "eta=["], ("--set", "YAML")),
        (["--scheduler", "asha", "--set", "eta=2.5"], ("eta", "whole number", "2.5")),
        (["--scheduler", "asha", "--sampler", "gb"], ("--sampler", "gp")),
        (["--scheduler", "bohb", "--sampler", "gp"], ("sampler", "bohb")),
        (["--scheduler", "asha", "--set", "eta"], ("--set", "KEY=VALUE")),
        (["--scheduler", "asha", "--set", "etta=3"], ("etta", "eta")),
    ],
)
def test_mistakes_are_told_before_anything_runs(capsys, curves, arguments, words):
    assert main(["simulate", "--curves", str(curves), *arguments]) == 2
    captured = capsys.readouterr()
    assert not captured.out and all(word in captured.err for word in words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.pop("valid"), "must hold the array 'valid'"),
        (lambda a: a.update(valid=a["valid"][:5]), "need hp"),
        (lambda a: a.update(valid=a["valid"][:, :0]), "need hp"),
        (lambda a: a.update(hp=a["hp"][:0], valid=a["valid"][:0]), "need hp"),
        (lambda a: a.update(hp_names=a["hp_names"][:2]), "need hp"),
        (lambda a: a.update(hp_names=np.array(["lr", "lr", "fixed"])), "hp_names must differ"),
        (lambda a: a.update(test=a["valid"].T), "test must be shaped as valid"),
        (lambda a: a.update(hp=a["hp"].astype(str)), "hp must hold numbers"),
        (lambda a: a.update(hp=a["hp"] * math.nan), "finite"),
    ],
)
def test_broken_tables_are_refused(tmp_path, curves, change, words):
    arrays = dict(np.load(curves))
    change(arrays)
    np.savez(tmp_path / "broken.npz", **arrays)
    with pytest.raises(InvalidArgumentError, match=words):
        Tabulated(tmp_path / "broken.npz")
    (tmp_path / "text.npz").write_text("no table")
    with pytest.raises(InvalidArgumentError, match="npz"):
        Tabulated(tmp_path / "text.npz")


def table_of(path, hp, valid):
    np.savez(path, hp=hp, hp_names=np.array([f"x{i}" for i in range(hp.shape[1])]), valid=valid)
    return path


RNG = np.random.default_rng(3)
ODD = {
    "one configuration": (np.ones((1, 2)), np.array([[3.0, 2.0, 1.0]])),
    "one unit": (RNG.random((20, 1)), RNG.random((20, 1))),
    "two units, whole numbers": (RNG.integers(1, 5, (20, 3)), RNG.integers(0, 3, (20, 2))),
    "all diverge": (RNG.random((20, 2)), np.full((20, 5), math.nan)),
    "all equal": (RNG.random((20, 2)), np.ones((20, 5))),
    "infinite losses": (RNG.random((20, 2)), np.where(RNG.random((20, 5)) < 0.3, math.inf, 1.0)),
}


@pytest.mark.parametrize("scheduler", REGISTRY["scheduler"])
@pytest.mark.parametrize("name", ODD)
def test_odd_tables(capsys, tmp_path, name, scheduler):
    hp, valid = ODD[name]
    path = table_of(tmp_path / "odd.npz", hp, valid)
    arguments = ("--scheduler", scheduler, "--curves", path, "--workers", 3, *QUICK.get(scheduler, ()))
    events = simulated(capsys, *arguments, "--budget", 12 * valid.shape[1])
    result = events[-1]
    assert 0 < result["units"] <= 12 * valid.shape[1]
    assert (result["score"] is None) == (name == "all diverge")
    reached = {}
    for event in events:
        if event["event"] == "decision":
            assert event["since"] == reached.get(event["trial"], 0)
            reached[event["trial"]] = event["until"]


@pytest.mark.parametrize("sampler", REGISTRY["sampler"])
def test_samplers_may_be_chosen(capsys, curves, sampler):
    arguments = ("--scheduler", "asha", "--curves", curves, "--workers", 4, "--budget", 90)
    uniform = simulated(capsys, *arguments)
    events = simulated(capsys, *arguments, "--sampler", sampler)
    assert events[-1]["trials"] > 10
    assert (events == uniform) == (sampler == "uniform")


def test_points_belong_to_the_nearest_row(curves):
    space = Tabulated(curves).table
    assert space["lr"].log and not space["beta"].log
    for row in (0, 11, 59):
        assert space.decode(space.units[row] + 1e-6) == space.rows[row]
        assert space.index(space.rows[row]) == row
    drawn = space.draw(np.random.default_rng(1), 100)
    assert len(np.unique(drawn, axis=0)) == 60
    np.testing.assert_array_equal(space.snap(drawn), drawn)

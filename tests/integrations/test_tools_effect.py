"""The benchmark of warm starts inside other tools: what a tool searches, trains, and is charged with."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

pytest.importorskip("optuna", reason="Optuna is an extra: install hypernudge[optuna]")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.warm_starts.tools_effect import __main__ as command
from benchmarks.warm_starts.tools_effect import (
    architectures,
    digits,
    neps_runs,
    optuna_runs,
    ray_runs,
    report,
    syne_tune_runs,
)
from benchmarks.warm_starts.tools_effect.workload import Workload
from hypernudge import Informed
from hypernudge.errors import InvalidArgumentError
from hypernudge.integrations.optuna import declared
from tests.integrations.helpers import score, training

SPACE = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "width": IntDistribution(2, 64, log=True),
    "depth": IntDistribution(1, 4),
    "activation": CategoricalDistribution(["relu", "tanh"]),
}
BUDGET = 60


def workload():
    """A training of up to nine steps, as good as its configuration; and a list of how long each was."""
    lengths = []

    def trained(hp, seed):
        assert set(SPACE) <= set(hp) and 2 <= hp["width"] <= 64 and hp["activation"] in ("relu", "tanh")
        lengths.append(0)
        for step in range(1, 10):
            lengths[-1] += 1
            yield 1.0 - score(hp) - 1.0 / step + 1e-6 * (seed % 7)

    of = Workload(
        name="small",
        title="Small",
        space=SPACE,
        training=trained,
        measured=training,
        policy=lambda units: Informed(max_units=units),
        step_flops=lambda hp: 1e5,
        steps=9,
        unit="epochs",
        per_step=1.0,
        budget=BUDGET,
    )
    return of, lengths


def check(tool):
    """Whether a run keeps to its budget, stops what is bad, repeats itself, and pays its warm start."""

    def run(policy, seed=0):
        of, lengths = workload()
        clock = of.clock()
        tool(of, policy)(seed, clock)
        assert clock.over and clock.time < BUDGET + 1 and all(at <= BUDGET for at, _ in clock.scores)
        assert all(earlier < later for (earlier, _), (later, _) in pairwise(clock.scores))
        return clock.scores, lengths

    alone, lengths = run(None)
    assert run(None)[0] == alone != run(None, 1)[0]
    assert [at for at, _ in alone] == list(range(1, BUDGET + 1)) and sum(lengths) == BUDGET
    assert max(lengths) > 1 and lengths.count(1) > len(lengths) / 3
    helped, _ = run(Informed())
    assert run(Informed())[0] == helped
    assert helped[0][0] > 1.0, "the probe is charged before the first step ends"
    assert max(value for _, value in helped[:12]) > max(value for _, value in alone[:12])


@pytest.mark.parametrize("halving", [False, True])
def test_optuna(halving):
    def ran(policy):
        of, lengths = workload()
        clock = of.clock()
        optuna_runs.optuna(of, policy, halving=halving)(0, clock)
        assert clock.over and (min(lengths[:-1]) < 9) == halving
        return clock.scores

    alone, helped = ran(None), ran(Informed())
    assert [at for at, _ in alone] == list(range(1, BUDGET + 1)) and ran(Informed()) == helped
    fees = [at % 1.0 for at, _ in helped]
    assert helped[0][0] > 1.0, "the probe is charged before the first step ends"
    assert np.allclose(fees, fees[0]), "and no other"


def test_syne_tune():
    pytest.importorskip("syne_tune", reason="Syne Tune is an extra: install hypernudge[syne-tune]")
    from hypernudge.integrations.syne_tune import declared as declared_there

    space = {name: syne_tune_runs.domain(distribution) for name, distribution in SPACE.items()}
    assert declared_there(space) == declared(SPACE)
    check(syne_tune_runs.syne_tune)


def test_ray():
    pytest.importorskip("ray", reason="Ray is an extra: install hypernudge[ray-tune]")
    from hypernudge.integrations._paths import searched

    space = {name: ray_runs.domain(distribution) for name, distribution in SPACE.items()}
    assert searched("space", space) == declared(SPACE)


@pytest.mark.filterwarnings("default")
def test_neps():
    neps = pytest.importorskip(
        "neps", reason="NePS needs an environment of its own: see docs/integrations.md"
    )
    from hypernudge.integrations.neps import declared as declared_there

    space = neps.SearchSpace({name: neps_runs.part(distribution) for name, distribution in SPACE.items()})
    assert declared_there(space) == declared(SPACE)
    check(neps_runs.neps_hyperband)


def test_what_is_not_installed_is_left_out_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name in ("neps", "ray") else object())
    there = ["neps_hyperband", "optuna_tpe", "syne_tune_asha"]
    for seed in range(2):
        path = report.path_of(tmp_path, "neps_hyperband", seed)
        path.parent.mkdir(exist_ok=True)
        path.write_text("[]")
    asked = [*there, "neps_hyperband_informed", "ray_asha"]
    assert command._at_hand(asked, tmp_path, range(2)) == there
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "neps_hyperband_informed: left out, neps is not installed",
        "ray_asha: left out, ray is not installed",
    ]


def test_the_table_of_networks_counts_what_reaches_the_target():
    wide, narrow = ({"width": width, "depth": 1, "activation": "relu"} for width in (40, 2))
    missed = (math.inf, 0.304)
    rows = [(wide, [(6.0, 0.95), missed, missed, (9.0, 0.95)]), (narrow, [missed] * 4)]
    text = architectures.table(rows).splitlines()
    assert text[0].startswith("Of 2 networks 1 reach 0.9403 in 27 epochs in any way: 1 as started, 0 probed")
    assert text[-2:] == [
        "| 40 | 1 | relu | 6 | (0.30) | (0.30) | 9 |",
        "| 2 | 1 | relu | (0.30) | (0.30) | (0.30) | (0.30) |",
    ]


def test_a_score_that_is_the_target_reaches_it_in_the_runs_as_well(tmp_path):
    of, _ = workload()
    clock, target = of.clock(), 349 / 360
    clock.scores = [(1.0, 0.5), (2.0, target)]
    report.write_runs(tmp_path / "runs.csv", of, {("optuna_tpe", 0): clock})
    *_, last = (tmp_path / "runs.csv").read_text().splitlines()
    assert float(last.split(",")[-1]) >= target


def test_plain_runs_of_an_earlier_table_are_read_with_its_target(tmp_path):
    of, lengths = workload()
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    rows = [{"task": of.name, "target": 0.25, "warm_start": "optuna_tpe_informed"}]
    scores = {
        ("optuna_tpe", 0): [(1.0, 0.1), (2.0, 0.05), (7.0, 0.3)],
        ("optuna_tpe_informed", 0): [(2.0, 0.6)],
    }
    cells = {key: of.clock() for key in scores}
    for key, clock in cells.items():
        clock.scores = scores[key]
    earlier.mkdir()
    report.write_runs(earlier / "runs.csv", of, cells)
    (earlier / report.COMPARISONS).write_text(json.dumps(rows))
    assert report.plain(earlier, of, command.BASELINES, range(1), later) == 0.25
    assert [path.name for path in (later / "cells").iterdir()] == ["optuna_tpe-0.json"]
    read = command._cell(later, of, "optuna_tpe", 0)
    assert not lengths, "it is not run again"
    for share in (2 / BUDGET, 7 / BUDGET, 1.0):
        assert read.best_at(share) == cells["optuna_tpe", 0].best_at(share)
    for changes, said in (({"task": "other"}, "a table of 'small'"), ({"target": 0.5}, "one target")):
        (earlier / report.COMPARISONS).write_text(
            json.dumps([*rows[: "target" in changes], rows[0] | changes])
        )
        with pytest.raises(InvalidArgumentError, match=f"--plain: must .*{said}"):
            report.plain(earlier, of, command.BASELINES, range(1), later)


def test_a_training_that_waits_leaves_gradients_to_others():
    hp = {"lr": 0.1, "momentum": 0.5, "weight_decay": 1e-4, "label_smoothing": 0.0, "noise": 0.0}
    waiting, other = digits.training(hp, 0), digits.training(hp, 0)
    assert next(waiting) == next(other) and torch.is_grad_enabled()

"""Experiments whose trials are trained by real workers."""

from __future__ import annotations

import json
import re

import pytest

from hypernudge.errors import InvalidArgumentError, UnavailableError
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.planning.resolve import load_plan
from tests.harness.tools import experiment, hypernudge_here

REAL = {"name": "processes", "workers": 2}


def digits(tmp_path, **changes):
    return experiment(tmp_path, "digits_mlp", target=0.9, **changes)


def spec_of(path, *overrides):
    """Return what an experiment on a task of the package resolves to."""
    return next(iter(load_plan(path, overrides).variations)).spec


def test_an_experiment_on_processes_says_so_in_its_records(tmp_path, capsys):
    scheduler = {"name": "asha", "max_units": 3, "max_trials": 4}
    both = {"asha": {}, "asha-literal": {"warm_start": {"name": "literal", "batch_size": 8}}}
    config = experiment(
        tmp_path,
        seeds=2,
        variations=both,
        engine=REAL,
        scheduler=scheduler,
        budget={"seconds": 600},
    )
    hypernudge_here(capsys, "run", config, "--results-dir", tmp_path / "r", "--no-figures")
    records = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("r/*/cells/seed-*.json"))]
    assert len(records) == 4
    for record in records:
        declared = record["declared"]
        assert (declared["clock"], declared["workers"], declared["budget_seconds"]) == ("wall", 2, 600.0)
        assert record["status"] == "completed" and len(record["trials"]) == 4
        assert all(trial["core_seconds"] is not None for trial in record["wall"]["trials"])
        assert record["curve"]["time"] == sorted(record["curve"]["time"])
    assert not [path for path in tmp_path.rglob("*") if "trial-" in path.name]
    first, other = (
        json.loads(next(tmp_path.glob(f"r/{name}/cells/seed-0000.json")).read_text()) for name in both
    )
    assert first["trials"][0]["sampled"] == other["trials"][0]["sampled"]


def test_seconds_of_different_machines_are_not_compared(tmp_path, capsys):
    from hypernudge.evidence.loading.study import load_study
    from hypernudge.results.plan import ResultsError

    scheduler = {"name": "asha", "max_units": 1, "max_trials": 2}
    config = experiment(
        tmp_path, seeds=2, variations={"asha": {}}, engine=REAL, scheduler=scheduler, budget={"seconds": 600}
    )
    hypernudge_here(capsys, "run", config, "--results-dir", tmp_path / "r", "--no-figures")
    load_study(tmp_path / "r")
    path = tmp_path / "r" / "asha" / "cells" / "seed-0001.json"
    record = json.loads(path.read_text())
    record["wall"]["hardware"] = "another processor, 4 cores"
    path.write_text(json.dumps(record))
    with pytest.raises(ResultsError, match=r"must stem from one kind of hardware, .*another processor"):
        load_study(tmp_path / "r")


@pytest.mark.parametrize("checkpoint", [False, True])
def test_workers_that_are_not_there_are_no_result(tmp_path, checkpoint):
    """Neither a crashed cell, nor a reason to begin one anew."""
    pytest.importorskip("ray", reason="needs the extra ray")
    engine = {"name": "ray", "workers": 1, "address": "127.0.0.1:1"}
    (variation,) = load_plan(digits(tmp_path, variations={"asha": {}}, engine=engine)).variations
    begun = []
    for _ in range(2):
        with pytest.raises(
            UnavailableError, match="address: must be a cluster of Ray that answers"
        ) as raised:
            run_cell(variation, 0, tmp_path / "r", checkpoint=checkpoint)
        assert "\n" not in str(raised.value)
        begun.append([path.read_text() for path in tmp_path.glob("r/cells/seed-*.study/study.jsonl")])
    assert not list(tmp_path.glob("r/cells/seed-*.json"))
    assert len(begun[0]) == checkpoint and all(text in again for text, again in zip(*begun, strict=True))


def test_where_workers_and_seconds_are_said(tmp_path):
    spec = spec_of(digits(tmp_path, engine=REAL))
    assert spec["engine"] == {"name": "processes"} and spec["workers"] == 2
    assert spec_of(digits(tmp_path, engine="processes", workers=3))["workers"] == 3
    assert spec_of(digits(tmp_path, engine="processes"))["workers"] == 4
    options = {"name": "ray", "workers": 8, "gpus_per_trial": 0.5}
    assert spec_of(digits(tmp_path, engine=options))["engine"] == {
        "name": "ray",
        "gpus_per_trial": 0.5,
    }
    assert spec_of(digits(tmp_path, budget={"seconds": 9}))["budget"] == {"seconds": 9.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine": REAL, "workers": 3}, "engine.workers: must be given once, but workers is 3 there, too"),
        ({"engine": {**REAL, "workers": 0}}, "engine.workers: must be a whole number in [1, 10000]"),
        ({"engine": {"name": "serial", "workers": 2}}, "engine.workers: 'serial' takes the options"),
        ({"engine": {"name": "ray", "gpus": 1}}, "engine.gpus: 'ray' takes the options"),
        ({"engine": {"name": "processes", "build": "x"}}, "engine.build: 'processes' takes the options"),
        ({"budget": {"seconds": 9, "units": 9}}, "budget: must have at most 1 entries"),
        ({"budget": {}}, "budget: must be {units: N} or {seconds: N}"),
        ({"budget": {"seconds": 0}}, "budget.seconds: must be a positive number"),
    ],
)
def test_what_an_experiment_cannot_ask_for(tmp_path, changes, said):
    with pytest.raises(InvalidArgumentError, match=re.escape(said)) as raised:
        load_plan(digits(tmp_path, **changes))
    assert "\n" not in str(raised.value)


def test_clocks_are_not_mixed_in_a_comparison(tmp_path):
    mixed = {"asha": {}, "asha-literal": {"warm_start": "literal", "engine": "processes"}}
    with pytest.raises(InvalidArgumentError, match=r"asha-literal\.engine: must have the clock of asha"):
        load_plan(digits(tmp_path, variations=mixed))

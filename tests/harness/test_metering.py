"""What cells and their trials take of a machine, as their records say it."""

import dataclasses
import json

import pytest

from hypernudge import ASHA, tune
from hypernudge.harness.cells import metering
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.cells.group import run_group
from hypernudge.harness.cells.metering import CellMeter, allotted_gpus, used_by_trials
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.results.resources import Resources
from hypernudge.trial import Report
from tests.conftest import Bowl
from tests.harness.tools import experiment


def test_a_record_says_what_its_cell_and_each_trial_took(tmp_path, monkeypatch):
    monkeypatch.setenv("HYPERNUDGE_GPUS", "0.5")
    plan = load_plan(experiment(tmp_path, "digits_mlp", 1, {"asha": {}}, target=0.9, budget={"units": 6}))
    record = run_cell(plan["asha"], 0, tmp_path / "r", attempt=3)
    used = record["wall"]["resources"]
    assert used["gpu_seconds"] == pytest.approx(0.5 * used["wall_seconds"]) and used["attempt"] == 3
    assert used["core_seconds"] > 0 and used["wall_seconds"] == record["wall"]["total_seconds"]
    trials = record["wall"]["trials"]
    assert [t["trial"] for t in trials] == [t["trial"] for t in record["trials"]]
    assert sum(t["wall_seconds"] for t in trials) == pytest.approx(
        record["wall"]["training_seconds"] + record["wall"]["warm_start_seconds"]
    )
    curve = record["wall"]["curve"]
    assert len(curve["seconds"]) == len(record["curve"]["time"]) and max(curve["seconds"]) <= curve["end"]
    assert curve["end"] == pytest.approx(sum(t["wall_seconds"] for t in trials))
    assert json.loads((tmp_path / "r" / "cells" / "seed-0000.json").read_text())["digest"] == record["digest"]


def test_cells_that_train_together_share_what_their_process_took(tmp_path, monkeypatch):
    clock = iter([10.0, 14.0, 20.0, 21.0])
    monkeypatch.setattr("hypernudge.results.resources.processor_seconds", lambda: next(clock))
    meter = CellMeter(tmp_path / "seed-0000.json", 1, cells=3)  # begins at 10
    # Three share 4 seconds, two the next 6, the last has 1 to itself.
    assert [meter.read().core_seconds for _ in range(3)] == pytest.approx([4 / 3, 4 / 3 + 3, 4 / 3 + 3 + 1])


def test_a_group_is_charged_what_its_process_took(tmp_path):
    path = experiment(tmp_path, "digits_mlp", 3, {"asha": {}}, target=0.9, budget={"units": 6})
    variation = load_plan(path, ["+engine=population"])["asha"]
    run_group(variation, [0, 1, 2], tmp_path / "r")
    paths = sorted((tmp_path / "r" / "cells").glob("*.json"))
    walls = [json.loads(path.read_text())["wall"] for path in paths]
    assert len(walls) == 3 and all(wall["resources"]["core_seconds"] > 0 for wall in walls)
    assert all(wall["cells_together"] == 3 and "hardware" not in wall for wall in walls)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, 0.0),
        ({"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "4"}, 4.0),
        ({"HYPERNUDGE_GPUS": "0.25", "SLURM_GPUS_ON_NODE": "4"}, 0.25),
        ({"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "gpu:1"}, 0.0),
    ],
)
def test_gpus_are_those_that_a_launcher_gave(monkeypatch, given, expected):
    for name in ("SLURM_JOB_ID", "SLURM_GPUS_ON_NODE", "HYPERNUDGE_GPUS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert allotted_gpus() == expected


def test_what_real_workers_measured_is_counted_in(tmp_path):
    study = tune(Bowl(), ASHA(Bowl().space, max_units=9), seed=0, budget=3e-6, progress=False)
    assert {t["core_seconds"] for t in used_by_trials(study)} == {None}
    used = Resources(2.0, 1.5, 4.0, 1000, "w", "n", 2, 0.5)
    events = [
        dataclasses.replace(event, resources=used) if isinstance(event, Report) else event
        for event in study.history.events
    ]
    measured = dataclasses.replace(study, history=study.history.replay(events, 9))
    trials, reports = used_by_trials(measured), len(measured.reports)
    assert sum(t["core_seconds"] for t in trials) == 1.5 * reports
    assert sum(t["wall_seconds"] for t in trials) == 2.0 * reports
    whole = CellMeter(tmp_path / "seed-0000.json", 1).read(trials)
    assert whole.gpu_seconds == 4.0 * reports and whole.peak_gpu_bytes == 1000
    assert whole.core_seconds >= 1.5 * reports and whole.lost_seconds == 0.5 * reports
    assert whole.attempt == 1 and whole.node == "", "results name no machine"


def test_outside_a_cluster_nothing_is_asked_of_it(monkeypatch):
    monkeypatch.setenv(metering.ACCOUNTED, "1")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    assert metering.cluster_usage() == {}

"""Cells trained together have the records that they have one by one, except wall times."""

from __future__ import annotations

import json

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.cell import run_cell
from hypernudge.harness.cells.group import run_group
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.harness.running.local import LocalLauncher
from hypernudge.harness.running.pool import Cells, groups, run_cells
from hypernudge.results.records import cell_path

SEEDS = [0, 1, 2]


def variation(tmp_path, engine, **common):
    experiment = {
        "common": {
            "task": {"name": "breast_cancer_mlp", "dtype": "float64"},
            "training": {"batch_size": 64, "steps_per_unit": 5},
            "scheduler": {"name": "asha", "max_units": 9},
            "engine": engine,
            "budget": {"units": 20},
            "target": 0.9,
            "seeds": SEEDS,
            **common,
        },
        "variations": {"only": {"warm_start": "curvature_band"}},
    }
    return resolve_plan(experiment, tmp_path)["only"]


def contents(run_dir, seed):
    record = json.loads(cell_path(run_dir, seed).read_text())
    record.pop("digest")
    record["cell"].pop("key")  # names the engine
    for name in ("of", "digest"):  # and so do these
        record["description"].pop(name)
    return {key: value for key, value in record.items() if key != "wall"}


def test_records_are_those_of_single_cells(tmp_path):
    for seed in SEEDS:
        run_cell(variation(tmp_path, "serial"), seed, tmp_path / "serial")
    run_group(variation(tmp_path, "population"), SEEDS, tmp_path / "together")
    for seed in SEEDS:
        assert contents(tmp_path / "together", seed) == contents(tmp_path / "serial", seed)
        assert not cell_path(tmp_path / "together", seed).with_suffix(".partial.jsonl").exists()


def test_only_what_is_missing_runs(tmp_path):
    plan = variation(tmp_path, "population")
    run_group(plan, [1], tmp_path)
    sealed = cell_path(tmp_path, 1).read_text()
    run_group(plan, SEEDS, tmp_path)
    assert cell_path(tmp_path, 1).read_text() == sealed
    assert json.loads(cell_path(tmp_path, 0).read_text())["wall"]["cells_together"] == 2


def test_the_launcher_shares_seeds_out(tmp_path):
    assert groups(variation(tmp_path, "serial"), SEEDS, 2) == [[0], [1], [2]]
    plan = variation(tmp_path, {"name": "population", "memory_budget": 2**20})
    assert groups(plan, SEEDS, 2) == [[0, 2], [1]]
    cells = Cells(plan, tmp_path, SEEDS)
    run_cells([cells], LocalLauncher(2))
    assert {seed: record["status"] for seed, record in cells.records.items()} == dict.fromkeys(
        SEEDS, "completed"
    )


def test_unknown_options_of_an_engine_are_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"engine\.memory"):
        variation(tmp_path, {"name": "population", "memory": 3})

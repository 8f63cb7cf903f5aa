"""Plans of the committed experiments keep their hashes: a declared study is what it was."""

import json
from pathlib import Path

import pytest

from hypernudge.harness.planning.resolve import load_plan
from hypernudge.tasks.data import tables
from tests.harness.tools import HERE, ROOT

HASHES = json.loads((HERE / "plan_hashes.json").read_text())


def test_every_committed_experiment_is_held():
    files = [
        *(ROOT / "config").glob("*.yaml"),
        *(ROOT / "config" / "studies").glob("*.yaml"),
        *(ROOT / "config" / "confirmation").glob("*.yaml"),
    ]
    held = {path.relative_to(ROOT).as_posix() for path in files} - {"config/template.yaml"}
    assert held == set(HASHES)


@pytest.mark.parametrize("file", sorted(HASHES))
def test_the_plan_is_the_one_that_was_declared(file, monkeypatch):
    # The public tables are not part of the repository.
    monkeypatch.setattr(tables, "find_file", lambda name, argument: Path(name))
    assert load_plan(ROOT / file).hash == HASHES[file]


@pytest.mark.parametrize("study", ["full_experiment", "schedulers_study"])
def test_a_plan_read_back_from_its_results_is_the_same(study):
    kept = ROOT / "benchmarks" / "results" / study / "experiment.yaml"
    assert load_plan(kept).hash == HASHES[f"config/{study}.yaml"]

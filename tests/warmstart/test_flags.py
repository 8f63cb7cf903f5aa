"""The fallback is visible: flagged trials are counted in results.json, tables and report, and stay."""

import json

import pytest
import yaml

from hypernudge.cli import main
from hypernudge.results.flags import by_finite_differences, flagged
from tests.harness.tools import ROOT

EXPERIMENT = {
    "name": "flags",
    "common": {
        "task": "tests.warmstart.test_differences:Valley",
        "target": -4.0,
        "scheduler": {"name": "asha", "max_units": 3},
        "budget": {"units": 12},
        "workers": 2,
        "seeds": {"first": 0, "count": 3},
        "engine": "serial",
    },
    "variations": {
        "plain": {"warm_start": "none"},
        "literal": {"warm_start": "literal"},
        "control": {"warm_start": "placebo"},
    },
    "launcher": {"processes": 1},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flags")
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(EXPERIMENT))
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", str(ROOT))
    assert main(["run", str(path), "--results-dir", str(folder / "results")]) == 0
    yield folder / "results"
    patch.undo()


def records(results, run_id):
    return [json.loads(path.read_text()) for path in sorted((results / run_id / "cells").glob("*.json"))]


def test_every_measured_trial_is_flagged_in_its_record(results):
    for record in records(results, "literal"):
        assert record["trials"] and all(flagged(record)) and all(by_finite_differences(record))
        assert set(record["description"]["kinds"]) == {"finite_differences"}
        assert record["bill"]["warm_start_flops"] > 0
    assert not any(any(flagged(record)) for record in records(results, "plain"))


def test_they_are_counted_in_results_json(results):
    for run_id in ("plain", "literal", "control"):
        found = json.loads((results / run_id / "results.json").read_text())
        trials = [len(record["trials"]) for record in records(results, run_id)]
        counts = trials if run_id != "plain" else [0, 0, 0]
        assert [cell["finite_differences"] for cell in found["cells"]] == counts
        assert [cell["flagged"] for cell in found["cells"]] == counts
        assert found["summary"]["finite_difference_trials"] == sum(counts)
        assert found["summary"]["flagged_trials"] == sum(counts)


def test_tables_and_report_count_them_and_say_that_they_stay(results, capsys):
    page = results / "report.html"
    assert main(["report", str(results), "--html", str(page)]) == 0
    said = capsys.readouterr()
    count = sum(len(record["trials"]) for record in records(results, "literal"))
    line = f"literal/: {count} of {count} trials took their hyper-gradient by finite differences"
    assert line in page.read_text() and "flagged; they stay in every number" in page.read_text()
    evaluation = json.loads((results / "evaluation.json").read_text())
    found = {p["run_id"] for p in evaluation["problems"] if "finite differences" in p["rule"]}
    assert found == {"literal", "control"}
    summary = next(s for s in evaluation["summaries"] if s["run_id"] == "literal")
    assert summary["finite_differences"] == summary["flagged"] == count and summary["completed"] == 3
    (compared,) = (c for c in evaluation["comparisons"] if c["run_id"] == "literal")
    assert compared["pairs"] == 3  # none was left out
    table = (results / "tables" / "variations.md").read_text()
    assert "finite differences" in table and "counted over all seeds" in page.read_text()
    assert said.err == "" or "Traceback" not in said.err

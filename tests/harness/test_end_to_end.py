"""The commands a user types: what they write, print, reuse and refuse."""

import json
import shutil
import subprocess
import sys

import pytest

from tests.harness.tools import (
    HERE,
    ROOT,
    compute_here,
    contents,
    experiment,
    hypernudge,
    hypernudge_here,
    json_lines,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    config = experiment(folder)
    done = hypernudge("run", config, "--results-dir", folder / "results")
    return folder / "results", config, done


def test_every_promised_file_is_there(finished):
    results, _, done = finished
    for run_id in ("asha", "asha-literal"):
        for name in ("stdout.log", "stderr.log", "results.json", "config.yaml"):
            assert (results / run_id / name).stat().st_size > 0, (run_id, name)
        assert len(list((results / run_id / "cells").iterdir())) == 6
    evaluation = json.loads((results / "evaluation.json").read_text())
    assert [c["run_id"] for c in evaluation["comparisons"]] == ["asha-literal"]
    assert evaluation["comparisons"][0]["verdict"]
    figures = {path.suffix for path in (results / "figures").iterdir()}
    assert figures == {".pdf"}
    assert not list(results.rglob("*.png"))
    assert "6/6 cells" in done.stderr and "left" in done.stderr


def test_stdout_is_a_description_then_json_lines_only(finished):
    results, _, _ = finished
    for run_id in ("asha", "asha-literal"):
        text = (results / run_id / "stdout.log").read_text()
        assert text.startswith("Experiment") and "Search space" in text
        events = json_lines(text)
        assert {event["event"] for event in events} == {"rung", "cell", "result"}
        assert all(event["run_id"] == run_id for event in events)
        assert events[-1]["event"] == "result"
    events = json_lines((results / "evaluation" / "stdout.log").read_text())
    assert {"summary", "comparison", "criterion", "figure", "table"} <= {e["event"] for e in events}
    figures = [event for event in events if event["event"] == "figure"]
    assert all(event["shows"] and (results / event["file"]).exists() for event in figures)


def test_results_state_the_price_of_a_warm_start(finished):
    results, _, _ = finished
    price = json.loads((results / "asha-literal" / "results.json").read_text())["summary"]["warm_start_price"]
    assert set(price) == {"batch_size", "flops_in_training_steps", "wall_in_training_steps", "wall_seconds"}
    assert price["batch_size"] == 8
    free = json.loads((results / "asha" / "results.json").read_text())["summary"]["warm_start_price"]
    assert set(free.values()) == {None}
    assert json.loads((results / "asha" / "results.json").read_text())["summary"]["median_overhead"] == 0


def test_a_second_run_computes_nothing_and_two_directories_agree(finished, tmp_path, capsys):
    results, config, _ = finished
    before = {path: path.stat().st_mtime_ns for path in results.glob("*/cells/*.json")}
    done = hypernudge_here(capsys, "run", config, "--results-dir", results, "--no-figures")
    assert before == {path: path.stat().st_mtime_ns for path in results.glob("*/cells/*.json")}
    cells = [event for event in json_lines_of(done.stdout) if event.get("event") == "cell"]
    assert len(cells) == 12 and all(event["reused"] for event in cells)
    compute_here(config, tmp_path / "other")
    assert contents(results) == contents(tmp_path / "other")


def json_lines_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_status(finished, tmp_path):
    results, _, _ = finished
    rows = json_lines_of(hypernudge("status", results, "--json").stdout)
    assert [(row["run_id"], len(row["done"]), row["missing"]) for row in rows] == [
        ("asha", 6, []),
        ("asha-literal", 6, []),
    ]
    assert "asha-literal" in hypernudge("status", results).stdout
    refused = hypernudge("status", tmp_path, check=False)
    assert refused.returncode == 2 and "plan.json" in refused.stderr


def test_a_directory_with_another_plan_is_refused_before_any_work(finished, capsys):
    results, config, _ = finished
    refused = hypernudge_here(
        capsys, "run", config, "--results-dir", results, "common.target=-0.06", check=False
    )
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr.count("\n") == 1 and "another plan" in refused.stderr
    crowded = hypernudge_here(capsys, "run", config, "--results-dir", HERE, check=False)
    assert crowded.returncode == 2 and "must be empty" in crowded.stderr


def test_a_tampered_record_is_refused(finished, tmp_path):
    results, _, _ = finished
    shutil.copytree(results / "asha", tmp_path / "asha")
    path = tmp_path / "asha" / "cells" / "seed-0003.json"
    path.write_text(path.read_text().replace('"units": ', '"units": 1', 1))
    config = ["--config-file", results / "experiment.yaml", "--run-id", "asha"]
    done = hypernudge("train", *config, "--run-dir", tmp_path / "asha", check=False)
    assert done.returncode == 1 and path.name in done.stderr and "digest" in done.stderr
    events = json_lines(done.stdout)
    assert [event["seed"] for event in events if event["event"] == "missing"] == [3]  # the others are kept


@pytest.mark.parametrize("flags", [[], ["--smoke-test", "--full-experiment"]])
def test_main_needs_exactly_one_of_its_two_flags(flags, tmp_path):
    command = [sys.executable, "-m", "src.main", *flags, "--results-dir", str(tmp_path / "r")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--smoke-test" in done.stderr
    assert not (tmp_path / "r").exists()

"""The commands a user types, on a task of their own and on real data."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from hypernudge.cli import main

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
ENV = {**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}"}


# The task's own batch has eight samples; a measurement on 128 would cost more than the whole budget.
BOTH = {"asha": {}, "asha-literal": {"warm_start": {"name": "literal", "batch_size": 8}}}


def experiment(tmp_path, task="own:Small", seeds=6, variations=BOTH, **common):
    shared = {
        "task": task,
        "target": -0.05,
        "budget": {"units": 30},
        "scheduler": {"name": "asha", "max_units": 9},
        "seeds": {"first": 0, "count": seeds},
        **common,
    }
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump({"name": "test", "common": shared, "variations": variations}))
    return path


def hypernudge(*arguments, check=True):
    command = [sys.executable, "-m", "hypernudge.cli", *map(str, arguments)]
    done = subprocess.run(command, env=ENV, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def contents(results):
    """Return every record without what may differ between two runs."""
    records = {}
    for path in sorted(results.glob("*/cells/seed-*.json")):
        record = json.loads(path.read_text())
        records[str(path.relative_to(results))] = {k: v for k, v in record.items() if k != "wall"}
    return records


def json_lines(text):
    lines = text.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("{"))
    return [json.loads(line) for line in lines[first:]]


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
    assert json.loads((results / "asha" / "results.json").read_text())["summary"]["median_overhead"] == 0


def test_a_second_run_computes_nothing_and_two_directories_agree(finished, tmp_path):
    results, config, _ = finished
    before = {path: path.stat().st_mtime_ns for path in results.glob("*/cells/*.json")}
    done = hypernudge("run", config, "--results-dir", results)
    assert before == {path: path.stat().st_mtime_ns for path in results.glob("*/cells/*.json")}
    cells = [event for event in json_lines_of(done.stdout) if event.get("event") == "cell"]
    assert len(cells) == 12 and all(event["reused"] for event in cells)
    hypernudge("run", config, "--results-dir", tmp_path / "other")
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


def test_a_directory_with_another_plan_is_refused_before_any_work(finished):
    results, config, _ = finished
    refused = hypernudge("run", config, "--results-dir", results, "common.target=-0.06", check=False)
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr.count("\n") == 1 and "another plan" in refused.stderr
    crowded = hypernudge("run", config, "--results-dir", HERE, check=False)
    assert crowded.returncode == 2 and "must be empty" in crowded.stderr


@pytest.mark.slow
def test_killed_in_the_middle_it_resumes_to_the_same_records_bit_for_bit(tmp_path):
    config = experiment(tmp_path, "own:Slow", seeds=8, budget={"units": 40})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    hypernudge("run", config, "--results-dir", whole)
    command = [sys.executable, "-m", "hypernudge.cli", "run", str(config), "--results-dir", str(broken)]
    with subprocess.Popen(
        command, env=ENV, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as p:
        deadline = time.monotonic() + 60
        while len(list(broken.glob("*/cells/seed-*.json"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        p.send_signal(signal.SIGKILL)
    time.sleep(1.5)  # its children notice and end
    before = {path: path.stat().st_mtime_ns for path in broken.glob("*/cells/seed-*.json")}
    assert 3 <= len(before) < 16
    time.sleep(1.0)
    assert len(list(broken.glob("*/cells/seed-????.json"))) == len(before), "an orphan goes on computing"
    hypernudge("run", config, "--results-dir", broken)
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert contents(whole) == contents(broken)


def test_trials_that_raise_or_diverge_are_recorded_and_the_cell_goes_on(tmp_path):
    config = experiment(tmp_path, "own:Troubled", variations={"asha": {}})
    hypernudge("run", config, "--results-dir", tmp_path / "results")
    records = contents(tmp_path / "results").values()
    statuses = [trial["status"] for record in records for trial in record["trials"]]
    assert {"failed", "diverged", "paused"} <= set(statuses)
    errors = [error for record in records for error in record["errors"]]
    assert len(errors) == statuses.count("failed")
    assert all("out of luck" in error["traceback"] for error in errors)
    assert all(record["status"] == "completed" for record in records)
    assert all(
        max(trial["milestones"], default=1) == 1
        for r in records
        for trial in r["trials"]
        if trial["status"] in ("failed", "diverged")
    )


def test_a_cell_whose_process_is_killed_is_censored_not_lost(tmp_path):
    config = experiment(tmp_path, "own:Killed")
    done = hypernudge("run", config, "--results-dir", tmp_path / "results")
    records = contents(tmp_path / "results")
    assert len(records) == 12
    crashed = [record for record in records.values() if record["status"] == "crashed"]
    assert crashed and all("killed" in record["errors"][0]["traceback"] for record in crashed)
    assert done.returncode == 0
    comparison = json.loads((tmp_path / "results" / "evaluation.json").read_text())["comparisons"][0]
    assert comparison["crashed_baseline"] + comparison["crashed_method"] == len(crashed)


def test_a_failing_variation_is_reported_and_the_rest_still_run(tmp_path):
    config = experiment(tmp_path)
    plan = yaml.safe_load(config.read_text())
    plan["variations"] = {"bad": {"training": {"colour": "red"}}, "asha": {}}
    plan["variations"]["bad"]["scheduler"] = {"name": "random", "max_units": 3}
    config.write_text(yaml.safe_dump(plan))
    done = hypernudge("run", config, "--results-dir", tmp_path / "results", check=False)
    assert done.returncode == 1
    assert "bad: FAILED" in done.stderr and "colour" in done.stderr
    assert (tmp_path / "results" / "asha" / "results.json").exists()
    assert not (tmp_path / "results" / "bad" / "results.json").exists()


def test_a_tampered_record_is_refused(finished, tmp_path):
    results, _, _ = finished
    shutil.copytree(results / "asha", tmp_path / "asha")
    path = tmp_path / "asha" / "cells" / "seed-0003.json"
    path.write_text(path.read_text().replace('"units": ', '"units": 1', 1))
    config = ["--config-file", results / "experiment.yaml", "--run-id", "asha"]
    done = hypernudge("train", *config, "--run-dir", tmp_path / "asha", check=False)
    assert done.returncode == 2 and path.name in done.stderr and "digest" in done.stderr


@pytest.mark.parametrize("flags", [[], ["--smoke-test", "--full-experiment"]])
def test_main_needs_exactly_one_of_its_two_flags(flags, tmp_path):
    command = [sys.executable, "-m", "src.main", *flags, "--results-dir", str(tmp_path / "r")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--smoke-test" in done.stderr
    assert not (tmp_path / "r").exists()


def test_derive_fills_the_template_and_the_result_runs(tmp_path):
    template = ROOT / "config" / "template.yaml"
    refused = hypernudge("run", template, "--results-dir", tmp_path / "r", check=False)
    assert refused.returncode == 2
    for name in ("DATASET_PLACEHOLDER", "MODEL_PLACEHOLDER", "SPECIFIC_CONFIG_PLACEHOLDER"):
        assert f"{name} at common." in refused.stderr
    values = ["DATASET_PLACEHOLDER=digits", "MODEL_PLACEHOLDER=mlp", "SPECIFIC_CONFIG_PLACEHOLDER=0.8"]
    new = tmp_path / "mine.yaml"
    assert main(["derive", str(template), *[f"--set={value}" for value in values], "--output", str(new)]) == 0
    plan = yaml.safe_load(new.read_text())
    assert plan["common"]["task"]["dataset"] == "digits" and plan["common"]["target"] == 0.8
    for group in ("engine", "launcher"):  # the groups live beside the template
        (tmp_path / group).symlink_to(ROOT / "config" / group)
    hypernudge("run", new, "--results-dir", tmp_path / "r", "common.seeds.count=6", "common.budget.units=4")
    assert json.loads((tmp_path / "r" / "evaluation.json").read_text())["status"] == "complete"


@pytest.mark.slow
def test_the_smoke_test_on_real_data(tmp_path):
    command = [sys.executable, "-m", "src.main", "--smoke-test", "--results-dir", str(tmp_path / "smoke")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    evaluation = json.loads((tmp_path / "smoke" / "evaluation.json").read_text())
    assert evaluation["status"] == "complete"
    assert {c["warm_start"] for c in evaluation["comparisons"]} == {
        "literal",
        "multi_step",
        "random_step",
        "curvature_band",
    }
    assert all(c["pairs"] == 6 and c["verdict"] != "unpowered" for c in evaluation["comparisons"])
    scores = [
        summary["final_validation"] for summary in evaluation["summaries"] if "final_validation" in summary
    ]
    assert scores or evaluation["summaries"]


def test_the_example_runs_and_the_task_is_short():
    source = (ROOT / "examples" / "own_task.py").read_text()
    body = source.split("class Spirals")[1].split("def main")[0]
    assert len(body.strip().splitlines()) < 40
    command = [sys.executable, str(ROOT / "examples" / "own_task.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["plain", "CurvatureBand"]
    assert all(float(line.split("accuracy ")[1].split()[0]) > 0.85 for line in lines)

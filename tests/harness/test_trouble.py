"""Killed runs, failing trials, crashed cells; and the real thing on real data."""

import json
import signal
import subprocess
import sys

import pytest
import yaml

from hypernudge.cli import main
from tests.harness.tools import (
    ENV,
    ROOT,
    compute_here,
    contents,
    experiment,
    hypernudge_here,
    json_lines,
    processes_with,
    wait_for,
)


@pytest.mark.slow
def test_killed_in_the_middle_it_resumes_to_the_same_records_bit_for_bit(tmp_path, capsys):
    config = experiment(tmp_path, "own:Slow", seeds=8, budget={"units": 20})
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    compute_here(config, whole)
    command = [sys.executable, "-m", "hypernudge.cli", "run", str(config), "--results-dir", str(broken)]
    env = {**ENV, "HYPERNUDGE_TEST_RUN": str(broken)}
    with subprocess.Popen(
        command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as p:
        sealed = lambda: list(broken.glob("*/cells/seed-????.json"))  # noqa: E731
        assert wait_for(lambda: len(sealed()) >= 3, 240)
        p.send_signal(signal.SIGKILL)
        p.wait()
        at_the_end = len(sealed())  # on a busy machine, some more than three
    assert wait_for(lambda: not processes_with(env["HYPERNUDGE_TEST_RUN"]), 60), "an orphan goes on computing"
    before = {path: path.stat().st_mtime_ns for path in sealed()}
    assert 3 <= len(before) <= at_the_end + 2, "an orphan may end the cell it is at, and begins no other"
    assert len(before) < 16, "killed in the middle"
    hypernudge_here(capsys, "run", config, "--results-dir", broken, "--no-figures")
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert contents(whole) == contents(broken)


def test_trials_that_raise_or_diverge_are_recorded_and_the_cell_goes_on(tmp_path, capsys):
    config = experiment(tmp_path, "own:Troubled", variations={"asha": {}})
    done = hypernudge_here(capsys, "run", config, "--results-dir", tmp_path / "results", "--no-figures")
    assert "note: task 'own:Troubled' has its own search space and model" in done.stderr
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


def test_a_variation_of_which_every_cell_crashed_is_no_success(tmp_path, capsys):
    config = experiment(tmp_path, "own:OutOfMemory", seeds=2, variations={"asha": {}})
    for _ in range(2):  # nor is it one where they are there already
        done = hypernudge_here(
            capsys, "run", config, "--results-dir", tmp_path / "results", "--no-figures", check=False
        )
        assert done.returncode == 1
        said = "asha: all of its 2 cells crashed, the first with torch.OutOfMemoryError: tried to allocate"
        assert said in done.stderr and "failed: asha, evaluation" in done.stderr
    assert {record["status"] for record in contents(tmp_path / "results").values()} == {"crashed"}
    report = json_lines((tmp_path / "results" / "evaluation" / "stdout.log").read_text())
    (problem,) = [event for event in report if event.get("where") == "cells asha"]
    assert problem["rule"] == "all 2 cells crashed" and problem["run_id"] == "asha"


def test_a_failing_variation_is_reported_and_the_rest_still_run(tmp_path, capsys):
    config = experiment(tmp_path)
    plan = yaml.safe_load(config.read_text())
    plan["variations"] = {"bad": {"task": "own:Unwilling", "training": {"colour": "red"}}, "asha": {}}
    config.write_text(yaml.safe_dump(plan))
    done = hypernudge_here(
        capsys, "run", config, "--results-dir", tmp_path / "results", "--no-figures", check=False
    )
    assert done.returncode == 1
    assert "bad: FAILED" in done.stderr and "colour" in done.stderr
    assert (tmp_path / "results" / "asha" / "results.json").exists()
    assert not (tmp_path / "results" / "bad" / "results.json").exists()


def test_what_cannot_be_built_is_refused_before_anything_is_written(tmp_path, capsys):
    config = experiment(tmp_path)
    plan = yaml.safe_load(config.read_text())
    plan["variations"]["asha-literal"]["training"] = {"colour": "red"}
    config.write_text(yaml.safe_dump(plan))
    done = hypernudge_here(
        capsys, "run", config, "--results-dir", tmp_path / "results", "--no-figures", check=False
    )
    assert done.returncode == 2 and not (tmp_path / "results").exists()
    assert done.stderr.startswith("error: variations.asha-literal.task: task.colour: ")
    assert done.stderr.count("\n") == 1


def test_derive_fills_the_template_and_the_result_runs(tmp_path, capsys):
    template = ROOT / "config" / "template.yaml"
    refused = hypernudge_here(capsys, "run", template, "--results-dir", tmp_path / "r", check=False)
    assert refused.returncode == 2
    for name in ("DATASET_PLACEHOLDER", "MODEL_PLACEHOLDER", "SPECIFIC_CONFIG_PLACEHOLDER"):
        assert f"{name} at common." in refused.stderr
    values = ["DATASET_PLACEHOLDER=digits", "MODEL_PLACEHOLDER=mlp", "SPECIFIC_CONFIG_PLACEHOLDER=0.8"]
    new = tmp_path / "mine.yaml"
    assert main(["derive", str(template), *[f"--set={value}" for value in values], "--output", str(new)]) == 0
    plan = yaml.safe_load(new.read_text())
    assert plan["common"]["task"]["dataset"] == "digits" and plan["common"]["target"] == 0.8
    few = ("common.seeds.count=6", "common.budget.units=4")
    hypernudge_here(capsys, "run", new, "--results-dir", tmp_path / "r", "--no-figures", *few)
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
    assert len(evaluation["summaries"]) == 5
    assert all(s["final_validation"]["median"] > 0.85 for s in evaluation["summaries"])


def test_the_example_runs_and_the_task_is_short():
    source = (ROOT / "examples" / "own_task.py").read_text()
    body = source.split("class Spirals")[1].split("def main")[0]
    assert len(body.strip().splitlines()) < 40
    command = [sys.executable, str(ROOT / "examples" / "own_task.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0].strip() for line in lines] == ["plain", "Informed"]
    assert all(float(line.split("accuracy ")[1].split()[0]) > 0.85 for line in lines)

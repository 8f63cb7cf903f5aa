"""Malformed command lines: each is refused in one line, and nothing is written."""

import json
import math
import os
import re

import numpy as np
import pytest

from tests.harness.malformed import BASE, HUGE, assert_refused, runner, text_of

GOOD = text_of(BASE)
PLAN = ["plan", "{file}", "--results-dir", "{new}"]
PILOT = ["pilot", "{file}"]
SIMULATE = ["simulate", "--scheduler", "asha", "--curves", "{curves}"]
COMPARE = ["compare", "{csv}", "--baseline", "a"]
COMMANDS = [
    [],
    ["nobody"],
    ["--versoin"],
    *[
        [name]
        for name in ("run", "plan", "pilot", "derive", "status", "explain", "prior", "compare", "import")
    ],
    *[[name] for name in ("export", "simulate", "report", "train")],
    *[
        [*PLAN, "--pilot-seeds", *pair.split()]
        for pair in ("5 0", "5 -1", "-5 3", "5", "x 3", "1.5 3", "nan 3")
    ],
    [*PLAN, "--pilot-seeds", "5", "1000000000"],
    *[[*PLAN, "--log-sd", value] for value in ("nan", "inf", "-1", "0", "x", "1e9")],
    [*PLAN, "--pilot-seed", "5"],
    [*PLAN, "--zzz"],
    [*PLAN, "zzz"],
    ["plan", "{file}"],
    ["plan", "{none}", "--results-dir", "{new}"],
    ["plan", "{folder}", "--results-dir", "{new}"],
    ["plan", "{file}", "--results-dir", "{file}"],
    ["plan", "{file}", "--results-dir", "{file}/below"],
    ["plan", "{file}", "--results-dir", "{folder}"],
    *[[*PILOT, "--count", value] for value in ("0", "-1", "1.5", "nan", "x", "1000000000")],
    *[[*PILOT, "--first-seed", value] for value in ("-1", "1.5", "x", str(HUGE))],
    [*PILOT, "--first-seed", "3", "--count", "2"],  # test seeds
    ["pilot", "{none}"],
    ["run", "{file}", "--results-dir", "{file}"],
    ["run", "{file}", "--results-dir", "{file}/below"],
    ["run", "{file}", "--results-dir", "{folder}"],
    ["run", "{none}", "--results-dir", "{new}"],
    ["run", "{file}", "--results-dir"],
    ["derive", "{none}"],
    ["derive", "{folder}"],
    ["derive", "{binary}"],
    *[["derive", "{template}", "--set", value] for value in ("A_PLACEHOLDER", "=", "B_PLACEHOLDER=1", "")],
    ["derive", "{template}", "--set", "A_PLACEHOLDER=1", "--set", "A_PLACEHOLDER=2"],
    ["derive", "{template}", "--set", "A_PLACEHOLDER=0"],
    ["derive", "{template}", "--set", "A_PLACEHOLDER=[1"],
    ["derive", "{template}", "--set", "A_PLACEHOLDER=1\nzzz: 1"],
    ["derive", "{template}", "--output", "{file}"],
    ["derive", "{template}", "--output", "{file}/below"],
    *[["status", place] for place in ("{none}", "{file}", "{folder}", "{odd}", "")],
    *[["doctor", place] for place in ("{none}", "{file}")],
    *[["doctor", "{folder}", flag] for flag in ("--zzz", "--fix=1")],
    *[["report", place] for place in ("{none}", "{file}", "{folder}", "{odd}", "")],
    *[["explain", place] for place in ("{none}", "{file}", "{folder}", "{odd}", "")],
    *[
        ["explain", "{folder}", flag, value]
        for flag, value in (("--seed", "x"), ("--trial", "1.5"), ("--zzz", "1"))
    ],
    *[["prior", "build", place, "--output", "{new}"] for place in ("{none}", "{file}", "{folder}", "{odd}")],
    ["prior", "build", "{folder}", "--output", "{file}"],
    ["prior", "build", "{folder}"],
    ["prior", "zzz"],
    *[["export", place, "--to", "mlflow"] for place in ("{none}", "{file}", "{folder}", "{odd}")],
    ["export", "{folder}", "--to", "zzz"],
    [*COMPARE],
    *[[*COMPARE, "--target", value] for value in ("nan", "inf", "x", "", "a=", "a=x", "=nan", "zzz=1")],
    [*COMPARE, "--target", ".5", "--target", ".6"],
    [*COMPARE, "--target", "t=.5", "--target", "t=.6"],
    [*COMPARE, "--target", "t=.5", "--target", ".6"],
    *[[*COMPARE, "--target", ".5", "--budget", value] for value in ("nan", "inf", "0", "-1", "x")],
    [*COMPARE, "--target", ".5", "--method", "zzz"],
    [*COMPARE, "--target", ".5", "--method", "a"],
    [*COMPARE, "--target", ".5", "--clock", "zzz"],
    *[
        ["compare", place, "--baseline", "a", "--target", ".5"]
        for place in ("{none}", "{folder}", "{binary}")
    ],
    ["compare", "{csv}", "--baseline", "zzz", "--target", ".5"],
    ["compare", "{csv}", "--baseline", "", "--target", ".5"],
    ["import", "zzz", "x", "--output", "{new}.csv"],
    ["import", "optuna", "{none}", "--output", "{new}.zzz"],
    *[
        ["import", tool, "{none}", "--output", "{new}.csv"]
        for tool in ("optuna", "ray-tune", "wandb", "mlflow")
    ],
    *[
        ["import", tool, "{binary}", "--output", "{new}.csv"]
        for tool in ("optuna", "ray-tune", "wandb", "mlflow")
    ],
    *[[*SIMULATE, "--workers", value] for value in ("0", "-1", "1.5", "x", str(HUGE))],
    *[[*SIMULATE, "--budget", value] for value in ("0", "-1", "nan", "inf", "1e300", "x")],
    *[[*SIMULATE, "--max-units", value] for value in ("0", "-1", "99", "1.5")],
    *[[*SIMULATE, "--seed", value] for value in ("-1", "1.5", "x", str(HUGE))],
    *[
        [*SIMULATE, "--set", value]
        for value in ("eta", "eta=0", "eta=x", "eta=[", "zzz=1", "space=mid", "=1", "eta=true")
    ],
    [*SIMULATE, "--set", "eta=3", "--set", "eta=2"],
    [*SIMULATE, "--sampler", "zzz"],
    ["simulate", "--scheduler", "zzz", "--curves", "{curves}"],
    ["simulate", "--scheduler", "math:pi", "--curves", "{curves}"],
    *[
        ["simulate", "--scheduler", "asha", "--curves", place]
        for place in ("{none}", "{folder}", "{binary}", "{file}")
    ],
    ["simulate", "--scheduler", "asha"],
    ["simulate", "--scheduler", "asha", "--curves", "{curves}", "--lcbench", "{folder}"],
    ["simulate", "--scheduler", "asha", "--lcbench", "{none}"],
    ["train", "--run-id", "zzz", "--config-file", "{file}", "--run-dir", "{new}"],
    ["train", "--run-id", "asha", "--config-file", "{none}", "--run-dir", "{new}"],
    ["train", "--run-id", "asha", "--config-file", "{file}", "--run-dir", "{file}"],
    ["train", "--run-id", "asha", "--config-file", "{binary}", "--run-dir", "{new}"],
]


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return runner(capsys)


@pytest.fixture
def places(tmp_path):
    """Return what the names in braces above stand for."""
    (tmp_path / "e.yaml").write_text(GOOD)
    (tmp_path / "t.yaml").write_text("common: {workers: A_PLACEHOLDER}\n")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "note.txt").write_text("not a study")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "plan.json").write_text("[]")
    rows = [f"t,{v},{s},{s + 1},{0.1 * s}" for v in "ab" for s in range(6)]
    (tmp_path / "long.csv").write_text("task,variation,seed,time,score\n" + "\n".join(rows) + "\n")
    valid = np.linspace(0, 1, 90).reshape(10, 9)
    np.savez(tmp_path / "c.npz", hp=np.linspace(0, 1, 20).reshape(10, 2), hp_names=["a", "b"], valid=valid)
    return {
        "file": tmp_path / "e.yaml",
        "template": tmp_path / "t.yaml",
        "binary": tmp_path / "binary",
        "folder": tmp_path / "results",
        "odd": tmp_path / "odd",
        "csv": tmp_path / "long.csv",
        "curves": tmp_path / "c.npz",
        "none": tmp_path / "none",
        "new": tmp_path / "new",
    }


@pytest.mark.parametrize(
    "arguments", COMMANDS, ids=lambda given: " ".join(given)[:80].encode("unicode_escape").decode()
)
def test_a_malformed_command_line_is_refused(run, tmp_path, places, arguments):
    before = sorted(tmp_path.rglob("*"))
    assert_refused(run(*(text.format(**places) for text in arguments)), arguments)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everywhere")
def test_files_that_may_not_be_read_or_written_are_named(run, tmp_path):
    file, closed = tmp_path / "e.yaml", tmp_path / "closed"
    file.write_text(GOOD)
    closed.mkdir(mode=0o500)
    assert_refused(run("plan", file, "--results-dir", closed / "results"), "a directory without permission")
    file.chmod(0)
    assert_refused(run("plan", file, "--results-dir", tmp_path / "results"), "a file without permission")


def test_a_corrected_command_is_not_another_plan(run, tmp_path):
    file, results = tmp_path / "e.yaml", tmp_path / "results"
    file.write_text(GOOD)
    assert_refused(run("plan", file, "--results-dir", results, "common.training.batch_size=-4"), "-4")
    assert run("plan", file, "--results-dir", results)[0] == 0
    assert math.isfinite(json.loads((results / "plan.json").read_text())["variations"]["asha"]["target"])


def test_the_front_doors_refuse_as_the_command_does(tmp_path, capsys, monkeypatch):
    from hypernudge.cli.evidence import report
    from hypernudge.harness.running import train
    from src import main as front

    results = tmp_path / "results"
    for arguments in (
        ["--smoke-test"],
        ["--results-dir", str(results)],
        ["--smoke-test", "--full-experiment", "--results-dir", str(results)],
        ["--smoke-test", "--results-dir", str(results), "common.workers=0"],
        ["--smoke-test", "--results-dir", str(results), "+common.zzz=1"],
        ["--smoke-test", "--results-dir", str(results), "+common.training.batch_size=-4"],
        ["--smoke-test", "--results-dir", str(results), "zzz"],
        ["--smoke-test", "--results-dir", "/dev/null/x"],
    ):
        assert_refused(_called(front.main, arguments, capsys), arguments)
    for arguments in ([], ["--run-id", "a"], ["--zzz", "1"]):
        assert_refused(_called(train.main, arguments, capsys), arguments)
    for arguments in ([], ["--results-dir", str(results)], ["--results-dir", "/dev/null"], ["--zzz"]):
        assert_refused(_called(report, arguments, capsys), arguments)
    assert not results.exists()


def _called(main, arguments, capsys):
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    named = re.sub(r"^(python -m src.main|train|evaluate):", "hypernudge:", shown.err, flags=re.MULTILINE)
    return code, shown.out, named

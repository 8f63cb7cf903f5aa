"""Odd files beside the records: one line each, and the rest goes on, whatever command reads them."""

import json

import pytest

from hypernudge.cli import main
from hypernudge.harness.running.train import train
from hypernudge.results.records import cell_path
from tests.harness.tools import contents
from tests.results.test_reading import DAMAGE, plan_of, written

ODD = {
    "empty": b"",
    "binary": b"\xff\x00\xfe",
    "null": b"null",
    "a list": b"[]",
    "an object": b"{}",
    "truncated": b'{"a": ',
    "nested": b"[" * 100_000,
    "a directory": None,
}
COMMANDS = {
    "status": ["status", "DIR"],
    "report": ["report", "DIR"],
    "explain": ["explain", "DIR"],
    "prior": ["prior", "build", "DIR", "--output", "OUT/prior.json"],
    "export": ["export", "DIR", "--to", "wandb"],
    "doctor": ["doctor", "DIR"],
}


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "doctor"])
def test_an_odd_plan_is_one_line(tmp_path, capsys, command, odd):
    results = written(tmp_path / "results", plan_of(tmp_path))
    put(results / "plan.json", ODD[odd])
    arguments = [a.replace("DIR", str(results)).replace("OUT", str(tmp_path)) for a in COMMANDS[command]]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "plan.json" in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", ["deviations.jsonl", "band/results.json", "band/attempts.jsonl"])
@pytest.mark.parametrize("command", ["status", "explain", "prior", "doctor"])
def test_other_odd_files_stop_nobody(tmp_path, capsys, command, name, odd):
    results = written(tmp_path / "results", plan_of(tmp_path))
    put(results / name, ODD[odd])
    arguments = [a.replace("DIR", str(results)).replace("OUT", str(tmp_path)) for a in COMMANDS[command]]
    code = main(arguments)
    captured = capsys.readouterr()
    assert code in {"status": (0,), "doctor": (0, 1)}.get(command, (0, 1, 2))
    assert len(captured.err.splitlines()) <= 1 and "Traceback" not in captured.err


@pytest.mark.parametrize("odd", ODD)
def test_a_report_is_made_beside_odd_files(tmp_path, odd):
    from hypernudge.evidence.report.evaluate import evaluate

    results = written(tmp_path / "results", plan_of(tmp_path))
    for name in ("deviations.jsonl", "band/results.json", "band/attempts.jsonl", "band/cells/seed-0003.json"):
        put(results / name, ODD[odd])
    evaluation = evaluate(results, lambda _: None, figures=False)
    assert (evaluation.planned, evaluation.missing) == (12, 1)
    assert "band/cells/seed-0003.json" in {problem["where"] for problem in evaluation.problems}


def test_damaged_records_do_not_stop_their_variation(tmp_path, capsys):
    plan = plan_of(tmp_path, space="three", budget={"units": 4}, scheduler={"name": "asha", "max_units": 3})
    results = written(tmp_path / "results", plan)
    kinds = ["truncated", "nested", "a directory", "null"]
    for seed, kind in enumerate(kinds):
        DAMAGE[kind][0](cell_path(results / "band", seed))
    cell_path(results / "band", 5).unlink()
    # Odd logs, locks and results of an earlier run, besides.
    put(results / "band" / "cells" / "seed-0005.partial.jsonl", b"\xff[[[")
    put(results / "band" / "cells" / "seed-0005.lock", b"")
    put(results / "band" / "results.json", b"null")
    before = {seed: cell_path(results / "band", seed).lstat().st_mtime_ns for seed in range(5)}
    assert train(plan, plan["band"], results / "band") == 1
    captured = capsys.readouterr()
    said = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(said) == len(kinds) and all("hypernudge doctor --fix" in line for line in said)
    assert "Traceback" not in captured.err
    record = json.loads(cell_path(results / "band", 5).read_text())
    assert record["status"] == "completed"
    assert all(cell_path(results / "band", seed).lstat().st_mtime_ns == then for seed, then in before.items())
    assert json.loads((results / "band" / "results.json").read_text())["summary"]["seeds"] == 2

    assert main(["doctor", str(results), "--fix"]) == 0
    assert train(plan, plan["band"], results / "band") == 0
    sealed = contents(results)
    assert len(sealed) == 12 and sum(r["status"] == "completed" for r in sealed.values()) == 5

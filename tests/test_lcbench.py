"""The LCBench surrogate, where its files and onnxruntime are."""

import json
from pathlib import Path

import pytest

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import stream
from hypernudge.tasks.curves.lcbench import UNITS, LCBench

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "hpo_yahpo" / "lcbench"
needs_files = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the surrogate is not at {FOLDER}")


@needs_files
def test_trains_a_curve_that_is_the_surrogates():
    pytest.importorskip("onnxruntime", reason="extra surrogates")
    task = LCBench(FOLDER, 3945)
    scores = []
    for number in range(3):
        config, state = task.space.sample(stream(0, number)), task.start(0)
        for _ in range(UNITS):
            assert task.advance(state, config)
            scores.append(task.evaluate(state, "validation"))
        assert 0.0 <= task.evaluate(state, "test") <= 1.0
        assert 0.1 < task.unit_flops(config) < 1000
        with pytest.raises(InvalidArgumentError, match="52"):
            task.advance(state, config)
    assert 0.3 < min(scores) < max(scores) < 1.0
    with pytest.raises(InvalidArgumentError, match="instance"):
        LCBench(FOLDER, 1)


@needs_files
@pytest.mark.parametrize("sampler", ["uniform", "kde", "gp"])
def test_simulates_a_study_on_the_surrogate(capsys, sampler):
    pytest.importorskip("onnxruntime", reason="extra surrogates")
    options = ["--lcbench", str(FOLDER), "--instance", "3945", "--max-units", "9", "--budget", "90"]
    arguments = [
        "simulate",
        "--scheduler",
        "asha",
        *options,
        "--workers",
        "4",
        "--sampler",
        sampler,
        "--json",
    ]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == lines
    events = [json.loads(line) for line in lines]
    task = LCBench(FOLDER, 3945)
    configs = {event["trial"]: event["config"] for event in events if "config" in event}
    assert len(configs) > 10
    for config in configs.values():
        task.space.check(config)
    incumbents = [event for event in events if event["event"] == "incumbent"]
    assert [e["score"] for e in incumbents] == sorted({e["score"] for e in incumbents})
    for event in incumbents:  # what is printed is what the surrogate predicts
        state = task.start(0)
        for _ in range(event["unit"]):
            task.advance(state, configs[event["trial"]])
        assert task.evaluate(state, "validation") == event["score"]
    result = events[-1]
    assert result["task"] == "lcbench_3945" and result["score"] == incumbents[-1]["score"]
    assert result["trials"] == len(configs) and result["time"] > 0


def test_an_unknown_instance_is_told_before_anything_runs(capsys):
    if FOLDER.is_dir():
        pytest.importorskip("onnxruntime", reason="extra surrogates")
    arguments = ["simulate", "--scheduler", "asha", "--lcbench", str(FOLDER), "--instance", "1"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert not captured.out and ("instance" if FOLDER.is_dir() else "must hold model.onnx") in captured.err


def test_missing_files_are_told(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"must hold model\.onnx"):
        LCBench(tmp_path)

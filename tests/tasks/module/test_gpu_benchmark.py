"""Every part of the GPU benchmark runs on a CPU, tiny, and says what it should."""

import importlib.util
import json
import sys

import numpy as np
import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import suite
from tests.tasks.vision.tools import pixels, write_batches

SELF = "tests/tasks/module/test_gpu_benchmark.py"
OPTIONS = ("--device", "cpu", "--tiny", "--json")


@pytest.fixture
def data(tmp_path, monkeypatch):
    write_batches(tmp_path / "data", pixels(40), np.arange(40) % 10)
    monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path / "cache"))


def run(folder, *parts, code=0):
    assert command.main([*parts, *OPTIONS, "--output", str(folder)]) == code
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.mark.filterwarnings(
    "ignore:There is a performance drop:UserWarning"
)  # by PyTorch, of fused attention
def test_parts_measure(data, tmp_path, capsys):
    found = run(tmp_path / "out", "population", "cost", "episodes", "resnet")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["part"] for line in lines] == ["population", "cost", "episodes", "resnet"]
    for line in lines:
        assert found[line["part"]] == line and "error" not in line
        assert {"device", "hardware", "commit", "date", "packages", "threads", "seconds"} <= line.keys()

    population = found["population"]["result"]
    (task,) = population["tasks"].values()
    assert population["members"] == [1, 2, 4] and task["loop"]["median_ms"] > 0
    assert all(task[f"engine {n}"]["ratio"] > 0 for n in (1, 2, 4))
    assert task["graph"]["engine 4"]["off"]["median_ms"] > 0
    assert task["graph"]["engine 4"]["on"] == "no CUDA graph on cpu"

    for name in ("resnet20", "vit", "lm"):
        of_network = found["cost"]["result"][name]
        assert of_network["step"]["median_ms"] > 0
        for policy in ("informed", "fixed_band", "curvature_band", "literal"):
            assert of_network[policy]["steps"] > 0 and not of_network[policy]["flagged"]
        assert of_network["literal"]["steps_by_flops"] > of_network["fixed_band"]["steps_by_flops"] == 0

    (overhead,) = found["episodes"]["result"].values()
    assert "hypernudge_lr" in overhead["overhead_percent"]
    resnet = found["resnet"]["result"]
    assert len(resnet["curve"]) == 2 and resnet["target"] == 0.91 and resnet["reached"] is False


@pytest.mark.slow  # pytest in pytest
def test_the_tests_run_in_a_process_of_their_own(tmp_path):
    found = run(tmp_path, "tests")["tests"]["result"]
    assert found["passed"] >= 1 and not found["failed"]


def test_a_part_that_fails_says_why_and_the_others_run(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("no such thing")

    monkeypatch.setitem(command.PARTS, "cost", (broken, 1.0))
    monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path / "nothing"))
    monkeypatch.setenv("HYPERNUDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "pulseopt", None)  # an extra
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = run(tmp_path / "out", "cost", "resnet", "episodes", code=1)
    assert found["cost"]["error"] == "ValueError: no such thing"
    assert "cifar10" in found["resnet"]["skipped"]
    (overhead,) = found["episodes"]["result"].values()
    variants = {"lr", "noise", "default", "default_settled", "annealing"}
    assert overhead["overhead_percent"].keys() == {f"hypernudge_{variant}" for variant in variants}


def test_all_parts_fit_into_eight_minutes():
    assert sum(limit for _, limit in command.PARTS.values()) <= 8 * 60 - 45


def test_files_with_marked_tests_are_found():
    found = suite.marked()
    assert {"tests/tasks/module/test_devices.py", "tests/episodes/test_loops.py"} <= set(found)
    assert all("skipif" in (suite.ROOT / file).read_text() for file in found if file != SELF)


def test_a_report_is_read_by_outcome(tmp_path):
    (tmp_path / "report.xml").write_text(
        '<testsuites><testsuite><testcase classname="a" name="b"/>'
        '<testcase classname="a" name="c"><skipped message="no GPU"/></testcase>'
        '<testcase classname="a" name="d"><failure message="1 != 2">...</failure></testcase>'
        "</testsuite></testsuites>"
    )
    assert suite.read(tmp_path / "report.xml") == {
        "passed": 1,
        "skipped": {"a.c": "no GPU"},
        "failed": {"a.d": "1 != 2"},
    }

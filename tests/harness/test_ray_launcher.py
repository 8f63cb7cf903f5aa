"""Cells as tasks of Ray."""

import json
import socket

import pytest

from tests.harness.tools import BOTH, contents, experiment, hypernudge

pytest.importorskip("ray")
ON_RAY = "+launcher.name=ray"


@pytest.mark.slow
def test_cells_are_those_of_this_machine(tmp_path):
    config = experiment(tmp_path, seeds=2, variations={**BOTH, "talks": {"task": TALKS}})
    done = hypernudge("run", config, "--results-dir", tmp_path / "ray", ON_RAY, "+launcher.max_parallel=2")
    hypernudge("run", config, "--results-dir", tmp_path / "local")
    assert contents(tmp_path / "ray") == contents(tmp_path / "local") and len(contents(tmp_path / "ray")) == 6
    record = json.loads((tmp_path / "ray" / "asha" / "cells" / "seed-0000.json").read_text())
    assert record["wall"]["resources"]["gpu_seconds"] == 0 and record["wall"]["resources"]["core_seconds"] > 0
    assert (tmp_path / "ray" / "talks" / "stdout.log").read_text().count("hello é\n") == 2
    assert "Traceback" not in done.stderr and not list((tmp_path / "ray").rglob("*.lock"))
    killed = experiment(tmp_path, "own:Killed", seeds=1, variations={"asha": {}})
    lost = hypernudge(
        *("run", killed, "--results-dir", tmp_path / "killed", ON_RAY),
        check=False,
        HYPERNUDGE_TEST_KILL="1",
    )
    assert lost.returncode == 1
    lines = (tmp_path / "killed" / "asha" / "attempts.jsonl").read_text().splitlines()
    assert len(lines) == 2 and all("its task was lost: " in json.loads(line)["reason"] for line in lines)
    many = hypernudge(
        "run", config, "--results-dir", tmp_path / "g", ON_RAY, "+launcher.gpus=64", check=False
    )
    assert many.returncode == 2
    assert "launcher.gpus: must be what a node has, and the largest has " in many.stderr


TALKS = {"name": "own:Talking", "label": "talks", "training": {"says": "hello"}}


def test_an_address_that_does_not_answer_is_refused_before_any_work(tmp_path):
    with socket.socket() as taken:  # bound, and not listened at
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = experiment(tmp_path, variations={"asha": {}})
        where = f"+launcher.address='{address}'"
        done = hypernudge("run", config, "--results-dir", tmp_path / "r", ON_RAY, where, check=False)
    assert done.returncode == 2 and not (tmp_path / "r").exists()
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"error: launcher.address: {address} does not answer (Connection refused); start")

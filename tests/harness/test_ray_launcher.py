"""Cells as tasks of Ray."""

import json
import socket

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.launchers.ray import check_room
from hypernudge.harness.planning.launchers import LAUNCHERS
from tests.harness.tools import BOTH, compute_here, contents, experiment, hypernudge

pytest.importorskip("ray")
ON_RAY = "+launcher.name=ray"


@pytest.mark.slow
def test_cells_are_those_of_this_machine(tmp_path):
    own = {"talks": {"task": TALKS}, "killed": {"task": KILLED}}
    config = experiment(tmp_path, seeds=1, variations={"asha": BOTH["asha"], **own})
    results, options = tmp_path / "ray", (ON_RAY, "+launcher.max_parallel=2")
    done = hypernudge(
        "run",
        config,
        "--results-dir",
        results,
        "--no-figures",
        *options,
        check=False,
        HYPERNUDGE_TEST_KILL="1",
    )
    compute_here(config, tmp_path / "here")
    here = {name: record for name, record in contents(tmp_path / "here").items() if "killed" not in name}
    assert contents(results) == here and len(here) == 2
    record = json.loads((results / "asha" / "cells" / "seed-0000.json").read_text())
    assert record["wall"]["resources"]["gpu_seconds"] == 0 and record["wall"]["resources"]["core_seconds"] > 0
    assert (results / "talks" / "stdout.log").read_text().count("hello é\n") == 1
    assert "Traceback" not in done.stderr
    assert done.returncode == 1, "that the last variation has lost its tasks is no success"
    lines = (results / "killed" / "attempts.jsonl").read_text().splitlines()
    assert len(lines) == 2 and all("its task was lost: " in json.loads(line)["reason"] for line in lines)


TALKS = {"name": "own:Talking", "label": "talks", "training": {"says": "hello"}}
KILLED = {"name": "own:Killed", "label": "killed"}
NODES = [
    {"Alive": True, "Resources": {"CPU": 8, "GPU": 2, "memory": 16e9}},
    {"Alive": True, "Resources": {"CPU": 32, "memory": 64e9}},
    {"Alive": False, "Resources": {"CPU": 99, "GPU": 99, "memory": 999e9}},
]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"gpus": 4}, "launcher.gpus: must be what a node has, and the largest has 2, but got 4"),
        ({"cores": 33}, "launcher.cores: must be what a node has, and the largest has 32, but got 33"),
        ({"memory": 65}, "launcher.memory: must be what a node has, and the largest has 64, but got 65"),
        ({"cores": 9, "gpus": 1}, "launcher: must be what one node has all together, "),
    ],
)
def test_what_no_node_has_is_refused(asked, said):
    options = {**LAUNCHERS["ray"], **asked}
    with pytest.raises(InvalidArgumentError) as refused:
        check_room(NODES, options)
    assert str(refused.value).startswith(said), refused.value


def test_what_some_node_has_is_taken():
    check_room(NODES, {**LAUNCHERS["ray"], "cores": 32, "memory": 64})
    check_room(NODES, {**LAUNCHERS["ray"], "cores": 8, "gpus": 2})


def test_an_address_that_does_not_answer_is_refused_before_any_work(tmp_path):
    with socket.socket() as taken:  # bound, and not listened at
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = experiment(tmp_path, variations={"asha": {}})
        where = f"+launcher.address='{address}'"
        done = hypernudge("run", config, "--results-dir", tmp_path / "r", ON_RAY, where, check=False)
    assert done.returncode == 2 and not (tmp_path / "r").exists()
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: launcher.address: must be a cluster of Ray that answers within 10 s, but ")
    assert f"{address} does not (Connection refused); start it with `ray start --head`" in line

"""Actors of Ray as workers: the same laws as processes, on a cluster that all tests here share."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from hypernudge import ASHA, tune
from hypernudge.engine.workers import ray_cluster
from hypernudge.engine.workers.ray import RayEngine
from hypernudge.engine.workers.ray_cluster import OFF, QUIET
from hypernudge.errors import InvalidArgumentError
from hypernudge.warmstart.policies.informed import Informed
from tests.conftest import Bowl
from tests.engine.real import CannotBeBuilt, CannotBeSent, Counted
from tests.engine.workers import random_search
from tests.laws.recorded import by_trial, check_recorded
from tests.laws.test_real_workers import course

pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # files that Ray leaves open
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def short_folder():
    """A folder for the files of a cluster, its sockets among them, whose paths the system limits."""
    return tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)


@pytest.fixture(scope="module")
def cluster():
    """Yield two nodes of one machine, and Ray connected to the first."""
    import ray
    from ray._private import ray_constants, utils
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch, short_folder() as folder:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        for name in OFF:  # read when Ray was imported
            patch.setattr(ray_constants, name, False)
        patch.setattr(utils, "write_ray_address", lambda *args: None)  # others would connect to it
        head = {"num_cpus": 2, "include_dashboard": False, "temp_dir": folder}
        found = Cluster(initialize_head=True, head_node_args=head)
        second = found.add_node(num_cpus=2)
        ray.init(address=found.address, log_to_driver=False, logging_level=logging.CRITICAL)
        yield found, second
        ray.shutdown()
        found.shutdown()


def test_one_actor_decides_as_the_serial_engine(cluster):
    task = Bowl()
    scheduler = ASHA(task.space, max_units=4, eta=2, max_trials=6)
    options = {"seed": 3, "warm_start": Informed(), "test": "every"}
    real = tune(task, scheduler, engine=RayEngine(workers=1), **options)
    serial = tune(task, scheduler, **options)
    assert course(real) == course(serial)
    assert real.best_weights()["w"].tolist() == serial.best_weights()["w"].tolist()
    # The first actor may die at its start (Ray fails now and then): another one goes on.
    assert re.fullmatch(r"ray-\d+", real.trials[0].nudge.resources.worker)


def test_with_four_actors_the_laws_hold_and_half_of_them_may_die(cluster, tmp_path):
    """Actors are killed, one is stopped past its heartbeat."""
    task, done = Counted(tmp_path, seconds=0.1, trouble=False), []

    def disturb(study, report):
        done.append(report)
        if len(done) in (2, 4, 6):
            newest = int((tmp_path / "units.txt").read_text().split()[-1])
            os.kill(newest, signal.SIGSTOP if len(done) == 4 else signal.SIGKILL)

    scheduler = ASHA(Counted.space, max_units=9, max_trials=10)
    engine = RayEngine(workers=4, heartbeat_timeout=8)
    study = tune(task, scheduler, seed=0, engine=engine, study=tmp_path / "kept", callbacks=[disturb])
    check_recorded(study.history, lambda: ASHA(Counted.space, max_units=9, max_trials=10), 0, 4)
    undisturbed = by_trial(tune(Counted(tmp_path / "other", trouble=False), random_search(10, 9), seed=0))
    for number, (_, status, units) in by_trial(study).items():
        assert status == "paused"
        assert units == undisturbed[number][2][: len(units)]
    assert len(task.units()) - len(set(task.units())) <= 3
    assert sum(report.resources.attempt > 1 for report in study.reports) >= 1
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["best", "study.jsonl"]


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        (
            Counted,
            {"gpus_per_trial": 1},
            "gpus_per_trial: must be what one machine has, and the largest has 0",
        ),
        (Counted, {"workers": 50}, "workers: must fit: 1 CPU each, and there is room for"),
        (CannotBeBuilt, {}, "task: must be built on every worker, .* ImportError: no such data set here"),
        (CannotBeSent, {}, r"pickling task\.parts\[1\]\['lock'\], a lock, raises TypeError: cannot pickle"),
    ],
)
def test_bad_input_on_a_cluster(cluster, kind, options, said, tmp_path):
    with pytest.raises(InvalidArgumentError, match=said) as raised:
        tune(kind(tmp_path), random_search(), seed=0, engine=RayEngine(**{"workers": 2, **options}))
    assert "\n" not in str(raised.value)
    if kind is CannotBeBuilt:
        assert "in _fail" in str(raised.value.__cause__)


def test_a_node_of_two_is_lost(cluster, tmp_path):
    """What ran there is trained again on the other one. Last: the cluster has one node then."""
    found, second = cluster
    task, reports = Counted(tmp_path, seconds=0.1, trouble=False), []

    def lose(study, report):
        reports.append(report)
        if len(reports) == 3:
            found.remove_node(second, allow_graceful=False)

    engine = RayEngine(workers=4, heartbeat_timeout=10)
    study = tune(task, random_search(10), seed=0, engine=engine, callbacks=[lose])
    assert by_trial(study) == by_trial(
        tune(Counted(tmp_path / "o", trouble=False), random_search(10), seed=0)
    )
    assert len(task.units()) - len(set(task.units())) <= 2
    assert len({report.resources.worker for report in study.reports}) >= 2


# Without the shared cluster.


def test_a_cluster_of_its_own_listens_on_loopback_alone_and_leaves_nothing(tmp_path, monkeypatch):
    import ray
    from ray._private import ray_constants
    from ray._private.runtime_env import uv_runtime_env_hook

    ray.shutdown()
    place = tempfile.mkdtemp(prefix="r", dir="/tmp")
    monkeypatch.setattr(tempfile, "tempdir", place)
    environment = {name: os.environ.get(name) for name in QUIET}
    others = set(psutil.Process().children())  # the cluster that the other tests share
    seen = {"listening": set(), "dashboards": [], "processes": [], "folders": set(), "programs": set()}
    # As under `uv run`, where Ray would pack this folder and install an environment for each process.
    monkeypatch.setattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True)
    monkeypatch.setattr(uv_runtime_env_hook, "_get_uv_run_cmdline", lambda: ["uv", "run", "study.py"])

    def look(study, report):
        seen["folders"] |= {path.name.rpartition("-")[0] for path in Path(place).iterdir()}
        started = set(psutil.Process().children()) - others
        for process in [*started, *(p for root in started for p in root.children(recursive=True))]:
            seen["processes"].append(process)
            command = process.cmdline()
            seen["programs"].add(Path(command[0]).name if command else "")
            seen["dashboards"] += [command for word in command if word.endswith("dashboard.py")]
            seen["listening"] |= {
                c.laddr.ip.removeprefix("::ffff:")
                for c in process.net_connections(kind="inet")
                if c.status == psutil.CONN_LISTEN
            }

    engine = RayEngine(workers=2)
    study = tune(Counted(tmp_path, trouble=False), random_search(3), seed=0, engine=engine, callbacks=[look])
    assert study.ended == "scheduler" and len(study.trials) == 3
    assert seen["listening"] == {"127.0.0.1"}
    assert "uv" not in seen["programs"] and ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
    assert all("--disable-frontend" in command for command in seen["dashboards"])  # Ray's own housekeeping
    assert not ray.is_initialized()
    gone, alive = psutil.wait_procs(set(seen["processes"]), timeout=60)
    assert len(gone) > 3 and not alive
    assert seen["folders"] == {"hypernudge-ray", "hypernudge-trials"}
    Path(place).rmdir()  # nothing is left in it
    assert engine.startup_seconds == 0.0  # of the study's own, which is another object
    assert {name: os.environ.get(name) for name in QUIET} == environment


@pytest.mark.parametrize("length", [13, 15, 16, 30, 60])
def test_sockets_have_paths_that_the_system_takes(length, monkeypatch):
    """Wherever temporary files go: `/scratch/somebody`, say."""
    with tempfile.TemporaryDirectory(prefix="r" * (length - 13), dir="/tmp") as place:
        assert len(place) == length
        monkeypatch.setattr(tempfile, "tempdir", place)
        with ray_cluster._own_folder() as folder:
            assert len(f"{folder}/{ray_cluster.SOCKET}") <= 103
            assert (folder.parent == Path(place)) == (length <= 15)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("localhost", "address: must be 'auto' or 'host:port', but got 'localhost'"),
        ("ray://somewhere:10001", "address: must be 'auto' or 'host:port'"),
        (7, "address: must be 'auto' or 'host:port'"),
    ],
)
def test_what_is_no_address(address, said):
    with pytest.raises(InvalidArgumentError, match=said):
        RayEngine(address=address)


@pytest.mark.parametrize("name", ["cpus_per_trial", "gpus_per_trial"])
@pytest.mark.parametrize("value", [-1, 1.5, "1", float("nan")])
def test_wrong_shares(name, value):
    with pytest.raises(InvalidArgumentError, match=name):
        RayEngine(**{name: value})


def test_an_address_that_does_not_answer_is_said_in_one_line(tmp_path, monkeypatch):
    """Nobody listens; nobody is known."""
    import ray
    from ray._private import services

    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", "")
    monkeypatch.setattr(services, "find_gcs_addresses", set)  # other clusters may run on this machine
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    monkeypatch.setattr(ray_cluster, "PATIENCE", 3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for address in (f"127.0.0.1:{port}", "auto"):
            begun = time.monotonic()
            with pytest.raises(InvalidArgumentError, match="must be a cluster of Ray that answers") as raised:
                tune(Counted(tmp_path), random_search(), seed=0, engine=RayEngine(address=address))
            assert "\n" not in str(raised.value)
            assert time.monotonic() - begun < 60


def test_a_node_that_does_not_start_is_said_in_one_line(tmp_path, monkeypatch):
    """Ray raises a bare exception then."""
    import ray

    def late(**options):
        raise Exception("The current node timed out during startup.\nThis could happen")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "init", late)
    with pytest.raises(
        InvalidArgumentError, match="address: Ray must start on this machine, but does not"
    ) as raised:
        tune(Counted(tmp_path), random_search(), seed=0, engine=RayEngine())
    assert "timed out during startup" in str(raised.value) and "\n" not in str(raised.value)

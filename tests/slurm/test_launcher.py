"""Cells as jobs of Slurm: what comes of them, of those that are interrupted, and of those that wait."""

import json
import signal
import time

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.inspection.cancel import cancel
from hypernudge.harness.inspection.status import print_table, status
from hypernudge.harness.launchers.choose import check_launcher
from hypernudge.harness.planning.launchers import read_launcher
from hypernudge.harness.planning.plan import Plan
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.pilot import pilot
from hypernudge.harness.slurm import commands
from tests.harness.tools import experiment, hypernudge
from tests.slurm.tools import (
    Driver,
    computed_here,
    digests,
    environment,
    jobs_of,
    leftovers,
    paced,
    run,
    wait_for,
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Digests of the records that this machine computes by itself, with four seeds."""
    folder = tmp_path_factory.mktemp("alone")
    return computed_here(paced(folder, 4), folder / "r")


def running(results):
    return [seed for row in status(results) for seed in row.running if "job" in row.where.get(seed, "")]


def test_cells_are_those_of_this_machine_and_nothing_is_left(cluster, alone, tmp_path):
    done = run(paced(tmp_path, 4), tmp_path / "r", tmp_path / "jobs", max_parallel=2, gpus=1)
    assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "r") == alone
    assert list(jobs_of(tmp_path / "r").values()) == [4], "one array"
    assert leftovers(tmp_path / "r", tmp_path / "jobs") == []
    record = json.loads((tmp_path / "r" / "asha" / "cells" / "seed-0000.json").read_text())
    used = record["wall"]["resources"]
    assert used["gpu_seconds"] == pytest.approx(used["wall_seconds"]) and used["core_seconds"] > 0
    assert used["attempt"] == 1 and used["node"] == "", "results name no machine"
    # The numbers of jobs that were seen through are told by nobody any more.
    assert all(row.where == {} and len(row.done) == 4 for row in status(tmp_path / "r"))


def test_what_waits_and_runs_is_shown_and_can_be_cancelled(cluster, alone, tmp_path, capsys):
    config, results = paced(tmp_path, 2), tmp_path / "r"
    with Driver(config, results, tmp_path / "jobs", pace=30, max_parallel=1) as driver:
        assert wait_for(lambda: results.joinpath("plan.json").exists() and running(results), 120), driver.said
        (row,) = status(results)
        (seed,), (waiting,) = row.running, row.queued
        assert row.missing == row.failed == []
        assert "attempt 1" in row.where[seed] and " since " in row.where[seed]
        assert "waits (JobArrayTaskLimit)" in row.where[waiting]
        print_table([row])
        shown = capsys.readouterr().out
        assert f"asha seed {seed} runs on " in shown and f"asha seed {waiting} is queued: " in shown
        second = run(config, results, tmp_path / "jobs")
        assert second.returncode == 2 and f"process {driver.process.pid} on " in second.stderr
        assert len(second.stderr.strip().splitlines()) <= 3, second.stderr
        ended = cancel(results)
        assert ended.runs == [driver.process.pid] and len(ended.jobs) >= 1 and not ended.elsewhere
        assert driver.process.wait(60) == 128 + signal.SIGTERM
    assert wait_for(lambda: not any(not job.is_over for job in commands.queue().values()), 60)
    (row,) = status(results)
    assert (len(row.missing), row.failed, row.queued, row.running) == (2, [], [], [])
    assert hypernudge("cancel", results, **environment()).stdout.startswith("nothing runs here")
    done = run(config, results, tmp_path / "jobs")
    assert done.returncode == 0, done.stderr
    assert leftovers(results, tmp_path / "jobs") == []
    assert len(found := digests(results)) == 2 and found.items() <= alone.items()


def test_a_killed_driver_finds_its_jobs_again(cluster, alone, tmp_path):
    config, results = paced(tmp_path, 2), tmp_path / "r"
    with Driver(config, results, tmp_path / "jobs", pace=0.2) as driver:
        assert wait_for(lambda: results.joinpath("plan.json").exists() and running(results), 120), driver.said
        driver.end(signal.SIGKILL)
    done = run(config, results, tmp_path / "jobs")
    assert done.returncode == 0, done.stderr
    assert list(jobs_of(results).values()) == [2], "nothing was submitted again"
    assert leftovers(results, tmp_path / "jobs") == []
    assert len(found := digests(results)) == 2 and found.items() <= alone.items()


def test_the_signal_before_the_limit_is_a_clean_end_and_another_turn(cluster, alone, tmp_path):
    config, results = paced(tmp_path, 1), tmp_path / "r"
    log = results / "asha" / "cells" / "seed-0000.study" / "study.jsonl"
    with Driver(config, results, tmp_path / "jobs", pace=0.15) as driver:
        reported = lambda: log.read_bytes().count(b'"report"') if log.exists() else 0  # noqa: E731
        assert wait_for(lambda: reported() >= 4, 120), driver.said
        before = log.read_bytes()
        (job,) = [number for number, found in commands.queue().items() if found.is_running]
        cluster.run("scancel", "--signal=USR2", job)
        assert driver.process.wait(120) == 0, driver.said
    assert list(jobs_of(results).values()) == [1], "the same job took its turn again"
    assert "Restarts=1" in cluster.run("scontrol", "show", "job", job)
    record = json.loads((results / "asha" / "cells" / "seed-0000.json").read_text())
    assert record["digest"] == alone["asha/cells/seed-0000.json"]
    assert record["wall"]["resources"]["attempt"] == 1, "a turn that ends in order is no failure"
    # What both turns took: the waits of the reports that were there are in it.
    assert record["wall"]["resources"]["wall_seconds"] > 0.15 * before.count(b'"report"')


def test_a_job_that_gets_no_further_is_not_queued_for_ever(cluster, tmp_path):
    config, results = paced(tmp_path, 1), tmp_path / "r"
    lock = results / "asha" / "cells" / "seed-0000.lock"
    with Driver(config, results, tmp_path / "jobs", pace=60, attempts=1) as driver:
        assert wait_for(lock.exists, 120), driver.said  # before that nobody listens to signals
        (job,) = [number for number, found in commands.queue().items() if found.is_running]
        cluster.run("scancel", "--signal=USR2", job)
        assert driver.process.wait(120) == 1, driver.said
    (row,) = status(results)
    assert row.failed == [0] and "has got no further within its time limit" in row.attempts[0].reason


def test_output_of_jobs_is_that_of_the_variation(cluster, tmp_path):
    variations = {"asha": {"task": {"name": "own:Talking", "label": "t"}, "training": {"says": "hello"}}}
    done = run(experiment(tmp_path, seeds=1, variations=variations), tmp_path / "r", tmp_path / "jobs")
    assert done.returncode == 0, done.stderr
    log = (tmp_path / "r" / "asha" / "stdout.log").read_text()
    assert "hello é\n" in log and "hello by another program\n" in log and "submitit" not in log
    assert "hello without an end" in (tmp_path / "r" / "asha" / "stderr.log").read_text()


ODD = """
import os
from conftest import Bowl
from hypernudge.errors import require
class Refusing(Bowl):
    def __init__(self):
        super().__init__()
        require('SLURM_JOB_ID' not in os.environ, 'odd', 'must be at home', 'a node', 'stay')
class Broken(Bowl):
    def __init__(self):
        super().__init__()
        if 'SLURM_JOB_ID' in os.environ:
            {}['at home']
"""


def test_a_variation_that_cannot_be_built_on_a_node_is_refused_once_with_the_reason(cluster, tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    names = ("refusing", "broken")
    variations = {name: {"task": {"name": f"odd:{name.title()}", "label": name}} for name in names}
    config = experiment(tmp_path, "odd:Refusing", seeds=2, variations=variations)
    done = run(config, tmp_path / "r", tmp_path / "jobs")
    assert done.returncode == 1
    assert done.stderr.count("odd: must be at home, but got 'a node'; stay") == 1, done.stderr
    assert done.stderr.count("Traceback") == done.stderr.count("KeyError: 'at home'") == 1, done.stderr
    assert "in __init__" in done.stderr, "its own traceback"
    assert sum(jobs_of(tmp_path / "r").values()) == 4, "nothing is tried again"
    assert not list((tmp_path / "r").glob("*/attempts.jsonl"))


def test_pilots_run_there_too_and_leave_nothing(cluster, tmp_path):
    options = [
        f"+launcher.{option}" for option in ("name=slurm", "poll_seconds=0.5", f"folder={tmp_path}/jobs")
    ]
    config = paced(tmp_path, 1)
    there = json.loads(hypernudge("pilot", config, "--count", "2", *options, **environment()).stdout)
    seeds = there["seeds"]
    (here,) = pilot(load_plan(config), seeds, tmp_path / "here")
    assert there == here and there["event"] == "pilot" and len(there["best_at"]) == 2
    assert list((tmp_path / "jobs").iterdir()) == []
    with pytest.raises(InvalidArgumentError, match="invalid partition specified: nope"):
        next(pilot(load_plan(config, [*options, "+launcher.partition=nope"]), seeds, tmp_path / "no"))


REFUSED = {
    "a partition": ({"partition": "nope"}, "invalid partition specified: nope"),
    "GPUs": ({"gpus": 5}, "Requested node configuration is not available"),
    "a type of GPU": ({"gpus": "a100:1"}, "Requested node configuration is not available"),
    "memory": ({"memory": 100}, "Requested node configuration is not available"),
    "cores": ({"cores": 64}, "More processors requested than permitted"),
    "time": ({"time": 1000}, "Requested time limit is invalid"),
    "cgroups": ({"cgroup": True}, "launcher.cgroup: the cluster must confine jobs by cgroups"),
    "an account's option": ({"sbatch": {"licenses": "none@all"}}, "Invalid license specification"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_cluster_cannot_give_is_refused_in_one_line(cluster, case):
    options, said = REFUSED[case]
    plan = Plan("refused", (), {}, read_launcher({"name": "slurm", **options}, {}.get))
    with pytest.raises(InvalidArgumentError) as refused:
        check_launcher(plan)
    line = str(refused.value)
    assert line.startswith("launcher") and said in line and len(line.splitlines()) == 1


def test_that_is_said_before_any_work(cluster, tmp_path):
    done = run(paced(tmp_path, 1), tmp_path / "r", tmp_path / "jobs", partition="nope")
    assert done.returncode == 2 and not (tmp_path / "r").exists()
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: launcher: ") and REFUSED["a partition"][1] in line


def test_a_controller_that_does_not_answer_is_said_within_seconds(cluster, tmp_path):
    cluster.kill_controller()
    try:
        begun = time.monotonic()
        done = run(paced(tmp_path, 1), tmp_path / "r", tmp_path / "jobs")
        assert time.monotonic() - begun < 60
    finally:
        cluster.start_controller()
    assert done.returncode == 2 and not (tmp_path / "r").exists()
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: launcher: ") and "wait until the cluster answers" in line
    cluster.ask_nodes()  # otherwise it may take more than a minute until it hears from them
    assert wait_for(lambda: "idle" in cluster.run("sinfo", "-h", "-o", "%T", check=False), 120)


def test_nothing_listens_beyond_this_machine(cluster):
    assert cluster.listening() and all(address == "127.0.0.1" for address in cluster.listening())

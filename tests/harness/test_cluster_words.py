"""What Slurm's commands print, read; and `status` and `cancel` of a directory whose jobs are in its queue."""

import json
import os
import signal
import subprocess
import sys

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.inspection.cancel import cancel
from hypernudge.harness.inspection.status import status
from hypernudge.harness.launchers import slurm as launcher
from hypernudge.harness.planning.launchers import read_launcher
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.slurm import commands, journal
from hypernudge.harness.slurm.accounting import own_usage, read_usage
from hypernudge.harness.slurm.commands import QueuedJob, SlurmError, queue, reason_in
from hypernudge.harness.slurm.journal import Task, cluster_jobs, submissions
from hypernudge.harness.slurm.options import SlurmOptions
from hypernudge.results.accounting import JobUsage, note_usage, noted_usage
from hypernudge.results.attempts import note_failure
from hypernudge.results.records import cell_path
from tests.harness.tools import ENV, ROOT, experiment, wait_for

NAME, OTHER = "hypernudge-0a1b2c3d", "hypernudge-00000000"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of Slurm that print what a test has written, and note how they were called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in commands.PROGRAMS:
        text = (
            f'#!/bin/sh\necho "{name} $*" >> {folder}/called\ncat {folder}/{name}.txt 2>/dev/null || true\n'
        )
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def results(tmp_path):
    plan = load_plan(experiment(tmp_path, "digits_mlp", 6, {"asha": {}}, target=0.9))
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan.as_dict()))
    tasks = [Task("asha", (seed,), 1 + seed // 4) for seed in range(5)]
    journal.note_intent(folder, NAME, tasks)
    journal.note_number(folder, NAME, "77")
    journal.note_over(folder, NAME, 0)
    return folder


QUEUE = (
    f"77_0|COMPLETED|n1|2026-01-01T10:00:00|None|{NAME}\n"
    f"77_1|RUNNING|n[1-2]|2026-01-01T10:00:00|None|{NAME}\n"
    f"77_2|PENDING||N/A|Resources|{NAME}\n"
    f"77_3|NODE_FAIL|n1|2026-01-01T10:00:00|NodeFail|{NAME}\n"
    f"77_4|PENDING||N/A|JobArrayTaskLimit|{NAME}\n"
    f"77_9|PENDING||N/A|Priority|{OTHER}\n"
    "odd line\n"
    "x|RUNNING|n1|N/A|None|y\n"
)


def test_the_queue_is_read(slurm):
    (slurm / "squeue.txt").write_text(QUEUE)
    found = queue()
    assert list(found) == ["77_0", "77_1", "77_2", "77_3", "77_4", "77_9"]
    assert [job.is_over for job in found.values()] == [True, False, False, True, False, False]
    assert found["77_1"].nodes == "n[1-2]" and found["77_1"].since is not None
    assert found["77_2"].since is None and found["77_2"].reason == "Resources"
    assert (slurm / "called").read_text().count("squeue") == 1


def test_status_tells_queued_running_failed_and_missing(slurm, results):
    (slurm / "squeue.txt").write_text(QUEUE)
    note_failure(results / "asha", 3, "its job 77_3 ended on n1: its node failed")
    (row,) = status(results)
    assert (row.running, row.queued, row.failed, row.missing) == ([1], [2, 4], [3], [0, 5])
    assert row.where[1].startswith("on n[1-2] since 2026-01-01T") and row.where[1].endswith(
        "attempt 1, job 77_1"
    )
    assert row.where[2] == "attempt 1, job 77_2 waits (Resources)"
    assert row.where[4] == "attempt 2, job 77_4 waits (JobArrayTaskLimit)"
    assert row.attempts[3].reason.endswith("its node failed")
    assert (slurm / "called").read_text().count("\n") == 1, "one question for all cells"


def test_a_number_that_is_another_ones_by_now_is_none_of_ours(slurm, results):
    (slurm / "squeue.txt").write_text(QUEUE.replace(NAME, OTHER))
    (row,) = status(results)
    assert row.running == row.queued == [] and len(row.missing) == 6
    assert cancel(results).jobs == [] and "scancel" not in (slurm / "called").read_text()


def test_cancel_ends_the_jobs_that_are_not_over(slurm, results):
    (slurm / "squeue.txt").write_text(QUEUE)
    assert cancel(results).jobs == ["77_1", "77_2", "77_4"]
    assert "scancel --quiet 77_1 77_2 77_4\n" in (slurm / "called").read_text()


def test_where_slurm_is_not_the_jobs_are_still_named(results, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (row,) = status(results)
    assert row.queued == [1, 2, 3, 4] and "Slurm does not answer here" in row.where[1]
    with pytest.raises(InvalidArgumentError, match="Slurm must answer, to end its jobs"):
        cancel(results)


def test_a_submission_without_a_number_is_found_by_its_name(slurm, results):
    journal.note_intent(results, OTHER, [Task("asha", (5,), 1)])
    (slurm / "squeue.txt").write_text("88\n")
    assert cancel(results).jobs == ["88"]
    assert f"--name={OTHER}" in (slurm / "called").read_text()


def test_odd_lines_of_the_journal_are_passed_over(results):
    with (results / "jobs.jsonl").open("a") as file:
        for line in (
            "[]",
            "{",
            '{"event": "submit", "name": "rm -rf", "at": "", "jobs": []}',
            f'{{"event": "submitted", "name": "{NAME}", "number": "1; reboot"}}',
            f'{{"event": "submitted", "name": "{OTHER}", "number": "5"}}',
            f'{{"event": "over", "name": "{NAME}", "position": "x"}}',
            '{"event": "submit", "na',
        ):
            file.write(line + "\n")
    (found,) = submissions(results)
    assert found.number == "77" and found.over == {0} and len(found.tasks) == 5
    assert [number for _, number, _ in found.open_jobs()] == ["77_1", "77_2", "77_3", "77_4"]


def test_a_directory_without_jobs_asks_nobody(tmp_path):
    assert cluster_jobs(tmp_path) == {}


def test_a_refusal_is_one_line(slurm):
    text = "sbatch: error: Batch job submission failed: Invalid\nsbatch: error: more\nUsage: sbatch\n"
    assert reason_in(text) == "Batch job submission failed: Invalid; more"
    assert reason_in("allocation failure: none\n") == "allocation failure: none" and reason_in("") == ""
    (slurm / "squeue").write_text("#!/bin/sh\necho 'squeue: error: gone' >&2\nexit 1\n")
    with pytest.raises(SlurmError, match="squeue: gone"):
        queue()


SACCT = (
    "5_0|NODE_FAIL|10|20|00:07.500||billing=2,cpu=2,gres/gpu=2,mem=4000M,node=1\n"
    "5_0.0|CANCELLED|10|20|00:07.500|1000|cpu=2\n"
    "5_0|COMPLETED|30|60|01:00:05||billing=2,cpu=2,gres/gpu=2,gres/gpu:a100=2,node=1\n"
    "5_0.batch|COMPLETED|30|60|00:00.001|2000|cpu=2\n"
    "5_0.0|COMPLETED|30|60|00:20.000|9000|cpu=2\n"
    "6|RUNNING|7|7|1-00:00:01||cpu=1\n"
    "junk|||\n"
)


def test_every_turn_of_a_job_is_counted():
    found = read_usage(SACCT)
    assert found["5_0"] == JobUsage("5_0", "COMPLETED", 2, 40, 3612.5, 80, 80, 9000)
    assert found["5_0"].is_over and not found["6"].is_over
    assert found["6"].core_seconds == 86401 and found["6"].gpu_seconds == 0


@pytest.mark.parametrize(
    ("number", "place", "seconds", "peak"), [("8", "0", 2, 7300), ("7", "1", 63, 9100), ("9", "2", 0, 0)]
)
def test_a_job_quotes_its_own_steps_not_those_of_its_array(slurm, monkeypatch, number, place, seconds, peak):
    # The last job of an array has the array's number, and asked for that sstat lists the others' steps, too.
    steps = "8.batch|00:00:00|4096\n8.0|00:00:02|7300\n7.batch|00:00:01|4096\n7.0|00:01:02|9100\n"
    turns = "".join(f"7_{n}|RUNNING|70|70|00:00:00||cpu=1\n" for n in range(3))
    for name, text in (("sacct", turns), ("sstat", steps)):
        (slurm / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
        (slurm / name).chmod(0o755)
    for name, value in (("JOB_ID", number), ("ARRAY_JOB_ID", "7"), ("ARRAY_TASK_ID", place)):
        monkeypatch.setenv(f"SLURM_{name}", value)
    found = own_usage()
    assert found is not None and found["job"] == f"7_{place}"
    assert (found["core_seconds"], found["peak_memory_bytes"]) == (seconds, peak)


def test_what_the_accounting_does_not_know_in_time_is_said_and_asked_for_again(tmp_path, monkeypatch):
    results, said = tmp_path / "r", []
    results.mkdir()
    options = SlurmOptions.of(read_launcher({"name": "slurm", "folder": str(tmp_path / "jobs")}, {}.get))
    monkeypatch.setattr(launcher, "LEAVING", 0.0)
    monkeypatch.setattr(launcher.accounting, "gathered_by", lambda: "jobacct_gather/linux")
    monkeypatch.setattr(launcher.commands, "queue", dict)
    journal.note_intent(results, NAME, [Task("asha", (0,), 1)])
    journal.note_number(results, NAME, "7")
    for _ in range(2):  # nothing is forgotten
        launcher.SlurmLauncher(options, results, 2, True, said.append).close()
    line = (
        "Slurm's accounting does not know the end of 1 jobs yet: the same command notes what they have used"
    )
    assert said == [line, line] and list(noted_usage(results)) == []


def test_a_job_that_ends_after_its_last_record_is_seen_off_though_nothing_is_left_to_run(
    tmp_path, monkeypatch
):
    # Its driver was killed in between; that of now has nothing to run. The other job still computes.
    results, place = tmp_path / "r", tmp_path / "jobs"
    (results / "asha" / "cells").mkdir(parents=True)
    monkeypatch.setattr(launcher.accounting, "gathered_by", lambda: None)
    for name, number, seed in ((NAME, "7", 0), (OTHER, "8", 1)):
        journal.note_intent(results, name, [Task("asha", (seed,), 1)])
        journal.note_number(results, name, number)
        (place / name).mkdir(parents=True)
    place.chmod(0o700)
    cell_path(results / "asha", 0).write_text("{}")
    numbers = {submission.name: submission.job(0) for submission in submissions(results)}
    states = {NAME: "RUNNING", OTHER: "RUNNING"}
    monkeypatch.setattr(
        launcher.commands,
        "queue",
        lambda: {numbers[name]: QueuedJob(state, "n1", None, "", name) for name, state in states.items()},
    )
    options = SlurmOptions.of(read_launcher({"name": "slurm", "folder": str(place)}, {}.get))
    made = launcher.SlurmLauncher(options, results, 2, True, print)
    states[NAME] = "COMPLETED"
    made.close()
    assert {s.name: set(s.over) for s in submissions(results)} == {NAME: {0}, OTHER: set()}
    assert [path.name for path in place.iterdir()] == [OTHER]


def test_what_jobs_have_used_is_read_back(tmp_path):
    usage = read_usage(SACCT)["5_0"]
    note_usage(tmp_path, read_usage(SACCT)["6"], "b", [3], "jobacct_gather/linux")
    note_usage(tmp_path, usage, "a", [0, 1], "jobacct_gather/cgroup")
    with (tmp_path / "accounting.jsonl").open("a") as file:
        file.write('{"job": 7}\n[]\n{"run_id"')
    note_usage(tmp_path, usage, "a", [0, 1], "jobacct_gather/cgroup")
    assert list(noted_usage(tmp_path))[1:] == [("a", (0, 1), usage)] and len(list(noted_usage(tmp_path))) == 2


def test_cancel_ends_a_run_of_this_machine(tmp_path):
    if not os.path.exists("/proc/locks"):  # noqa: PTH110
        pytest.skip("needs /proc to find who holds a lock")
    config, results = experiment(tmp_path, "own:Paced", 2, {"asha": {}}), tmp_path / "results"
    command = [sys.executable, "-m", "hypernudge.cli", "run", config, "--results-dir", results]
    with subprocess.Popen(
        list(map(str, command)),
        env={**ENV, "HYPERNUDGE_TEST_PACE": "60"},
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert wait_for(lambda: any(results.glob("*/cells/*.lock")), 120)
        (row,) = status(results)
        assert row.running and "attempt 1" in row.where[row.running[0]]
        ended = cancel(results)
        assert run.wait(60) == 128 + signal.SIGTERM
    assert (ended.runs, ended.jobs, ended.elsewhere) == ([run.pid], [], [])
    assert cancel(results).runs == [] and not status(results)[0].running
    with pytest.raises(InvalidArgumentError, match=r"DIR: must hold plan\.json"):
        cancel(tmp_path)

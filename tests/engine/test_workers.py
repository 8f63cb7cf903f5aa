"""Real workers: killed, frozen, given up and refused; a driver that is killed; the clock."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch

from hypernudge import ASHA, RandomSearch, Study, tune
from hypernudge.engine.workers import messages
from hypernudge.engine.workers.processes import ProcessEngine
from tests.conftest import Bowl
from tests.engine.real import Counted
from tests.engine.workers import (
    ROOT,
    left_behind,
    linux,
    order_for,
    random_search,
    workers_of_this_process,
)
from tests.laws.recorded import by_trial, check_recorded
from tests.study import tools


@linux
def test_a_worker_that_is_killed_loses_the_unit_it_was_at_and_no_more(tmp_path):
    task = Counted(tmp_path, seconds=0.02, trouble=False)
    killed = []

    def kill(study, report):
        if len(killed) < 3:
            victim = workers_of_this_process()[len(killed) % 2]
            victim.kill()
            killed.append(victim.pid)

    scheduler = ASHA(Counted.space, max_units=9, max_trials=8)
    study = tune(task, scheduler, seed=0, engine=ProcessEngine(workers=2), callbacks=[kill])
    assert len(killed) == 3
    whole = RandomSearch(Counted.space, max_units=9, max_trials=8)
    undisturbed = by_trial(tune(Counted(tmp_path / "other", trouble=False), whole, seed=0))
    for number, (_, status, units) in by_trial(study).items():
        assert status == "paused"
        assert units == undisturbed[number][2][: len(units)]
    check_recorded(study.history, lambda: ASHA(Counted.space, max_units=9, max_trials=8), 0, 2)
    reported = sum(len(trial.units) for trial in study.trials)
    assert len(task.units()) - reported <= 3  # what was trained between its end and its file
    lost = [report.resources for report in study.reports if report.resources.attempt > 1]
    assert lost and all(used.lost_seconds > 0 for used in lost)


class Deadly(Counted):
    """Ends its process in one trial."""

    def advance(self, state, hp):
        if hp["shift"] > 0.6:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().advance(state, hp)


@linux
def test_a_trial_that_kills_its_worker_again_and_again_has_failed(tmp_path, caplog):
    engine = ProcessEngine(workers=2, retries=1)
    study = tune(Deadly(tmp_path, trouble=False), random_search(), seed=0, engine=engine)
    failed = [trial for trial in study.trials if trial.status == "failed"]
    assert failed and len(failed) < 6
    for trial in failed:
        assert trial.config["shift"] > 0.6
        assert "was killed by signal 9; 2 attempts were lost, and retries=1 allows no more" in trial.error
        assert "Resources" not in trial.error
    assert all(trial.status == "paused" for trial in study.trials if trial not in failed)
    assert "was killed by signal 9" in caplog.text


@linux
def test_a_frozen_worker_is_given_up_and_its_late_result_is_refused(tmp_path):
    """It is stopped for longer than its heartbeat; another one has trained its trial when it would wake."""
    task = Counted(tmp_path, seconds=0.05, trouble=False)
    frozen = []

    def freeze(study, report):
        if not frozen:
            frozen.append(workers_of_this_process()[0])
            frozen[0].suspend()

    engine = ProcessEngine(workers=2, heartbeat_timeout=5.0)  # longer than a busy machine holds up the other
    study = tune(task, random_search(8), seed=0, engine=engine, callbacks=[freeze])
    assert not frozen[0].is_running()
    assert sum(report.resources.attempt == 2 for report in study.reports) == 1
    assert max(report.resources.lost_seconds for report in study.reports) > 1.0
    undisturbed = tune(Counted(tmp_path / "other", trouble=False), random_search(8), seed=0)
    assert by_trial(study) == by_trial(undisturbed)


DRIVER = """
import sys, time
from hypernudge import ASHA, tune
from hypernudge.engine.workers.processes import ProcessEngine
from tests.engine.real import Counted
folder = sys.argv[1]
goal = float(sys.argv[2])
task = Counted(folder, seconds=0.02, trouble=False)
scheduler = ASHA(Counted.space, max_units=9, max_trials=12)

def wait(study, report):
    if len(task.units()) >= goal:  # to be killed, if whoever does it is late
        time.sleep(600)

engine = ProcessEngine(workers=2)
print(tune(task, scheduler, seed=0, engine=engine, study=folder + "/kept", callbacks=[wait]))
"""


def drive(folder, kill_after=None):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    task, goal = Counted(folder), math.inf
    if kill_after is not None:
        goal = len(task.units()) + kill_after
    process = subprocess.Popen([sys.executable, "-c", DRIVER, str(folder), str(goal)], env=environment)
    children = []
    if kill_after is not None:
        while len(task.units()) < goal and process.poll() is None:
            time.sleep(0.005)
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    return process.wait(120), children


@linux
def test_a_driver_that_is_killed_goes_on_and_trains_nothing_again_that_was_reported(tmp_path):
    tmp_path.joinpath("kept").mkdir()
    for kill_after in (5, 9):
        code, children = drive(tmp_path, kill_after)
        assert code == -signal.SIGKILL
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive  # the kernel ends workers with their driver
        file = tmp_path / "kept" / "study.jsonl"
        reported = [json.loads(line) for line in file.read_text().splitlines() if '"report"' in line]
    code, _ = drive(tmp_path)
    assert code == 0
    study = Study.open(tmp_path / "kept")
    check_recorded(study.history, lambda: ASHA(Counted.space, max_units=9, max_trials=12), 0, 2)
    task = Counted(tmp_path)
    again = len(task.units()) - len(set(task.units()))
    assert again <= 2 * 2  # each kill may come between the end of a unit and its file, on both workers
    undisturbed = by_trial(tune(Counted(tmp_path / "o", trouble=False), random_search(12, 9), seed=0))
    for number, (_, _, units) in by_trial(study).items():
        assert units == undisturbed[number][2][: len(units)]
    assert reported and not left_behind(tmp_path / "kept" / "trials")


@pytest.mark.parametrize(
    "make", [lambda folder: Counted(folder, trouble=False), lambda folder: tools.module()]
)
def test_a_study_that_was_killed_just_after_its_end_leaves_no_trials(make, tmp_path):
    """What would have removed them did not run: the same command does, which finds the study done."""
    task, folder = make(tmp_path), tmp_path / "kept"
    scheduler = RandomSearch(task.space, max_units=1, max_trials=2)
    tune(task, scheduler, seed=0, study=folder)
    order_for(folder / "trials", 1)
    (folder / "trials" / "trial-00000.pt").write_bytes(b"")
    (folder / "trials" / messages.TOKEN).write_text("of the one that was killed")
    study = tune(task, scheduler, seed=0, study=folder)
    assert study.ended == "scheduler" and len(study.trials) == 2
    assert not (folder / "trials").exists()


def test_the_clock_is_the_walls_and_stands_still_while_nobody_drives(tmp_path):
    task = Counted(tmp_path, seconds=0.03, trouble=False)
    options = {"seed": 0, "study": tmp_path / "kept"}

    def stop(study, report):
        study.stop()

    begun = time.monotonic()
    first = tune(task, random_search(), engine=ProcessEngine(workers=2), callbacks=[stop], **options)
    took = time.monotonic() - begun
    end = first.reports[-1].finished
    assert 0.09 <= end <= took
    assert first.ended is None
    time.sleep(1.0)
    begun = time.monotonic()
    study = tune(task, random_search(), engine=ProcessEngine(workers=2), **options)
    took += time.monotonic() - begun
    assert study.ended == "scheduler" and study.reports[-1].finished <= took
    check_recorded(study.history, random_search, 0, 2)
    assert len(task.units()) - len(set(task.units())) <= 2


def test_a_budget_ends_it_in_the_middle_and_a_larger_one_goes_on(tmp_path):
    task = Counted(tmp_path, seconds=0.05, trouble=False)
    options = {"seed": 0, "study": tmp_path / "kept"}
    scheduler = RandomSearch(Counted.space, max_units=40, max_trials=2)
    begun = time.monotonic()
    short = tune(task, scheduler, budget=0.7, engine=ProcessEngine(workers=2), **options)
    assert short.ended == "budget" and time.monotonic() - begun < 60
    assert [report.outcome for report in short.reports] == ["truncated"] * 2
    for report in short.reports:
        assert report.finished == 0.7
        assert all(unit.time <= 0.7 for unit in report.units)
    counted = len(task.units())
    again = tune(task, scheduler, budget=1e6, engine=ProcessEngine(workers=2), **options)
    assert again.ended == "scheduler"
    assert [len(trial.units) for trial in again.trials] == [40, 40]
    assert len(task.units()) <= 80 + counted + 2  # files of trials go with the end of a study


def test_best_weights_are_those_of_the_serial_engine_also_minimised(tmp_path):
    for direction, make in (("maximize", Bowl), ("minimize", tools.Minimised)):
        task = make()
        scheduler = RandomSearch(task.space, max_units=3, max_trials=5)
        options = {"seed": 1, "direction": direction}
        real = tune(task, scheduler, engine=ProcessEngine(workers=2), study=tmp_path / direction, **options)
        serial = tune(task, scheduler, **options)
        assert real.best_value == serial.best_value and real.best_test == serial.best_test
        assert torch.equal(real.best_weights()["w"], serial.best_weights()["w"])
        assert len(list((tmp_path / direction / "best").iterdir())) == 1

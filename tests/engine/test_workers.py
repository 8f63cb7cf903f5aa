"""Real workers: killed, frozen, given up and refused; measured on; what they leave on disk."""

from __future__ import annotations

import errno
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from hypernudge import ASHA, RandomSearch, Study, tune
from hypernudge.engine.workers import attempts, messages
from hypernudge.engine.workers.messages import Finished, Measured, Setup, Train
from hypernudge.engine.workers.processes import ProcessEngine
from hypernudge.engine.workers.saved import Attempt, Progress
from hypernudge.engine.workers.worker import Worker, await_abandonment
from hypernudge.errors import InvalidArgumentError, NotSavedError
from hypernudge.random import Streams
from hypernudge.results.files import temporary_of
from hypernudge.space import Config
from hypernudge.trial import Job
from hypernudge.warmstart.policies.informed import Informed
from hypernudge.warmstart.policies.ohgw import OHGW
from hypernudge.warmstart.policies.placebo import Placebo
from tests.conftest import Bowl
from tests.engine.real import Counted, Everything, Unsayable
from tests.laws.recorded import by_trial, check_recorded
from tests.study import tools

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def random_search(trials=6, units=3):
    return RandomSearch(Counted.space, max_units=units, max_trials=trials)


def workers_of_this_process():
    return [psutil.Process(child.pid) for child in multiprocessing.active_children()]


def left_behind(folder):
    names = ("trial-", messages.TOKEN)
    return [p for p in folder.rglob("*") if temporary_of(p) or any(name in p.name for name in names)]


# What is on disk.


def test_trials_that_wait_are_files_and_gone_at_the_end(tmp_path):
    seen = []

    def look(study, report):
        seen.append({path.name for path in (tmp_path / "kept" / "trials").rglob("*") if path.is_file()})

    scheduler = ASHA(Counted.space, max_units=9, max_trials=9)
    engine = ProcessEngine(workers=2)
    task = Counted(tmp_path, trouble=False)
    study = tune(task, scheduler, seed=0, engine=engine, study=tmp_path / "kept", callbacks=[look])
    assert {"state.json", "progress.json"} <= seen[-2]
    assert sorted(p.name for p in (tmp_path / "kept").iterdir()) == ["best", "study.jsonl"]
    assert not workers_of_this_process()
    assert len(task.units()) == len(set(task.units())) == sum(len(trial.units) for trial in study.trials)


@pytest.mark.parametrize("make", [Everything, Bowl, tools.module])
def test_any_task_goes_on_from_files_on_whichever_worker(make, tmp_path):
    task = make()
    scheduler = ASHA(task.space, max_units=4, eta=2, max_trials=8)
    real = tune(task, scheduler, seed=5, engine=ProcessEngine(workers=3), study=tmp_path / "a", test="every")
    assert len({report.resources.worker for report in real.reports}) > 1
    again = tune(make(), RandomSearch(task.space, max_units=4, max_trials=8), seed=5, test="every")
    alone = by_trial(again)
    for number, (config, status, units) in by_trial(real).items():
        assert config == alone[number][0]
        assert units == alone[number][2][: len(units)], number
        assert status == alone[number][1] or status == "paused"
    weights = real.best_weights()
    assert weights and all(isinstance(value, torch.Tensor) for value in weights.values())
    assert not left_behind(tmp_path / "a" / "best") or real.kept is not None
    assert Study.open(tmp_path / "a").best_weights().keys() == weights.keys()


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


# Workers that are lost.


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


def worker_on(folder, task, **options):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / messages.TOKEN).write_text("token")
    return Worker(Setup(lambda: task, 9, str(folder), "token", **options), "me")


def test_what_a_state_needs_is_imported_before_a_worker_is_ready(tmp_path):
    """PyTorch takes seconds to import, and memory: that is no part of a trial."""
    code = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from hypernudge.engine.workers.messages import Setup, TOKEN\n"
        "from hypernudge.engine.workers.worker import Worker\n"
        "class Task:\n"
        "    def start(self, seed):\n"
        "        return {'matrix': np.zeros(3)}\n"
        "Path(sys.argv[1], TOKEN).write_text('token')\n"
        "assert 'torch' not in sys.modules\n"
        "Worker(Setup(Task, 9, sys.argv[1], 'token'), 'me')\n"
        "assert 'torch' in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True)


@pytest.mark.parametrize("how", ["another driver", "the end of the study"])
def test_a_worker_knows_that_nobody_wants_its_work(how, tmp_path):
    (tmp_path / messages.TOKEN).write_text("mine")
    waits = threading.Thread(
        target=await_abandonment, args=(Setup(Bowl, 9, str(tmp_path), "mine"), 0.01), daemon=True
    )
    waits.start()
    time.sleep(0.05)
    assert waits.is_alive()
    if how == "another driver":
        (tmp_path / messages.TOKEN).write_text("its")
    else:
        (tmp_path / messages.TOKEN).unlink()
    waits.join(60)
    assert not waits.is_alive()


def order_for(folder, trial=0, since=0, until=3, ticket=1):
    config = Config({"lr": 0.1, "shift": 0.5})
    attempt, place = attempts.begin_attempt(folder, trial)
    return Train(ticket, Job(trial, config, since, until), 77, str(place), attempt)


def test_who_comes_back_finds_no_place_to_write_and_says_nothing(tmp_path):
    """The fence itself, without luck: the second attempt begins while the first one trains."""
    folder = tmp_path / "trials"

    class Overtaken(Counted):
        def advance(self, state, hp):
            if state["unit"] == 1 and not late:
                late.append(order_for(folder, ticket=2))
            return super().advance(state, hp)

    late: list[Train] = []
    task = Overtaken(tmp_path, trouble=False)
    worker = worker_on(folder, task)
    first = order_for(folder)
    assert worker.carry_out(first) is None
    assert late[0].attempt == 2
    assert [path.name for path in (folder / "trial-00000").iterdir()] == ["attempt-2"]
    done = worker.carry_out(late[0])
    assert isinstance(done, Finished) and [row.unit for row in done.rows] == [1, 2, 3]
    assert [row.attempt for row in done.rows] == [1, 2, 2]  # what was done before is taken over


def test_a_job_that_was_done_and_not_reported_is_not_trained_again(tmp_path):
    folder, task = tmp_path / "trials", Counted(tmp_path, trouble=False)
    worker = worker_on(folder, task, keep_test=True)
    done = worker.carry_out(order_for(folder))
    again = worker.carry_out(order_for(folder, ticket=2))
    assert [(r.unit, r.validation) for r in again.rows] == [(r.unit, r.validation) for r in done.rows]
    assert again.best == done.best and again.best.test == again.best.score + 0.5
    assert len(task.units()) == 3
    following = worker.carry_out(order_for(folder, since=3, until=5, ticket=3))
    assert [row.unit for row in following.rows] == [4, 5] and len(task.units()) == 5


@pytest.mark.parametrize("lost", ["state.json", "progress.json", "both", "torn", "another's"])
def test_lost_or_damaged_files_cost_time_only(tmp_path, lost, caplog):
    folder, task = tmp_path / "trials", Counted(tmp_path, trouble=False)
    worker = worker_on(folder, task)
    order = order_for(folder)
    whole = worker.carry_out(order)
    place = Path(order.folder)
    if lost == "torn":
        (place / "state.json").write_text('{"format": 1, "un')
        (place / "progress.json").write_text('{"since": 0, "rows": [{"unit": 2}], "used": {}, "best": null}')
    elif lost == "another's":
        content = json.loads((place / "state.json").read_text())
        (place / "state.json").write_text(json.dumps({**content, "of": "another"}))
    else:
        for name in ("state.json", "progress.json"):
            if lost in (name, "both"):
                (place / name).unlink()
    again = worker.carry_out(order_for(folder, ticket=2, until=4))
    assert [r.validation for r in again.rows][:3] == [r.validation for r in whole.rows]
    assert len(again.rows) == 4
    assert ("trained again" in caplog.text) == (lost in ("torn", "another's"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_refuses_for_a_while_costs_no_training(number, tmp_path, monkeypatch):
    folder, task = tmp_path / "trials", Counted(tmp_path, trouble=False)
    honest, refused = Attempt._write, []

    def full(self, name, data, durable):
        if len(refused) < 3:
            refused.append(name)
            raise NotSavedError(number, os.strerror(number))
        honest(self, name, data, durable)

    monkeypatch.setattr(Attempt, "_write", full)
    done = worker_on(folder, task).carry_out(order_for(folder))
    assert done.outcome == "ok" and len(task.units()) == 3 and len(refused) == 3


def test_a_disk_that_stays_full_ends_the_study_and_fails_no_trial(tmp_path, monkeypatch):
    honest = Attempt._write

    def full(self, name, data, durable):
        if (tmp_path / "full").exists():
            raise NotSavedError(28, "No space left on device")
        honest(self, name, data, durable)

    monkeypatch.setattr(Attempt, "_write", full)
    monkeypatch.setattr(messages, "PATIENCE", 0.3)

    def fill(study, report):
        (tmp_path / "full").touch()

    task = Counted(tmp_path, trouble=False)
    options = {"seed": 0, "study": tmp_path / "kept"}
    with pytest.raises(OSError, match="No space left on device"):
        tune(task, random_search(), engine=ProcessEngine(workers=2), callbacks=[fill], **options)
    assert not workers_of_this_process()
    (tmp_path / "full").unlink()
    study = tune(task, random_search(), engine=ProcessEngine(workers=2), **options)
    assert all(trial.status == "paused" for trial in study.trials) and len(study.trials) == 6
    assert len(task.units()) - len(set(task.units())) <= 2  # what each worker had in memory


# The clock.


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


# Measurements.


class Pid(Bowl):
    """Says in which process its loss was asked for."""

    def __init__(self, folder):
        super().__init__()
        self.folder = Path(folder)

    def loss(self, params, batch, hp):
        if not isinstance(hp["lr"], float) or hp["lr"] != self.space.middle()["lr"]:
            (self.folder / f"{os.getpid()}").touch()
        return super().loss(params, batch, hp)


@linux
@pytest.mark.parametrize("warm_start", [Informed(), OHGW(eta_h=0.1), Placebo()])
def test_warm_starts_are_measured_on_workers_alone(warm_start, tmp_path):
    study = tune(
        Pid(tmp_path),
        RandomSearch(Bowl().space, max_units=1, max_trials=5),
        seed=0,
        engine=ProcessEngine(workers=2),
        warm_start=warm_start,
    )
    assert not (tmp_path / str(os.getpid())).exists()
    assert 1 <= len(list(tmp_path.iterdir())) <= 2
    first = study.trials[0].nudge
    assert first.flops > 0 and first.resources.worker
    assert first.wall_seconds >= first.resources.wall_seconds > 0


class Slow(Bowl):
    """Whoever measures takes long; whoever trains does not."""

    def __init__(self, folder, slow_trial):
        super().__init__()
        self.folder, self.slow_trial = Path(folder), slow_trial

    def init(self, seed):
        if seed == Streams(0).trial_seed(self.slow_trial):
            until(lambda: (self.folder / "go").exists())
        return super().init(seed)


class Together(Bowl):
    """The first trial's initialisation takes until the third one's was asked for."""

    def __init__(self, folder):
        super().__init__()
        self.folder = None if folder is None else Path(folder)

    def init(self, seed):
        numbers = {Streams(0).trial_seed(number): number for number in range(3)}
        if self.folder is not None and seed in numbers:
            (self.folder / str(numbers[seed])).touch()
            if numbers[seed] == 0:
                until(lambda: (self.folder / "2").exists())
        return super().init(seed)


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@linux
def test_reports_are_taken_in_while_a_worker_measures(tmp_path):
    """The measurement of the third trial takes until the reports of both others were heard."""
    task, reports = Slow(tmp_path, 2), []

    def heard(study, report):
        reports.append(report.job.trial)
        if len(reports) == 2:
            (tmp_path / "go").touch()

    scheduler = ASHA(task.space, max_units=9, max_trials=6)
    engine = ProcessEngine(workers=3)
    study = tune(task, scheduler, seed=0, engine=engine, warm_start=OHGW(), callbacks=[heard])
    assert sorted(reports[:2]) == [0, 1]
    check_recorded(study.history, lambda: scheduler, 0, 3)


@linux
def test_idle_workers_measure_for_the_trials_to_come(tmp_path):
    """Three are measured for at once: the first waits for the third."""
    task = Together(tmp_path)
    scheduler = RandomSearch(task.space, max_units=1, max_trials=3)
    study = tune(task, scheduler, seed=0, engine=ProcessEngine(workers=3), warm_start=OHGW())
    assert (tmp_path / "2").exists()
    assert {trial.nudge.kind for trial in study.trials} == {"moved"}
    serial = tune(Together(None), scheduler, seed=0, warm_start=OHGW())
    assert [t.config for t in study.trials] == [t.config for t in serial.trials]


class Refuses(Bowl):
    def loss(self, params, batch, hp):
        if not isinstance(hp["lr"], float):  # only a measurement differentiates
            raise ArithmeticError("not here")
        return super().loss(params, batch, hp)


def test_a_measurement_that_raises_leaves_its_trial_as_it_was_sampled():
    scheduler = RandomSearch(Bowl().space, max_units=1, max_trials=3)
    study, serial = (
        tune(Refuses(), scheduler, seed=0, engine=engine, warm_start=OHGW())
        for engine in (ProcessEngine(workers=1), None)
    )
    assert [t.nudge.reason for t in study.trials] == [t.nudge.reason for t in serial.trials]
    assert "the warm start raised ArithmeticError: not here" in study.trials[0].nudge.reason
    assert all(trial.status == "paused" for trial in study.trials)


# A driver that is killed.

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
    study = tune(task, scheduler, seed=0, study=folder)
    assert study.ended == "scheduler" and len(study.trials) == 2
    assert not (folder / "trials").exists()


# Bad input.


def test_two_drivers_on_one_folder(tmp_path):
    """The second one is refused and told who the first is, while that one's workers train."""
    said = []

    def second(study, report):
        if not said:
            with pytest.raises(InvalidArgumentError) as raised:
                tune(Counted(tmp_path), random_search(), engine=ProcessEngine(), **options)
            said.append(str(raised.value))

    options = {"seed": 0, "study": tmp_path / "kept"}
    tune(Counted(tmp_path), random_search(), engine=ProcessEngine(workers=2), callbacks=[second], **options)
    assert f"process {os.getpid()} on" in said[0] and "\n" not in said[0]


def test_a_state_that_no_file_can_hold_is_refused_before_it_costs_anything(tmp_path):
    task = Unsayable(tmp_path)
    with pytest.raises(InvalidArgumentError, match=r"task: its states must be .* state\['draws'\]") as raised:
        tune(task, random_search(), seed=0, engine=ProcessEngine(workers=2))
    assert "\n" not in str(raised.value)
    assert not task.units() and not workers_of_this_process()


class CannotBeBuilt(Counted):
    def __reduce__(self):
        return _fail, ()


def _fail():
    raise ImportError("no such data set here")


class CannotBeSent(Counted):
    def __init__(self, folder):
        super().__init__(folder)
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            CannotBeBuilt,
            "task: must be built on every worker, .* raises ImportError: no such data set here",
        ),
        (CannotBeSent, r"but pickling task\.lock, a lock, raises TypeError: cannot pickle '_thread\.lock'"),
    ],
)
def test_a_task_that_cannot_be_sent_or_built_is_said_once(kind, said, tmp_path):
    engine = ProcessEngine(workers=2, threads_per_trial=2)  # started afresh: nothing is inherited
    with pytest.raises(InvalidArgumentError, match=said) as raised:
        tune(kind(tmp_path), random_search(), seed=0, engine=engine)
    assert "\n" not in str(raised.value)
    if kind is CannotBeBuilt:
        assert "in _fail" in str(raised.value.__cause__)
    assert not workers_of_this_process()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 0}, "workers: must be a whole number >= 1"),
        ({"retries": -1}, "retries: must be a whole number >= 0"),
        ({"heartbeat_timeout": 0}, "heartbeat_timeout: must be"),
        ({"start_timeout": math.nan}, "start_timeout: must be"),
        ({"checkpoint_dir": ""}, "checkpoint_dir: must be the path of a folder"),
        ({"threads_per_trial": 0}, "threads_per_trial: must be"),
        ({"deadline": -1}, "deadline: must be positive"),
        ({"task": "digits"}, "task: must"),
    ],
)
def test_wrong_arguments(options, said):
    with pytest.raises(InvalidArgumentError, match=said):
        ProcessEngine(**options)


def test_arguments_that_do_not_fit_each_other(tmp_path):
    task, scheduler = Counted(tmp_path), random_search()
    with pytest.raises(InvalidArgumentError, match="flops_per_second: must be left out"):
        tune(task, scheduler, seed=0, engine=ProcessEngine(), flops_per_second=2e9)
    with pytest.raises(InvalidArgumentError, match="workers: must be given once"):
        tune(task, scheduler, seed=0, engine={"name": "processes", "workers": 2}, workers=3)
    used = ProcessEngine(workers=2)
    tune(task, scheduler, seed=0, engine=used)
    again = tune(task, scheduler, seed=0, engine=used)  # an engine without a task serves many studies
    assert len(again.trials) == 6
    tune(task, scheduler, seed=0, study=tmp_path / "kept")
    with pytest.raises(InvalidArgumentError, match="clock was 'absent', is 'wall'"):
        tune(task, scheduler, seed=0, study=tmp_path / "kept", engine=ProcessEngine())


def test_an_engine_by_name(tmp_path):
    task = Counted(tmp_path, trouble=False)
    study = tune(task, random_search(), seed=0, engine={"name": "processes", "workers": 3})
    assert len({report.resources.worker for report in study.reports}) > 1
    assert study.reports[0].resources.core_seconds >= 0


def test_a_folder_that_a_worker_does_not_see_is_said(tmp_path):
    with pytest.raises(InvalidArgumentError, match="checkpoint_dir: must be a folder that every worker sees"):
        Worker(Setup(lambda: None, 9, str(tmp_path), "no-such-token"), "me")


def test_what_is_measured_and_what_is_not_sendable(tmp_path):
    class OddError(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    def fails(task):
        raise OddError("one", "two")

    from hypernudge.engine.workers.messages import Measure

    worker = worker_on(tmp_path / "t", Counted(tmp_path))
    found = worker.carry_out(Measure(3, fails, ()))
    assert isinstance(found, Measured) and found.ticket == 3
    assert type(found.error) is RuntimeError and str(found.error) == "OddError: one"


def test_a_folder_for_trials_is_for_one_study_at_a_time_and_gone_with_it(tmp_path):
    said = []

    def second(study, report):
        if not said:
            with pytest.raises(InvalidArgumentError) as raised:
                tune(Counted(tmp_path), random_search(), seed=1, engine=ProcessEngine(checkpoint_dir=folder))
            said.append(str(raised.value))

    folder = tmp_path / "trials"
    engine = ProcessEngine(workers=2, checkpoint_dir=folder)
    tune(Counted(tmp_path, trouble=False), random_search(), seed=0, engine=engine, callbacks=[second])
    assert said[0].startswith("checkpoint_dir: must be used by one study at a time, but got")
    assert not folder.exists()


def test_files_that_trials_leave_are_removed_and_nothing_else(tmp_path):
    order_for(tmp_path, 3)
    (tmp_path / "trial-00003" / "attempt-1" / "state.json").write_text("{}")
    (tmp_path / "trial-00003" / "attempt-1" / ".state.json.abcdefgh").write_text("torn")
    number, place = attempts.begin_attempt(tmp_path, 3)
    assert number == 2 and [path.name for path in place.iterdir()] == ["state.json"]
    (tmp_path / "mine.txt").touch()
    attempts.remove_trials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_progress_survives_its_file(tmp_path):
    attempt = Attempt(tmp_path, "this")
    assert attempt.read_progress(2) == Progress(2)
    progress = attempt.read_progress(0)
    attempt.write_progress(progress, durable=True)
    assert attempt.read_progress(0) == progress
    assert Attempt(tmp_path, "that").read_progress(0) == Progress(0)

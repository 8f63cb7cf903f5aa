"""What real workers leave on disk, how they go on from it, and a disk that refuses."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from hypernudge import ASHA, RandomSearch, Study, tune
from hypernudge.engine.workers import attempts, messages
from hypernudge.engine.workers.messages import Finished, Setup, Train
from hypernudge.engine.workers.processes import ProcessEngine
from hypernudge.engine.workers.saved import Attempt, Progress
from hypernudge.engine.workers.worker import await_abandonment
from hypernudge.errors import NotSavedError
from hypernudge.results import files, pace
from hypernudge.study.store import Store
from hypernudge.trial import Report
from tests.conftest import Bowl
from tests.engine.real import Counted, Everything
from tests.engine.workers import (
    ROOT,
    left_behind,
    order_for,
    random_search,
    worker_on,
    workers_of_this_process,
)
from tests.laws.recorded import by_trial
from tests.study import tools


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


@pytest.mark.parametrize("make", [Counted, lambda folder: tools.module()])
def test_an_order_that_comes_late_trains_nothing(make, tmp_path):
    """It reached a worker that was stopped: others have taken the attempt, or the whole trial, to its end."""
    folder, trained = tmp_path / "trials", []
    task = make(tmp_path)
    honest = task.advance
    task.advance = lambda state, hp: trained.append(1) or honest(state, hp)
    worker, config = worker_on(folder, task), task.space.middle()
    late = order_for(folder, since=3, until=5, config=config)
    later = order_for(folder, since=3, until=5, ticket=2, config=config)
    assert worker.carry_out(late) is None and not trained
    attempts.remove_trial(folder, 0)
    assert worker.carry_out(later) is None and not trained
    assert [path.name for path in folder.iterdir()] == [messages.TOKEN]


@pytest.mark.parametrize("make", [Counted, lambda folder: tools.module()])
def test_who_is_given_up_while_it_trains_makes_its_folder_not_anew(make, tmp_path):
    folder, task = tmp_path / "trials", make(tmp_path)
    honest, trained = task.advance, []

    def advance(state, hp):
        trained.append(1)
        if len(trained) == 2:
            attempts.remove_trial(folder, 0)
        return honest(state, hp)

    task.advance = advance
    worker = worker_on(folder, task)
    assert worker.carry_out(order_for(folder, config=task.space.middle())) is None
    assert len(trained) == 2 and [path.name for path in folder.iterdir()] == [messages.TOKEN]


def test_what_waits_is_synced_as_often_as_the_time_allows(tmp_path, monkeypatch):
    """The first state is; after a sync that took a second, none for 400."""
    clock, synced = [0.0], []
    monkeypatch.setattr(pace.time, "perf_counter", lambda: clock[0])

    def sync(file):
        synced.append(clock[0])
        clock[0] += 1.0
        file.flush()

    monkeypatch.setattr(files, "_sync", sync)
    monkeypatch.setattr(files, "sync_directory", lambda path: None)
    folder = tmp_path / "trials"
    worker = worker_on(folder, Counted(tmp_path, trouble=False))
    for trial, now in enumerate((5.0, 7.0, 405.5, 406.5)):
        clock[0] = now
        assert worker.carry_out(order_for(folder, trial)).outcome == "ok"
    assert synced == [5.0, 406.5]


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
    attempt.write_progress(progress)
    assert attempt.read_progress(0) == progress
    assert Attempt(tmp_path, "that").read_progress(0) == Progress(0)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "make", [lambda folder: Counted(folder, trouble=False), lambda folder: tools.module()]
)
def test_a_trial_whose_last_report_could_not_be_written_is_not_trained_again(
    make, error, tmp_path, monkeypatch
):
    """It has ended, but nobody knows: its files stay."""
    task, trained, honest, raised = make(tmp_path), tmp_path / "trained.txt", Store.append, []
    advance = task.advance

    def counted(state, hp):
        with trained.open("a") as file:
            file.write("unit\n")
        return advance(state, hp)

    def append(self, event):
        if isinstance(event, Report) and not raised:
            raised.append(event)
            raise error
        honest(self, event)

    task.advance = counted
    monkeypatch.setattr(Store, "append", append)
    scheduler = RandomSearch(task.space, max_units=3, max_trials=2)
    options = {"seed": 0, "engine": "processes", "study": tmp_path / "kept", "progress": False}
    with pytest.raises(type(error)):
        tune(task, scheduler, **options)
    assert len(raised[0].units) == 3
    study = tune(task, scheduler, **options)
    assert study.ended == "scheduler"
    assert len(trained.read_text().splitlines()) == sum(len(trial.units) for trial in study.trials) == 6

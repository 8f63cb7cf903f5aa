"""Bad input of studies on real workers: one line, before any work."""

from __future__ import annotations

import math
import os

import pytest

from hypernudge import ASHA, tune
from hypernudge.engine.workers import messages
from hypernudge.engine.workers.messages import Setup
from hypernudge.engine.workers.processes import ProcessEngine
from hypernudge.engine.workers.worker import Worker
from hypernudge.errors import InvalidArgumentError
from tests.engine.real import CannotBeBuilt, CannotBeSent, Counted, Unsayable
from tests.engine.workers import (
    order_for,
    random_search,
    workers_of_this_process,
)


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


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            CannotBeBuilt,
            "task: must be built on every worker, .* raises ImportError: no such data set here",
        ),
        (
            CannotBeSent,
            r"pickling task\.parts\[1\]\['lock'\], a lock, raises TypeError: cannot pickle '_thread\.lock'",
        ),
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


@pytest.mark.parametrize("kept", [False, True])
def test_a_folder_for_trials_is_gone_with_a_study_that_is_done_and_stays_for_one_that_is_not(kept, tmp_path):
    folder = tmp_path / "trials"
    options = {"seed": 0, "study": tmp_path / "kept" if kept else None}
    scheduler = ASHA(Counted.space, max_units=9, max_trials=6)

    def go_on(*callbacks):
        engine, task = ProcessEngine(workers=2, checkpoint_dir=folder), Counted(tmp_path, trouble=False)
        return tune(task, scheduler, engine=engine, callbacks=callbacks, **options)

    go_on(lambda study, report: study.stop())
    assert any(path.name.startswith("trial-") for path in folder.iterdir())
    assert go_on().ended == "scheduler" and not folder.exists()
    order_for(folder)  # killed between its end and that
    (folder / messages.TOKEN).write_text("of the one that was killed")
    if kept:
        assert go_on().ended == "scheduler" and not folder.exists()


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

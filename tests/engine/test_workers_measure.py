"""What warm starts measure is measured on workers: nobody else waits for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hypernudge import ASHA, RandomSearch, tune
from hypernudge.engine.workers.messages import Measured
from hypernudge.engine.workers.processes import ProcessEngine
from hypernudge.random import Streams
from hypernudge.warmstart.policies.informed import Informed
from hypernudge.warmstart.policies.ohgw import OHGW
from hypernudge.warmstart.policies.placebo import Placebo
from tests.conftest import Bowl
from tests.engine.real import Counted
from tests.engine.workers import (
    linux,
    until,
    worker_on,
)
from tests.laws.recorded import check_recorded


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

"""Real workers: one decides as the serial engine does; with four, the laws of every scheduler hold."""

from __future__ import annotations

import dataclasses

import pytest

from hypernudge import ASHA, RandomSearch, tune
from hypernudge.engine.workers.processes import ProcessEngine
from hypernudge.registry import REGISTRY, resolve
from hypernudge.trial import Report, Started
from hypernudge.warmstart.policies.curvature_band import CurvatureBand
from hypernudge.warmstart.policies.informed import Informed
from hypernudge.warmstart.policies.ohgw import OHGW
from tests.conftest import Bowl
from tests.engine.real import Counted
from tests.laws.recorded import by_trial, check_recorded
from tests.laws.test_engines import OPTIONS


def course(study):
    """Return a study's events as text, without times and what was used."""
    found = []
    for event in study.history.events:
        if isinstance(event, Report):
            units = tuple(dataclasses.replace(unit, time=0.0) for unit in event.units)
            error = event.error and event.error.strip().splitlines()[-1]
            event = dataclasses.replace(
                event,
                started=0.0,
                finished=0.0,
                units=units,
                wall_seconds=0.0,
                error=error,
                resources=None,
            )
        elif isinstance(event, Started):
            nudge = dataclasses.replace(event.nudge, wall_seconds=0.0, resources=None)
            event = dataclasses.replace(event, nudge=nudge, time=0.0)
        found.append(repr(event))
    return found


@pytest.mark.parametrize("warm_start", [None, Informed(), CurvatureBand(), OHGW(eta_h=0.1)])
def test_one_real_worker_decides_as_the_serial_engine(warm_start):
    task = Bowl()
    scheduler = ASHA(task.space, max_units=4, eta=2, max_trials=8)
    options = {"seed": 3, "warm_start": warm_start, "test": "every"}
    real = tune(task, scheduler, engine=ProcessEngine(workers=1), **options)
    serial = tune(task, scheduler, **options)
    assert course(real) == course(serial)
    assert real.best_weights()["w"].tolist() == serial.best_weights()["w"].tolist()


def test_trials_that_raise_or_diverge_do_so_on_workers(tmp_path):
    scheduler = ASHA(Counted.space, max_units=4, eta=2, max_trials=30)
    real = tune(Counted(tmp_path), scheduler, seed=0, engine=ProcessEngine(workers=1), test="best")
    serial = tune(Counted(tmp_path), scheduler, seed=0, test="best")
    assert course(real) == course(serial)
    assert {trial.status for trial in real.trials} == {"paused", "failed", "diverged"}
    failed = next(trial for trial in real.trials if trial.status == "failed")
    assert "RuntimeError: out of luck" in failed.error and "in advance\n" in failed.error
    assert real.best_test == serial.best_test == real.best_value + 0.5


@pytest.mark.parametrize("name", REGISTRY["scheduler"])
def test_with_four_workers_the_laws_of_every_scheduler_hold(name, tmp_path):
    def make():
        return resolve("scheduler", name)(Counted.space, max_units=4, max_trials=9, **OPTIONS.get(name, {}))

    task = Counted(tmp_path, seconds=0.002)
    study = tune(task, make(), seed=1, engine=ProcessEngine(workers=4), study=tmp_path / "kept")
    check_recorded(study.history, make, 1, 4)
    assert len(task.units()) == len(set(task.units()))
    opened = type(study).open(tmp_path / "kept")
    assert repr(opened.history.events) == repr(study.history.events)
    check_recorded(opened.history, make, 1, 4)


def test_what_becomes_of_a_trial_depends_on_no_other(tmp_path):
    scheduler = RandomSearch(Counted.space, max_units=3, max_trials=12)
    found = [
        by_trial(tune(Counted(tmp_path), scheduler, seed=2, engine=engine, test="every"))
        for engine in (None, ProcessEngine(workers=1), ProcessEngine(workers=5))
    ]
    assert found[0] == found[1] == found[2]

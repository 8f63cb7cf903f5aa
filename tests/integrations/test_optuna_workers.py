"""A study that several processes and threads share, and that is killed."""

import subprocess
import sys
from functools import partial

import optuna
import pytest
import sqlalchemy
from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from hypernudge import CurvatureBand
from hypernudge.integrations.optuna import RECORD
from tests.integrations.helpers import (
    Tenfold,
    score,
)
from tests.integrations.optuna_study import SPACE, measurements, objective, study_with

optuna.logging.set_verbosity(optuna.logging.ERROR)


def table(study):
    return [
        (trial.number, trial.params, trial.user_attrs.get(RECORD, {}).get("sampled"))
        for trial in study.trials
    ]


@pytest.fixture
def hasty_sqlite():
    """SQLite that does not wait for the disk: two hundred commits a study take seconds elsewhere."""

    def listen(connection, _):
        connection.execute("PRAGMA synchronous = OFF")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", listen)
    yield
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", listen)


@pytest.mark.usefixtures("hasty_sqlite")
@pytest.mark.parametrize(
    ("sampler", "policy", "measured"),
    [
        (partial(TPESampler, n_startup_trials=4), CurvatureBand(batch_size=32), [0, 1, 2]),
        (NSGAIISampler, CurvatureBand(batch_size=32), [0, 1, 2]),
        (TPESampler, None, [0]),
    ],
)
def test_a_study_killed_on_sqlite_goes_on_as_if_nothing_had_happened(tmp_path, sampler, policy, measured):
    def killed(trial):
        if trial.number == 6:
            raise KeyboardInterrupt
        return objective(trial)

    whole = study_with(sampler, policy, f"sqlite:///{tmp_path}/whole.db", seed=3)
    whole.optimize(lambda trial: objective(trial) if trial.number != 6 else float("nan"), n_trials=10)
    storage = f"sqlite:///{tmp_path}/killed.db"
    with pytest.raises(KeyboardInterrupt):
        study_with(sampler, policy, storage, seed=3).optimize(killed, n_trials=10)
    again = study_with(sampler, policy, storage, seed=3)
    again.optimize(objective, n_trials=10 - len(again.trials))
    assert [t.number for t in again.trials if measurements(t)] == measured
    skip = [6]  # it failed in one study and never began in the other
    assert [row for row in table(again) if row[0] not in skip] == [
        row for row in table(whole) if row[0] not in skip
    ]


@pytest.mark.usefixtures("hasty_sqlite")
def test_two_workers_share_what_was_measured(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    studies = [study_with(RandomSampler, Tenfold(), storage, seed=0) for _ in range(2)]
    trials = [studies[i % 2].ask(SPACE) for i in range(6)]
    for study, trial in zip(studies * 3, trials, strict=True):
        study.tell(trial, score(trial.params))
    known = [trial.user_attrs[RECORD]["measurements"]["known"] for trial in studies[0].trials]
    assert known == [0, 1, 2, 3, 4, 5]


@pytest.mark.usefixtures("hasty_sqlite")
def test_a_worker_that_cannot_wait_for_the_others_measures_itself(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    study = study_with(RandomSampler, CurvatureBand(batch_size=32), storage, seed=1)
    others = optuna.load_study(study_name="s", storage=storage, sampler=RandomSampler(seed=0))
    begun = [others.ask() for _ in range(4)]  # elsewhere, and nobody knows their values yet
    assert [trial.number for trial in begun] == [0, 1, 2, 3]
    for _ in range(2):
        study.ask(SPACE)
    # What it measured is known to a worker that is started again.
    study_with(RandomSampler, CurvatureBand(batch_size=32), storage, seed=1).ask(SPACE)
    trials = study.trials[4:]
    assert [bool(measurements(trial)) for trial in trials] == [True, False, False]
    assert not any(trial.user_attrs[RECORD]["flagged"] for trial in trials)


WORKER = """
import os, sys
import torch
from optuna.samplers import RandomSampler
from hypernudge import CurvatureBand
from tests.integrations.optuna_study import SPACE, objective, study_with

torch.set_num_threads(1)
storage, die_in = sys.argv[1], int(sys.argv[2])

def run(trial):
    value = objective(trial)
    if len(finished) == die_in:
        os._exit(9)
    finished.append(value)
    return value

finished = []
study_with(RandomSampler, CurvatureBand(batch_size=32), storage, seed=1).optimize(run, n_trials=4)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("hasty_sqlite")
def test_of_parallel_workers_one_is_killed_and_started_again(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    study = study_with(RandomSampler, CurvatureBand(batch_size=32), storage, seed=1)

    def worker(die_in):
        return subprocess.Popen([sys.executable, "-W", "ignore", "-c", WORKER, storage, str(die_in)])

    workers = [worker(2), worker(-1)]
    assert [process.wait() for process in workers] == [9, 0]
    assert worker(-1).wait() == 0
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(11))
    states = [trial.state for trial in trials]
    assert states.count(TrialState.COMPLETE) == 10 and states.count(TrialState.RUNNING) == 1
    records = [trial.user_attrs[RECORD] for trial in trials]
    assert not any(record["flagged"] for record in records)
    assert all(trial.params == record["config"] for trial, record in zip(trials, records, strict=True))
    # The values of a trial depend on its number, not on the worker: those of one worker alone are the same.
    alone = study_with(RandomSampler, CurvatureBand(batch_size=32), seed=1)
    alone.optimize(objective, n_trials=11)
    assert [r["sampled"] for r in records] == [t.user_attrs[RECORD]["sampled"] for t in alone.trials]


def test_threads():
    study = study_with(TPESampler, CurvatureBand(batch_size=32))
    study.optimize(objective, n_trials=12, n_jobs=3)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 12
    assert all(trial.params == trial.user_attrs[RECORD]["config"] for trial in study.trials)

"""Boosted trees: a trial that was paused, killed or moved equals the one that never stopped, to the bit."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("xgboost", reason="extra tabular")
pytest.importorskip("pandas", reason="extra tabular")

import xgboost

from hypernudge import ASHA, PopulationEngine, tune
from hypernudge.study.store import TRIALS
from hypernudge.tasks.tabular.boosters import Boosters
from hypernudge.tasks.tabular.task import XGBoostTask
from tests.harness.tools import ROOT
from tests.study.test_going_on import Killed, killed_at
from tests.study.tools import plain
from tests.tasks.tabular.tools import CONFIG, SAMPLED

UNITS = 4
KINDS = {
    "no sampling": CONFIG,
    "rows": {**CONFIG, "subsample": 0.6},
    "columns": {**CONFIG, "colsample_bytree": 0.6},
    "both": SAMPLED,
}


def task_of(name="wine", **options):
    return XGBoostTask(name, rounds_per_unit=2, **options)


def trained(task, hp, units, seed=7):
    """Return a trial after some units, with all its predictions."""
    state = task.start(seed)
    return state, [after_a_unit(task, state, hp) for _ in range(units)]


def after_a_unit(task, state, hp):
    assert task.advance(state, hp)
    return task._boosters.predict(state, task._parts["validation"])


def equal(a, b):
    return len(a) == len(b) and all(map(np.array_equal, a, b))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_what_other_trials_do_in_between_changes_nothing(kind, name):
    task, hp = task_of(name), KINDS[kind]
    straight = trained(task, hp, UNITS)[1]
    state, other, found = task.start(7), task.start(8), []
    for unit in range(UNITS):
        for _ in range(unit):
            after_a_unit(task, other, SAMPLED)
        found.append(after_a_unit(task, state, hp))
    assert equal(found, straight)
    assert not equal(trained(task, SAMPLED, UNITS)[1], trained(task, SAMPLED, UNITS, seed=9)[1])


def test_without_sampling_it_is_what_xgboost_trains_in_one_go():
    task = task_of("breast_cancer")
    found = trained(task, CONFIG, UNITS)[1][-1]
    whole = xgboost.train(task.parameters(CONFIG), task._parts["train"], 2 * UNITS)
    assert np.array_equal(found, whole.predict(task._parts["validation"]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_killed_at_any_unit_goes_on_as_if_it_had_not_been(kind, tmp_path):
    hp = KINDS[kind]
    straight = trained(task_of(), hp, UNITS)[1]
    for killed in range(1, UNITS):
        folder = tmp_path / str(killed)
        before = task_of()
        with before.kept_in(folder):
            trained(before, hp, killed)
        task = task_of()  # as in a new process
        with task.kept_in(folder):
            assert equal(trained(task, hp, UNITS)[1], straight)
            state = task.start(7)
            for _ in range(killed):  # as the engine repeats what a paused trial had learned
                task.advance(state, hp)
            assert equal([after_a_unit(task, state, hp) for _ in range(killed, UNITS)], straight[killed:])


@pytest.mark.parametrize("kind", ["no sampling", "both"])
def test_a_damaged_file_costs_time_only(kind, tmp_path, caplog):
    task, hp = task_of(), KINDS[kind]
    with task.kept_in(tmp_path):
        straight = trained(task, hp, UNITS)[1]
        files = list(tmp_path.glob("trial-*.pt"))
        assert bool(files) == (kind == "no sampling")  # with sampling a file could not be gone on from
        for path in files:
            path.write_bytes(b"damaged")
    again = task_of()
    with again.kept_in(tmp_path):
        assert equal(trained(again, hp, UNITS)[1], straight)
    assert ("cannot be read" in caplog.text) == (kind == "no sampling")


@pytest.mark.parametrize("kind", ["no sampling", "both"])
def test_few_live_boosters_give_the_bits_of_many(kind):
    task, hp = task_of(resident=1), KINDS[kind]
    states = [task.start(seed) for seed in range(3)]
    found = {i: [] for i in range(3)}
    for _ in range(3):
        for i, state in enumerate(states):
            found[i].append(after_a_unit(task, state, hp))
    assert sum(state.booster is not None for state in states) == 1
    for i in range(3):
        assert equal(found[i], trained(task_of(), hp, 3, seed=i)[1])


@pytest.mark.parametrize("engine", ["serial", "population"])
def test_a_study_killed_at_any_event_is_the_undisturbed_one(engine, tmp_path):
    def study(task, **options):
        rule = ASHA(task.space, max_units=9, max_trials=8)
        return tune(task, rule, seed=1, workers=3, engine=engine, test="every", **options)

    space = {"eta": {"low": 0.01, "high": 1.0, "log": True}, "subsample": {"choices": [0.6, 1.0]}}
    task = task_of(space=space, fixed={"max_depth": 3})  # half of the trials draw rows
    whole = study(task)
    for number in range(2, len(whole.history.events), 11):
        folder = tmp_path / str(number)
        with pytest.raises(Killed):
            study(task, study=folder, callback=killed_at(number))
        again = study(task, study=folder)
        assert plain(again.history.events) == plain(whole.history.events)
        assert not (folder / TRIALS).exists()
        trees = [task.booster(found.best_weights()).save_raw("json") for found in (again, whole)]
        assert trees[0] == trees[1]


def test_equal_seeds_give_equal_studies_under_every_engine():
    found = []
    for engine in ("serial", "population", PopulationEngine()):
        task = task_of("breast_cancer")
        rule = ASHA(task.space, max_units=3, max_trials=6)
        found.append(plain(tune(task, rule, seed=3, workers=2, engine=engine).history.events))
    assert found[0] == found[1] == found[2]


def test_what_lies_on_disk_is_not_trained_again(tmp_path, monkeypatch):
    task = task_of()
    with task.kept_in(tmp_path):
        trained(task, CONFIG, UNITS)
    again, loaded = task_of(), []
    fresh = Boosters._fresh
    monkeypatch.setattr(Boosters, "_fresh", lambda self, state: loaded.append(state) or fresh(self, state))
    with again.kept_in(tmp_path):
        trained(again, CONFIG, UNITS)
    assert loaded == []


MANY = """
import sys
import numpy as np
from hypernudge import ASHA, tune
from hypernudge.tasks.tabular.task import XGBoostTask
from tests.memory import peak_kilobytes

task = XGBoostTask({"table": sys.argv[1], "header": False})
study = tune(task, ASHA(task.space, max_units=9), seed=0, max_trials=64, workers=4, keep_weights=False)
assert len(study.history.trials) == 64
print(peak_kilobytes())
"""


@pytest.mark.slow
def test_64_trials_on_a_table_of_50_000_rows_stay_under_2_gib(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50_000, 20))
    y = x[:, 0] * x[:, 1] + x[:, 2] + rng.normal(size=len(x)) > 0
    np.savetxt(tmp_path / "many.csv", np.c_[x, y], fmt="%.5g", delimiter=",")
    command = [sys.executable, "-c", MANY, str(tmp_path / "many.csv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 * 2**20

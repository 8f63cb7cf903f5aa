"""Games: a trial that was paused, killed or moved equals the one that never stopped, to the bit."""

import pytest

pytest.importorskip("stable_baselines3", reason="extra rl")
pytest.importorskip("gymnasium", reason="extra rl")

from hypernudge import ASHA, RandomSearch, tune
from hypernudge.study.store import TRIALS
from hypernudge.tasks.games.task import PPOTask
from hypernudge.trial import Report
from tests.study.test_going_on import Killed, killed_at
from tests.study.tools import plain
from tests.tasks.games.tools import after_a_unit, config, control, equal, pong, trained

UNITS = 3
TASKS = {
    "one game": lambda **options: control(environments=1, length=64, unit_steps=64, **options),
    "several": control,
    "acrobot": lambda **options: control("acrobot", **options),
    "schedule": lambda **options: control(schedule="linear", units=9, **options),
    "pong": pong,
    "sticky pong, one": lambda **options: pong(environments=1, sticky=0.25, **options),
}


@pytest.fixture(params=TASKS)
def make(request):
    if "pong" in request.param:
        pytest.importorskip("ale_py", reason="extra rl")
    return TASKS[request.param]


def test_a_trial_killed_at_any_unit_goes_on_as_if_it_had_not_been(make, tmp_path):
    task = make()
    hp = config(task)
    state, straight = trained(task, hp, UNITS)
    score = task.evaluate(state, "validation")
    for killed in range(1, UNITS):
        folder = tmp_path / str(killed)
        before = make()
        with before.kept_in(folder):
            trained(before, hp, killed)
        task = make()  # as in a new process
        with task.kept_in(folder):
            state = task.start(7)
            for _ in range(killed):  # as the engine repeats what a paused trial had learned
                assert task.advance(state, hp)
            assert state.training is None  # and it was not trained again
            assert equal([after_a_unit(task, state, hp) for _ in range(killed, UNITS)], straight[killed:])
            assert task.evaluate(state, "validation") == score


@pytest.mark.parametrize("make", ["several", "pong"], indirect=True)
def test_what_other_trials_do_in_between_changes_nothing(make):
    hp, straight = config(make()), trained(make(), config(make()), 2)[1]
    task = make(resident=1)  # so that each leaves memory for the other
    state, other, found = task.start(7), task.start(8), []
    for _ in range(2):
        found.append(after_a_unit(task, state, hp))
        task.evaluate(state, "validation")
        after_a_unit(task, other, hp)
        task.batch(9, 0)
    assert equal(found, straight)
    assert not equal(trained(make(), hp, 2, seed=9)[1], straight)


def test_threads_of_the_games_change_nothing():
    pytest.importorskip("ale_py", reason="extra rl")
    one, two = pong(), pong(threads=2)
    assert equal(trained(one, config(one), 2)[1], trained(two, config(two), 2)[1])


def test_a_damaged_file_costs_time_only(tmp_path, caplog):
    task = control()
    hp = config(task)
    straight = trained(control(), hp, 3)[1]
    with task.kept_in(tmp_path):
        trained(task, hp, 2)
    (path,) = tmp_path.glob("trial-*.pt")
    path.write_bytes(b"damaged")
    again = control()
    with again.kept_in(tmp_path):
        assert equal(trained(again, hp, 3)[1], straight)
    assert "cannot be read" in caplog.text


def test_a_game_that_does_not_repeat_itself_is_found_out(tmp_path, caplog, monkeypatch):
    task = control()
    hp = config(task)
    with task.kept_in(tmp_path):
        trained(task, hp, 2)
    from hypernudge.tasks.games import training

    known = training._digest
    monkeypatch.setattr(training, "_digest", lambda seen: known(seen) + "other")
    again = control()
    with again.kept_in(tmp_path):
        found = trained(again, hp, 3)[1]
    assert "did not repeat itself" in caplog.text
    assert equal(found[2:], trained(control(), hp, 3)[1][2:])  # trained again, from its beginning


@pytest.mark.parametrize("engine", ["serial", "population"])
def test_a_study_killed_at_any_event_is_the_undisturbed_one(engine, tmp_path):
    def study(**options):
        task = control()
        rule = ASHA(task.space, max_units=3, max_trials=3)
        return tune(task, rule, seed=1, workers=2, engine=engine, test="every", **options)

    whole = study()
    with pytest.raises(Killed):
        study(study=tmp_path / "study", callback=killed_at(len(whole.history.events) // 2))
    again = study(study=tmp_path / "study")
    assert plain(again.history.events) == plain(whole.history.events)
    assert not (tmp_path / "study" / TRIALS).exists()
    assert equal([again.best_weights()], [whole.best_weights()])


def test_the_global_generators_are_left_alone():
    import numpy as np
    import torch

    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = torch.rand(1), np.random.rand()  # noqa: NPY002
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    task: PPOTask = control()
    state, _ = trained(task, config(task), 1)
    task.evaluate(state, "validation")
    task.batch(3, 0)
    assert (torch.rand(1), np.random.rand()) == expected  # noqa: NPY002


def test_workers_in_processes_train_what_one_loop_trains():
    def scores(engine):
        task = control()
        rule = RandomSearch(task.space, max_units=2, max_trials=3)
        found = tune(task, rule, seed=2, workers=2, engine=engine, test="every")
        reports = [event for event in found.history.events if isinstance(event, Report)]
        assert all(report.outcome == "ok" for report in reports), [report.error for report in reports]
        return {report.job.trial: [(u.validation, u.test) for u in report.units] for report in reports}

    assert scores("processes") == scores("serial")

"""What tools leave when runs pause or are taken up again: in order, by a clock that never falls."""

import math
import sqlite3

import numpy as np
import pytest

from tests.evidence.importing import imported, refused
from tests.evidence.tool_outputs import (
    mlflow_files,
    optuna_study,
    ray_trial,
    syne_experiment,
    wandb_history,
)

TRUE = [10.0, 20.0, 40.0, 60.0]


# Timestamp, time_total_s, time_since_restore of four lines; begun at 1000, paused from 1020 to 1030.
RESUMED = {
    "from its checkpoint": [(1010, 10, 10), (1020, 20, 20), (1040, 30, 10), (1060, 50, 30)],
    "from the beginning": [(1010, 10, 10), (1020, 20, 20), (1040, 10, 10), (1060, 30, 30)],
    "at once": [(1010, 10, 10), (1020, 20, 20), (1040, 20, 20), (1060, 40, 40)],
    "from another's checkpoint": [(1010, 10, 10), (1020, 20, 20), (1040, 510, 10), (1060, 530, 30)],
    "with a clock that counts work alone": [(1010, 10, 10), (1020, 20, 20), (1040, 25, 25), (1060, 26, 26)],
}


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("case", RESUMED)
def test_ray_trials_that_paused_keep_their_times(tmp_path, case, full):
    folder = tmp_path / "mnist-pbt-0" / "t"
    lines = [(at, total, *([since] if full else [])) for at, total, since in RESUMED[case]]
    ray_trial(folder, lines)
    frame, _ = imported("ray-tune", tmp_path, tmp_path)
    np.testing.assert_allclose(frame["time"], TRUE, atol=1e-5)


@pytest.mark.parametrize("seed", range(40))
def test_ray_times_are_those_of_the_simulated_truth(tmp_path, seed):
    """Random trials that pause and restart: never before the experiment, never backwards, within 2 s."""
    rng = np.random.default_rng(seed)
    start, truth = 1_700_000_000 + rng.uniform(), []
    for trial in range(3):
        now = start + trial * rng.uniform(0, 50)
        session, total, lines = now, 0.0, []
        for _ in range(rng.integers(1, 12)):
            now += rng.exponential(5.0)
            total += now - session if not lines or session > lines[-1][3] else now - lines[-1][3]
            lines.append((math.floor(now), total, now - session, now))
            truth.append(now - start)
            if rng.uniform() < 0.3:
                now += rng.exponential(30.0)
                session, total = now, rng.choice([0.0, total, 1000.0])
        ray_trial(tmp_path / "mnist-pbt-0" / f"t{trial}", [line[: 2 + seed % 2] for line in lines])
    frame, _ = imported("ray-tune", tmp_path, tmp_path)
    times = frame["time"].to_numpy()
    assert (times >= 0).all()
    assert (np.diff(times) >= 0).all()
    for _, own in frame.groupby("trial"):
        assert own["time"].is_monotonic_increasing
    np.testing.assert_allclose(times, np.sort(truth), atol=2.0)


def test_a_ray_clock_that_was_set_back_is_refused(tmp_path):
    ray_trial(tmp_path / "mnist-pbt-0" / "t", [(5000, 10), (1400, 20)])
    error = refused("ray-tune", tmp_path, tmp_path)
    assert "timestamps must not go backwards, as at line 2" in error
    frame, _ = imported("ray-tune", tmp_path, tmp_path, clock="count")
    assert frame["time"].tolist() == [1, 2]


def test_a_long_pause_of_everything_is_said(tmp_path):
    ray_trial(tmp_path / "mnist-pbt-0" / "t", [(1010, 10, 10), (9010, 20, 10)])
    frame, summary = imported("ray-tune", tmp_path, tmp_path)
    assert "no trial ran for 7990 of its 8010 s" in summary
    assert frame["time"].tolist() == [10, 8010]


def test_syne_tune_taken_up_again_goes_on_by_the_workers_clock(tmp_path):
    stamped = {"st_worker_timestamp": [110.0, 120.0, 140.0, 160.0], "st_tuner_time": [10.0, 20.0, 5.0, 25.0]}
    syne_experiment(tmp_path / "a", seed=0, loss=[4, 3, 2, 1], trial_id=[0, 1, 2, 3], **stamped)
    frame, summary = imported("syne-tune", tmp_path / "a", tmp_path)
    assert frame["time"].tolist() == TRUE
    assert "taken up again 1 times" in summary
    bare = {"st_tuner_time": [10.0, 20.0, 5.0, 25.0]}
    syne_experiment(tmp_path / "b", seed=0, loss=[4, 3, 2, 1], trial_id=[0, 0, 0, 1], **bare)
    assert "st_tuner_time must not go backwards" in refused("syne-tune", tmp_path / "b", tmp_path)
    frame, _ = imported("syne-tune", tmp_path / "b", tmp_path, clock="count")
    assert frame["time"].tolist() == [1, 2, 3, 4]
    # The simulator hands results over trial by trial: out of order, and right.
    syne_experiment(tmp_path / "c", seed=0, loss=[4, 3, 2, 1], trial_id=[0, 0, 1, 1], **bare)
    frame, _ = imported("syne-tune", tmp_path / "c", tmp_path)
    assert frame["time"].tolist() == [5, 10, 20, 25]


def test_wandb_taken_up_again_goes_on_by_the_timestamp_or_is_refused(tmp_path):
    path = tmp_path / "digits-adam-0.csv"
    history = {"_step": [0, 1, 2, 3], "_runtime": [10.0, 20.0, 10.0, 30.0], "acc": [0.1, 0.2, 0.3, 0.4]}
    wandb_history(path, **history)
    assert "_runtime must not go backwards, as at score 3" in refused("wandb", path, tmp_path)
    frame, _ = imported("wandb", path, tmp_path, clock="count")
    assert frame["time"].tolist() == [1, 2, 3, 4]
    for stamps in (
        [1010, 1020, 1040, 1060],
        [f"2024-01-01T10:00:{s:02d}" for s in (10, 20, 40)] + ["2024-01-01T10:01:00"],
    ):
        wandb_history(path, **history, _timestamp=stamps)
        frame, summary = imported("wandb", path, tmp_path)
        assert frame["time"].tolist() == TRUE
        assert "taken up again" in summary
    wandb_history(
        path, _step=[0, 1], _timestamp=["2024-01-01T10:00:00+00:00", "2024-01-01 10:00:30Z"], acc=[1, 2]
    )
    assert imported("wandb", path, tmp_path)[0]["time"].tolist() == [0, 30]
    wandb_history(path, _step=[0, 1], flops=[100, 50], acc=[1, 2])
    assert "flops must not go backwards" in refused("wandb", path, tmp_path, clock="flops", metric="acc")
    wandb_history(path, _step=[0, 1], flops=[-100, 50], acc=[1, 2])
    assert "flops must not be negative" in refused("wandb", path, tmp_path, clock="flops", metric="acc")


def test_mlflow_clocks_that_fall_are_refused_and_steps_that_come_again_are_a_restart(tmp_path):
    back = mlflow_files(tmp_path / "back", [("digits-adam-0", {}, "2000 .1 0\n9000 .2 1\n3000 .3 2\n")])
    assert "timestamps must grow with the steps" in refused("mlflow", back, tmp_path)
    frame, _ = imported("mlflow", back, tmp_path, clock="count")
    assert len(frame) == 3
    again = mlflow_files(
        tmp_path / "again",
        [("digits-adam-0", {}, "2000 .1 0\n3000 .2 1\n5000 .15 0\n6000 .3 1\n")],
        time="2000 1 0\n3000 2 1\n5000 4 0\n6000 5 1\n",
    )
    frame, _ = imported("mlflow", again, tmp_path, metric="loss")
    assert frame["time"].tolist() == [1, 2, 4, 5]
    frame, _ = imported("mlflow", again, tmp_path, metric="loss", clock="time")
    assert frame["time"].tolist() == [1, 2, 4, 5]
    reset = mlflow_files(
        tmp_path / "reset",
        [("digits-adam-0", {}, "2000 .1 0\n3000 .2 1\n")],
        time="2000 8 0\n3000 2 1\n",
    )
    assert "--time time must not go backwards" in refused(
        "mlflow", reset, tmp_path, metric="loss", clock="time"
    )
    old = mlflow_files(tmp_path / "old", [("digits-adam-0", {}, "1000 .1 0\n")], start=500_000)
    assert "must not be older than the run" in refused("mlflow", old, tmp_path)


def test_an_optuna_trial_that_ends_before_it_begins_is_refused(tmp_path):
    path = tmp_path / "s.db"
    optuna_study(f"sqlite:///{path}", "a-b-0", [0.5, 0.4])
    with sqlite3.connect(path) as store:
        store.execute("UPDATE trials SET datetime_complete = '2001-01-01 00:00:00.000000' WHERE number = 1")
    store.close()
    assert "trial 1 of study 'a-b-0' must not end before it begins" in refused("optuna", path, tmp_path)
    frame, _ = imported("optuna", path, tmp_path, clock="count")
    assert frame["time"].tolist() == [1, 2]

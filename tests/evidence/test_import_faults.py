"""What tools leave when runs share a name, are taken up again, or diverge: kept apart, in order, and in."""

import json
import math
import sqlite3

import numpy as np
import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.importers import import_results
from hypernudge.evidence.importers.naming import Naming
from tests.evidence.tool_outputs import (
    mlflow_files,
    mlflow_sqlite,
    optuna_study,
    ray_trial,
    syne_experiment,
    wandb_history,
)


def imported(tool, source, tmp_path, **options):
    output = tmp_path / f"out-{len(list(tmp_path.glob('out-*')))}.jsonl"
    summary = import_results(tool, str(source), output, **options)
    return pd.read_json(output, lines=True, precise_float=True), summary


def refused(tool, source, tmp_path, **options):
    with pytest.raises(InvalidArgumentError) as caught:
        import_results(tool, str(source), tmp_path / "refused.csv", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "refused.csv").exists()
    return str(caught.value)


# --- Runs of one name ---


def eight_in_a_panel(path, name="digits-adam", metric="acc"):
    columns = [
        "Step",
        *(column for _ in range(8) for column in (f"{name} - {metric}", f"{name} - {metric}__MIN")),
    ]
    rows = [[step, *(value for seed in range(8) for value in (seed + step / 10, 0))] for step in (1, 2)]
    path.write_text("\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n")
    return path


@pytest.mark.parametrize("metric", [None, "acc"])
def test_eight_panel_columns_of_one_name_are_eight_seeds_or_refused(tmp_path, metric):
    panel = eight_in_a_panel(tmp_path / "panel.csv")
    assert "{seed}" in refused("wandb", panel, tmp_path, metric=metric)
    frame, summary = imported("wandb", panel, tmp_path, metric=metric, naming=Naming("{task}-{variation}"))
    assert frame.groupby("seed")["score"].apply(list).tolist() == [[s + 0.1, s + 0.2] for s in range(8)]
    assert "8 runs of digits, adam say no seed and are given seeds 0 to 7" in summary
    named = eight_in_a_panel(tmp_path / "named.csv", "digits-adam-0")
    error = refused("wandb", named, tmp_path, metric=metric)
    assert "8 are digits, adam, seed 0" in error
    assert "column 2 of" in error


def eight_histories(**columns):
    return pd.concat(
        [
            pd.DataFrame(
                {"name": "digits-adam", "_step": [0, 1], "_runtime": [1.0, 2.0], "acc": [0.1, seed]}
            ).assign(**{name: values[seed] for name, values in columns.items()})
            for seed in range(8)
        ]
    )


def test_histories_of_one_name_are_told_apart_by_seed_id_or_step(tmp_path):
    template = Naming("{task}-{variation}")
    for number, columns in enumerate(({"seed": range(10, 18)}, {"id": list("abcdefgh")}, {})):
        path = tmp_path / f"{number}.csv"
        eight_histories(**columns).to_csv(path, index=False)
        frame, _ = imported("wandb", path, tmp_path, metric="acc", naming=template)
        assert frame["seed"].nunique() == 8, columns
        assert frame["score"].tolist() == [value for seed in range(8) for value in (0.1, seed)]
    # Sorted by step, nothing tells them apart any more.
    path = tmp_path / "mixed.csv"
    eight_histories().sort_values("_step", kind="stable").to_csv(path, index=False)
    assert "'digits-adam' must be there once" in refused(
        "wandb", path, tmp_path, naming=template, metric="acc"
    )
    # Without steps it may be one run that was taken up again.
    path = tmp_path / "bare.csv"
    eight_histories().drop(columns="_step").to_csv(path, index=False)
    error = refused("wandb", path, tmp_path, naming=template, metric="acc")
    assert "_runtime must not go backwards" in error
    assert "several have one name" in error


def test_a_metric_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "digits-adam-0.csv"
    path.write_text("_step,_runtime,acc,acc\n0,1,.1,.2\n")
    assert "column acc: must be there once" in refused("wandb", path, tmp_path)


def test_mlflow_runs_of_one_name_are_refused_or_numbered_or_said_to_be_trials(tmp_path):
    named = mlflow_files(tmp_path / "named", [("digits-adam-0", {}, "1000 .5 0\n")] * 3)
    error = refused("mlflow", named, tmp_path)
    assert "3 are digits, adam, seed 0" in error
    assert "'digits-adam-0' (run2)" in error
    bare = mlflow_files(tmp_path / "bare", [("digits-adam", {}, "1000 .5 0\n")] * 3)
    frame, summary = imported("mlflow", bare, tmp_path, naming=Naming("{task}-{variation}"))
    assert frame["seed"].tolist() == [0, 1, 2]
    assert "given seeds 0 to 2" in summary
    cell = {"task": "digits", "variation": "adam", "seed": "4"}
    said = mlflow_files(tmp_path / "said", [(f"trial {k}", cell, "1000 .5 0\n") for k in range(3)])
    frame, summary = imported("mlflow", said, tmp_path)
    assert frame["seed"].tolist() == [4] * 3
    assert "1 cells have several runs each, taken as trials" in summary
    assert "trial 0, trial 1, trial 2" in summary


def test_whole_tuning_runs_of_one_cell_are_refused(tmp_path):
    for place in ("a", "b"):
        ray_trial(tmp_path / "ray" / place / "mnist-pbt-0" / "t", [(10, 1.0)])
        syne_experiment(tmp_path / "syne" / place, seed=3)
    error = refused("ray-tune", tmp_path / "ray", tmp_path)
    assert "2 are mnist, pbt, seed 0" in error
    assert "a/mnist-pbt-0" in error
    assert "b/mnist-pbt-0" in error
    assert "2 are nas201, ASHA, seed 3" in refused("syne-tune", tmp_path / "syne", tmp_path)


def test_optuna_studies_of_one_cell_are_refused(tmp_path):
    store = f"sqlite:///{tmp_path / 's.db'}"
    for name in ("first", "second"):
        optuna_study(store, name, [0.5], attributes={"task": "t", "variation": "v", "seed": 1})
    error = refused("optuna", store, tmp_path)
    assert "2 are t, v, seed 1: " in error or "'first', 'second'" in error
    assert "'first', 'second'" in error


def test_ray_trials_of_one_identifier_stay_apart(tmp_path):
    for name in ("t_a", "t_b"):
        ray_trial(tmp_path / "mnist-pbt-0" / name, [(10, 1.0)], trial_id="same")
    frame, _ = imported("ray-tune", tmp_path, tmp_path)
    assert sorted(frame["trial"]) == ["t_a", "t_b"]


def test_an_unpacked_copy_beside_the_archive_is_one_experiment(tmp_path):
    folder = syne_experiment(tmp_path / "syne", seed=0)
    (folder / "results.csv").write_text(
        (folder / "results.csv").read_text() if (folder / "results.csv").exists() else "x\n1\n"
    )
    frame, _ = imported("syne-tune", tmp_path / "syne", tmp_path)
    assert len(frame) == 3


def test_seeds_for_some_runs_only_are_refused(tmp_path):
    some = mlflow_files(
        tmp_path / "some", [("digits-adam", {"seed": "0"}, "1000 .5 0\n"), ("digits-adam", {}, "1000 .5 0\n")]
    )
    assert "all runs of digits, adam" in refused(
        "mlflow", some, tmp_path, naming=Naming("{task}-{variation}")
    )


# --- Clocks that begin again ---

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


# --- Runs without a score ---


def misses(frame):
    finite = frame.assign(finite=np.isfinite(frame["score"].astype(float))).groupby("seed")["finite"].any()
    return finite.index[~finite].tolist()


def test_an_optuna_study_without_a_score_is_a_miss_and_one_never_begun_is_missing(tmp_path):
    store = f"sqlite:///{tmp_path / 's.db'}"
    optuna_study(store, "a-b-0", [0.5, 0.4])
    optuna_study(store, "a-b-1", [math.nan, None, math.nan])
    optuna_study(store, "a-b-2", ["pruned"])
    optuna_study(store, "a-b-3", [])
    optuna_study(store, "a-b-4", ["running"])
    frame, summary = imported("optuna", store, tmp_path)
    assert sorted(frame["seed"].unique()) == [0, 1, 2]
    assert misses(frame) == [1, 2]
    assert (frame["time"] >= 0).all()
    assert "2 cells have no finite score and stay, as misses: a b 1, a b 2" in summary
    assert "2 runs left out, for none of their trials has ended: a-b-3, a-b-4" in summary
    assert misses(imported("optuna", store, tmp_path, clock="count")[0]) == [1, 2]


def test_ray_experiments_without_a_score_are_misses(tmp_path):
    root = tmp_path / "ray"
    ray_trial(root / "m-p-0" / "t", [(1010, 10), (1020, 20)])
    ray_trial(root / "m-p-1" / "t", [(1010, 10), (1020, 20)], loss=math.nan)
    ray_trial(root / "m-p-2" / "t", [(1010, 10)], loss="null")  # as Ray writes NaN of float32
    ray_trial(root / "m-p-3" / "t", [(1030, 30)], loss=None)
    for seed in (4, 5):
        ray_trial(root / f"m-p-{seed}" / "t", [])
    (root / "m-p-4" / "t" / "error.txt").write_text("CUDA out of memory")
    only_error = root / "m-p-6" / "t"
    only_error.mkdir(parents=True)
    (only_error / "error.txt").write_text("CUDA out of memory")
    (only_error / "params.json").write_text("{}")
    frame, summary = imported("ray-tune", root, tmp_path, metric="loss")
    assert misses(frame) == [1, 2, 3, 4, 6]
    assert frame[frame["seed"] == 3]["time"].tolist() == [30]
    assert "1 runs left out" in summary
    assert "m-p-5" in summary


def test_syne_tune_experiments_without_a_score_are_misses(tmp_path):
    root = tmp_path / "syne"
    syne_experiment(root, seed=0)
    syne_experiment(root, seed=1, loss=["nan", "", "inf"])
    empty = syne_experiment(root, seed=2)
    (empty / "results.csv.zip").unlink()
    (empty / "results.csv").write_text("\n")  # how pandas writes a table that has no rows
    never = syne_experiment(root, seed=3)
    (never / "results.csv.zip").unlink()
    frame, summary = imported("syne-tune", root, tmp_path)
    assert misses(frame) == [1, 2]
    assert f"1 runs left out, for they have metadata but no results: {never.name}" in summary


def test_mlflow_runs_without_a_score_are_misses_if_they_failed(tmp_path):
    nan = "2000 nan 0\n4000 NaN 1\n"
    runs = [(f"d-s-{seed}", {}, text) for seed, text in enumerate(["2000 .5 0\n", nan, None, None, None])]
    store = mlflow_files(tmp_path / "runs", runs, status=[3, 3, 4, 5, 3])
    frame, summary = imported("mlflow", store, tmp_path, metric="loss")
    assert misses(frame) == [1, 2]
    assert frame[frame["seed"] == 2]["time"].tolist() == [9.0]
    assert "1 runs left out, for they were killed before the metric: d-s-3" in summary
    assert "1 runs left out, for they finished without the metric: d-s-4" in summary


def test_mlflow_infinities_are_not_the_largest_number(tmp_path):
    path = tmp_path / "m.db"
    mlflow_sqlite(
        path, {"a-b-0": [0.5, 1.7976931348623157e308], "a-b-1": [-1.7976931348623157e308], "a-b-2": [None]}
    )
    frame, _ = imported("mlflow", path, tmp_path)
    assert misses(frame) == [1, 2]
    assert frame["score"].max() == 0.5


def test_wandb_histories_without_a_score_are_misses_and_steps_of_others_are_not_nan(tmp_path):
    folder = tmp_path / "w"
    folder.mkdir()
    wandb_history(folder / "d-a-0.csv", _step=[0, 1, 2], _runtime=[1, 2, 3], acc=["0.5", "", "0.6"])
    wandb_history(folder / "d-a-1.csv", _step=[0, 1], _runtime=[1, 2], acc=["NaN", "Infinity"])
    wandb_history(folder / "d-a-2.csv", _step=[0, 1], _runtime=[1, 9], acc=["", ""])
    wandb_history(folder / "d-a-3.csv", _step=[0], _runtime=[4], loss=["7"])
    (folder / "d-a-4.csv").write_text("_step,_runtime,acc\n")
    (folder / "d-a-5.jsonl").write_text(
        '{"_step": 0, "_runtime": 1, "acc": "NaN"}\n{"_step": 1, "_runtime": 2, "acc": NaN}\n'
    )
    frame, summary = imported("wandb", folder, tmp_path, metric="acc")
    assert misses(frame) == [1, 2, 3, 5]
    assert frame[frame["seed"] == 0]["time"].tolist() == [1, 3]
    assert frame[frame["seed"] == 2]["time"].tolist() == [9]
    assert "1 runs left out" in summary
    assert "d-a-4" in summary
    panel = tmp_path / "panel.csv"
    panel.write_text("Step,d-a-0 - acc,d-a-1 - acc,d-a-2 - acc\n1,.5,,NaN\n2,.6,,NaN\n")
    assert misses(imported("wandb", panel, tmp_path)[0]) == [1, 2]


def test_a_method_that_diverges_loses_its_pairs(tmp_path, capsys):
    """The whole way: six seeds of Ray, in which one side never has a score, to the verdict."""
    for seed in range(6):
        ray_trial(
            tmp_path / "ray" / f"m-calm-{seed}" / "t", [(1010, 10), (1100, 100 + seed)], score=[0.1, 0.9]
        )
        ray_trial(tmp_path / "ray" / f"m-wild-{seed}" / "t", [(1003, 3)], score=[math.nan])
    runs = tmp_path / "runs.csv"
    assert (
        main(["import", "ray-tune", str(tmp_path / "ray"), "--output", str(runs), "--metric", "score"]) == 0
    )
    assert "6 cells have no finite score" in capsys.readouterr().err
    assert (
        main(["compare", str(runs), "--baseline", "calm", "--target", "0.8", "--budget", "500", "--json"])
        == 0
    )
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (comparison,) = [event for event in events if event["event"] == "comparison"]
    assert (comparison["pairs"], comparison["missing_pairs"]) == (6, 0)
    assert (comparison["reached_baseline"], comparison["reached_method"]) == (6, 0)
    assert comparison["verdict"] == "harmed"

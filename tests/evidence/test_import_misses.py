"""What tools leave when runs diverge, fail or never score: misses, not gaps."""

import json
import math

import numpy as np

from hypernudge.cli import main
from tests.evidence.importing import imported
from tests.evidence.tool_outputs import (
    mlflow_files,
    mlflow_sqlite,
    optuna_study,
    ray_trial,
    syne_experiment,
    wandb_history,
)


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

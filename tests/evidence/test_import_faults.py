"""What tools leave when runs share a name: kept apart, or refused."""

import pandas as pd
import pytest

from hypernudge.evidence.importers.naming import Naming
from tests.evidence.importing import imported, refused
from tests.evidence.tool_outputs import (
    mlflow_files,
    optuna_study,
    ray_trial,
    syne_experiment,
)


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

"""Results of other tools, as those tools write them, in long form; and a newcomer's walk with real Optuna."""

import json
import sqlite3
import zipfile

import numpy as np
import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.importers import import_results
from hypernudge.evidence.importers.common import long_form
from hypernudge.evidence.importers.naming import Naming
from hypernudge.evidence.importers.runs import Run, Score


def imported(tool, source, tmp_path, **options):
    output = tmp_path / "out.csv"
    summary = import_results(tool, str(source), output, **options)
    return pd.read_csv(output, float_precision="round_trip"), summary


def test_a_newcomer_walks_from_an_optuna_study_to_a_verdict_and_a_figure(tmp_path, capsys):
    optuna = pytest.importorskip("optuna", reason="reading Optuna studies needs hypernudge[optuna]")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    store = f"sqlite:///{tmp_path / 'studies.db'}"
    # Trials are written at their end, and the tables are checked once: a third of the time.
    memory, storage = optuna.storages.InMemoryStorage(), optuna.storages.RDBStorage(store)
    for seed in range(8):
        for variation, low in (("wide", -4.0), ("narrow", -1.2)):
            study = optuna.create_study(
                storage=memory,
                study_name=f"bowl-{variation}-{seed}",
                sampler=optuna.samplers.RandomSampler(seed=seed),
            )
            study.optimize(lambda trial, low=low: trial.suggest_float("x", low, 1.0) ** 2, n_trials=15)
            optuna.copy_study(from_study_name=study.study_name, from_storage=memory, to_storage=storage)
    runs, figures = tmp_path / "runs.csv", tmp_path / "figures"
    # The two commands.
    assert main(["import", "optuna", store, "--output", str(runs), "--time", "count"]) == 0
    assert "--minimise" in capsys.readouterr().err
    compare = ["compare", str(runs), "--baseline", "wide", "--target", "0.01", "--minimise"]
    code = main([*compare, "--clock", "declared", "--figures", str(figures), "--json"])
    assert code == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "verdict"
    assert events[-1]["method"] == "narrow"
    assert events[-1]["ratio"]["estimate"] < 1
    (comparison,) = [event for event in events if event["event"] == "comparison"]
    assert comparison["pairs"] == 8
    assert (figures / "forest_time_to_target.pdf").stat().st_size > 5000
    frame = pd.read_csv(runs, float_precision="round_trip")
    assert len(frame) == 240
    study = optuna.load_study(study_name="bowl-narrow-3", storage=store)
    own = frame[(frame["variation"] == "narrow") & (frame["seed"] == 3)].sort_values("time")
    assert own["score"].tolist() == [trial.value for trial in study.trials]


def test_optuna_attributes_pruned_trials_and_wall_time(tmp_path):
    optuna = pytest.importorskip("optuna", reason="reading Optuna studies needs hypernudge[optuna]")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = tmp_path / "s.db"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="anything", direction="maximize")
    for key, value in (("task", "t"), ("variation", "v"), ("seed", 5)):
        study.set_user_attr(key, value)
    for score in (0.1, None, 0.3):
        trial = study.ask()
        if score is None:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, score)
    frame, summary = imported("optuna", path, tmp_path)
    assert frame[["task", "variation", "seed"]].to_numpy().tolist() == [["t", "v", 5]] * 2
    assert frame["score"].tolist() == [0.1, 0.3]
    assert frame["trial"].tolist() == [0, 2]
    assert 0 <= frame["time"].iloc[0] <= frame["time"].iloc[1] < 60
    assert "1 trials without a score" in summary
    with pytest.raises(InvalidArgumentError, match="must exist"):
        import_results("optuna", f"sqlite:///{tmp_path / 'none.db'}", tmp_path / "x.csv")
    assert not (tmp_path / "none.db").exists()


@pytest.fixture
def syne_tune(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / "syne" / f"asha-{seed}-2026-01-01-00-00-00-000"
        folder.mkdir(parents=True)
        frame = pd.DataFrame(
            {
                "loss": [0.5, 0.4, 0.45],
                "epoch": [1, 2, 1],
                "trial_id": [0, 0, 1],
                "st_tuner_time": [1.5, 3.0, 3.5],
            }
        )
        with zipfile.ZipFile(folder / "results.csv.zip", "w") as archive:
            archive.writestr("results.csv", frame.to_csv(index=False))
        metadata = {"metric_names": ["loss"], "metric_mode": "min"}
        metadata |= {"benchmark": "nas201", "algorithm": "ASHA", "seed": seed}
        (folder / "metadata.json").write_text(json.dumps(metadata))
    return tmp_path / "syne"


def test_syne_tune(syne_tune, tmp_path):
    frame, summary = imported("syne-tune", syne_tune, tmp_path)
    assert summary.endswith("6 scores of 2 cells; smaller is better: compare with --minimise")
    assert frame[["task", "variation"]].drop_duplicates().to_numpy().tolist() == [["nas201", "ASHA"]]
    assert frame[frame["seed"] == 1]["time"].tolist() == [1.5, 3.0, 3.5]
    (syne_tune / "asha-1-2026-01-01-00-00-00-000" / "metadata.json").write_text("{")
    with pytest.raises(InvalidArgumentError, match="must be JSON"):
        import_results("syne-tune", str(syne_tune), tmp_path / "x.csv")


@pytest.fixture
def ray_tune(tmp_path):
    for seed in (0, 1):
        for trial in range(2):
            folder = tmp_path / "ray" / f"mnist-pbt-{seed}" / f"train_{trial}"
            folder.mkdir(parents=True)
            rows = [
                {
                    "timestamp": 1000 + 10 * trial + 5 * step,
                    "time_total_s": 5.0 * step,
                    "trial_id": f"t{trial}",
                    "training_iteration": step,
                    "mean_accuracy": 0.1 * step,
                    "done": False,
                    "config": {"lr": 0.1},
                }
                for step in (1, 2)
            ]
            (folder / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "ray"


def test_ray_tune(ray_tune, tmp_path):
    frame, _ = imported("ray-tune", ray_tune, tmp_path)
    assert frame["task"].unique().tolist() == ["mnist"]
    own = frame[frame["seed"] == 0]
    assert own["time"].tolist() == [5.0, 10.0, 15.0, 20.0]
    assert own["trial"].tolist() == ["t0", "t0", "t1", "t1"]
    # Scores within one second of the timestamp keep the order and the distance of the trial's own clock.
    file = ray_tune / "mnist-pbt-1" / "train_0" / "result.json"
    row = {**json.loads(file.read_text().splitlines()[0]), "timestamp": 1005}
    file.write_text("".join(json.dumps({**row, "time_total_s": 5 + 0.1 * k}) + "\n" for k in range(3)))
    (tmp_path / "out.csv").unlink()
    frame, _ = imported("ray-tune", ray_tune, tmp_path)
    times = frame[(frame["seed"] == 1) & (frame["trial"] == "t0")]["time"]
    np.testing.assert_allclose(times, [5.0, 5.1, 5.2], atol=1e-9)
    broken = ray_tune / "mnist-pbt-0" / "train_0" / "result.json"
    broken.write_text(broken.read_text() + "{\n")
    with pytest.raises(InvalidArgumentError, match="line 3"):
        import_results("ray-tune", str(ray_tune), tmp_path / "x.csv")


def mlflow_sqlite(path):
    with sqlite3.connect(path) as store:
        store.execute("CREATE TABLE runs (run_uuid TEXT, name TEXT, start_time INT, lifecycle_stage TEXT)")
        store.execute(
            "CREATE TABLE metrics (key TEXT, value REAL, timestamp INT, run_uuid TEXT, step INT, is_nan INT)"
        )
        for kind in ("params", "tags"):
            store.execute(f"CREATE TABLE {kind} (key TEXT, value TEXT, run_uuid TEXT)")
        for run, start, stage in (("aa", 1000, "active"), ("bb", 3000, "active"), ("cc", 0, "deleted")):
            store.execute("INSERT INTO runs VALUES (?, ?, ?, ?)", (run, f"run {run}", start, stage))
            for key, value in (("task", "digits"), ("variation", "adam")):
                store.execute("INSERT INTO params VALUES (?, ?, ?)", (key, value, run))
            store.execute("INSERT INTO tags VALUES ('seed', '4', ?)", (run,))
            for step, value, bad in ((1, 0.5, 0), (2, 0.0, 1)):
                row = ("accuracy", value, start + 1000 * step, run, step, bad)
                store.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", row)


def test_mlflow_sqlite_merges_the_runs_of_a_cell(tmp_path):
    path = tmp_path / "mlflow.db"
    mlflow_sqlite(path)
    frame, _ = imported("mlflow", f"sqlite:///{path}", tmp_path)
    assert frame["time"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert frame["seed"].tolist() == [4] * 4
    assert frame["trial"].nunique() == 4
    assert np.isnan(frame["score"].to_numpy()).tolist() == [False, True, False, True]
    path.write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(InvalidArgumentError, match="must be an MLflow SQLite store"):
        import_results("mlflow", str(path), tmp_path / "x.csv")


def test_mlflow_files(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / "mlruns" / "0" / f"run{seed}"
        for kind in ("metrics", "params", "tags"):
            (folder / kind).mkdir(parents=True)
        (folder / "meta.yaml").write_text(
            f"run_name: digits-sgd-{seed}\nstart_time: 1000\nlifecycle_stage: active\n"
        )
        (folder / "metrics" / "loss").write_text("2000 0.5 0\n4000 0.25 1\n")
    frame, _ = imported("mlflow", tmp_path / "mlruns", tmp_path)
    assert frame["seed"].tolist() == [0, 0, 1, 1]
    assert frame["time"].tolist() == [1.0, 3.0] * 2
    (tmp_path / "mlruns/0/run0/metrics/loss").write_text("2000\n")
    with pytest.raises(InvalidArgumentError, match="line 1"):
        import_results("mlflow", str(tmp_path / "mlruns"), tmp_path / "x.csv")


def test_wandb_histories_and_panels(tmp_path):
    history = pd.DataFrame({"_step": [0, 1, 2], "_runtime": [1.0, 2.0, 3.0], "acc": [0.1, None, 0.3]})
    folder = tmp_path / "histories"
    folder.mkdir()
    for seed in (0, 1):
        history.to_csv(folder / f"digits-adam-{seed}.csv", index=False)
    frame, _ = imported("wandb", folder, tmp_path)
    assert frame["time"].tolist() == [1.0, 3.0] * 2
    long = pd.concat([history.assign(name=f"digits-adam-{seed}", loss=1.0) for seed in (0, 1)])
    long.to_json(tmp_path / "all.jsonl", orient="records", lines=True)
    (tmp_path / "out.csv").unlink()
    again, _ = imported("wandb", tmp_path / "all.jsonl", tmp_path, metric="acc")
    assert again["score"].tolist() == frame["score"].tolist()
    with pytest.raises(InvalidArgumentError, match=r"--metric.*\['acc', 'loss'\]"):
        import_results("wandb", str(tmp_path / "all.jsonl"), tmp_path / "x.csv")
    panel = pd.DataFrame({"Relative Time (Process)": [1.0, 3.0]})
    for seed in (0, 1):
        panel[f"digits-adam-{seed} - acc"] = [0.1, 0.3]
        panel[f"digits-adam-{seed} - acc__MIN"] = [0.0, 0.0]
    panel.to_csv(tmp_path / "panel.csv", index=False)
    (tmp_path / "out.csv").unlink()
    third, _ = imported("wandb", tmp_path / "panel.csv", tmp_path)
    assert third[["seed", "time", "score"]].equals(frame[["seed", "time", "score"]])


def test_names_are_read_by_template_or_refused():
    run = Run("cifar10/asha+ohgw/s12", {}, 0.0, (Score("0", 1.0, 0.5),))
    assert Naming("{task}/{variation}/s{seed}").cell(run) == ("cifar10", "asha+ohgw", 12)
    assert Naming("{variation}/s{seed}", task="all").cell(run) == ("all", "cifar10/asha+ohgw", 12)
    with pytest.raises(InvalidArgumentError, match="must say task, variation, seed of every run"):
        Naming().cell(run)
    with pytest.raises(InvalidArgumentError, match="whole number"):
        Naming().cell(Run("x", {"task": "t", "variation": "v", "seed": "first"}, 0.0, ()))
    other = Run("a-b-1", {}, 0.0, (Score("0", 1.0, 0.5),), "minimise")
    with pytest.raises(InvalidArgumentError, match="agree"):
        long_form([other, Run("a-b-2", {}, 0.0, (), "maximise")], Naming())


def test_output_is_never_written_over(syne_tune, tmp_path, capsys):
    output = tmp_path / "runs.jsonl"
    arguments = ["import", "syne-tune", str(syne_tune), "--output", str(output)]
    assert main(arguments) == 0
    assert len(output.read_text().splitlines()) == 6
    assert main(arguments) == 2
    assert "must not exist yet" in capsys.readouterr().err

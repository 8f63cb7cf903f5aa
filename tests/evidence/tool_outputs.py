"""Small results of other tools, file by file as those tools write them."""

import json
import sqlite3
import zipfile

import pandas as pd
import pytest


def ray_trial(folder, lines, loss=0.5, score=None, trial_id=None):
    """A trial's directory; a line is (timestamp, time_total_s[, time_since_restore])."""
    folder.mkdir(parents=True)
    (folder / "params.json").write_text("{}")
    text = ""
    for place, (stamp, total, *since) in enumerate(lines):
        row = {
            "timestamp": stamp,
            "time_total_s": total,
            "trial_id": trial_id or folder.name,
            "config": {"lr": 0.1},
        }
        row |= {"time_since_restore": since[0]} if since else {}
        row |= {"loss": loss} if score is None else {"score": score[place]}
        text += json.dumps(row) + "\n"
    (folder / "result.json").write_text(text)
    return folder


def syne_experiment(root, seed, **columns):
    """An experiment's folder, zipped as Syne Tune does."""
    folder = root / f"asha-{seed}-2026-01-01-00-00-00-000"
    folder.mkdir(parents=True)
    columns = {"loss": [0.5, 0.4, 0.45], "trial_id": [0, 0, 1], "st_tuner_time": [1.5, 3.0, 3.5]} | columns
    with zipfile.ZipFile(folder / "results.csv.zip", "w") as archive:
        archive.writestr("results.csv", pd.DataFrame(columns).to_csv(index=False))
    metadata = {"metric_names": ["loss"], "metric_mode": "min"}
    metadata |= {"benchmark": "nas201", "algorithm": "ASHA", "seed": seed}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return folder


def mlflow_files(root, runs, status=None, start=1000, **metrics):
    """A file store; a run is (name, tags, text of the metric `loss` or None)."""
    for number, (name, tags, loss) in enumerate(runs):
        folder = root / "0" / f"run{number}"
        for kind in ("metrics", "params", "tags"):
            (folder / kind).mkdir(parents=True)
        code = 3 if status is None else status[number]
        meta = f"run_name: {name}\nstart_time: {start}\nend_time: 10000\n"
        meta += f"lifecycle_stage: active\nstatus: {code}\n"
        (folder / "meta.yaml").write_text(meta)
        for key, value in tags.items():
            (folder / "tags" / key).write_text(value)
        for key, text in {"loss": loss, **metrics}.items():
            if text is not None:
                (folder / "metrics" / key).write_text(text)
    return root


def mlflow_sqlite(path, runs):
    """An SQLite store of the metric `accuracy`: name -> values, None for NaN."""
    store = sqlite3.connect(path)
    with store:
        store.execute(
            "CREATE TABLE runs (run_uuid TEXT, name TEXT, start_time INT, end_time INT, status TEXT, "
            "lifecycle_stage TEXT)"
        )
        store.execute(
            "CREATE TABLE metrics (key TEXT, value REAL, timestamp INT, run_uuid TEXT, step INT, is_nan INT)"
        )
        for kind in ("params", "tags"):
            store.execute(f"CREATE TABLE {kind} (key TEXT, value TEXT, run_uuid TEXT)")
        for name, values in runs.items():
            store.execute("INSERT INTO runs VALUES (?, ?, 1000, 9000, 'FINISHED', 'active')", (name, name))
            for step, value in enumerate(values):
                row = ("accuracy", value or 0.0, 2000 + 1000 * step, name, step, value is None)
                store.execute("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", row)
    store.close()
    return path


def optuna_study(store, name, values, attributes=None):
    """A study in a storage (address or object); None fails, `pruned` and `running` do as they say."""
    optuna = pytest.importorskip("optuna", reason="reading Optuna studies needs hypernudge[optuna]")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=store, study_name=name)
    for key, value in (attributes or {}).items():
        study.set_user_attr(key, value)
    for value in values:
        trial = study.ask()
        states = optuna.trial.TrialState
        if value == "pruned":
            study.tell(trial, state=states.PRUNED)
        elif value is None or value != value:
            study.tell(trial, state=states.FAIL)
        elif value != "running":
            study.tell(trial, value)
    return study


def wandb_history(path, **columns):
    """A history as `run.history().to_csv()` writes it."""
    pd.DataFrame(columns).to_csv(path, index=False)
    return path

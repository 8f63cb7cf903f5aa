"""Exports from the records into the real trackers, and back through the importers."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.evidence import exporters
from hypernudge.evidence.exporters import export_results
from hypernudge.evidence.exporters.cells import cell_runs
from hypernudge.evidence.importers import import_results
from hypernudge.evidence.loading.study import load_study
from tests.evidence.synthetic import edit_record, write_study


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny") / "study"
    return write_study(root, tasks=("digits_mlp",), methods=("none", "literal"), seeds=range(2), target=0.8)


def fingerprint(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def export(root, to, destination):
    events = []
    complete = export_results(root, to, str(destination), events.append)
    return complete, events


def curves_of(root):
    """Scores of every cell in the records, in the order of time."""
    study = load_study(root)
    found = {}
    for run in cell_runs(root, study):
        key = (run.tags["variation"], int(run.tags["seed"]))
        found[key] = [(point.time, point.values["validation"]) for point in run.points]
    return found


def check_imported(frame, root, tolerance=0.0):
    for (variation, seed), points in curves_of(root).items():
        own = frame[(frame["variation"] == variation) & (frame["seed"] == seed)]
        np.testing.assert_array_equal(own["score"], [score for _, score in points])
        np.testing.assert_allclose(own["time"], [time for time, _ in points], atol=tolerance)


def test_cells_say_what_the_records_say(tiny):
    study = load_study(tiny)
    runs = list(cell_runs(tiny, study))
    assert len(runs) == len(study.cells) == 4
    assert len({run.name for run in runs}) == 4
    for run, row in zip(runs, study.cells.to_dict("records"), strict=True):
        assert run.summary["final_validation"] == row["final"]
        assert ("time_to_target" in run.summary) == bool(row["reached"])
        best = [point.values["incumbent"] for point in run.points if point.time <= row["budget"]]
        assert max(score for score in best if score == score) == row["final"]


@pytest.mark.parametrize(
    "address",
    # Making the tables of a new store takes MLflow most of ten seconds.
    ["{folder}/mlruns", pytest.param("sqlite:///{folder}/mlflow.db", marks=pytest.mark.slow)],
    ids=["folder", "sqlite"],
)
# What MLflow asks of SQLAlchemy, and says of its own stores, is out of our hands.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlflow_there_and_back(tiny, tmp_path, monkeypatch, address):
    pytest.importorskip("mlflow", reason="the real tracker needs hypernudge[trackers]")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    before, store = fingerprint(tiny), address.format(folder=tmp_path)
    complete, events = export(tiny, "mlflow", store)
    assert complete
    assert events[-1] == {
        **{"event": "summary", "to": "mlflow", "destination": store},
        **{"exported": 4, "kept": 0, "failed": 0},
    }
    assert fingerprint(tiny) == before
    again, events = export(tiny, "mlflow", store)
    assert again
    assert events[-1]["kept"] == 4
    output = tmp_path / "runs.csv"
    import_results("mlflow", store, tmp_path / "wall.csv", metric="validation")
    # Timestamps are whole milliseconds there; the metric `time` is exact.
    check_imported(pd.read_csv(tmp_path / "wall.csv", float_precision="round_trip"), tiny, tolerance=1.1e-3)
    import_results("mlflow", store, output, metric="validation", clock="time")
    check_imported(pd.read_csv(output, float_precision="round_trip"), tiny)


def test_wandb_there_and_back(tiny, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the real tracker needs hypernudge[trackers]")
    # Whatever the user's environment says, nothing leaves this machine.
    monkeypatch.setenv("WANDB_MODE", "online")
    before = fingerprint(tiny)
    complete, events = export(tiny, "wandb", tmp_path)
    assert complete, events
    assert events[-1]["exported"] == 4
    assert fingerprint(tiny) == before
    assert len(list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))) == 4
    assert export(tiny, "wandb", tmp_path)[1][-1]["kept"] == 4
    output = tmp_path / "runs.csv"
    import_results("wandb", str(tmp_path / "wandb"), output, metric="validation", clock="time")
    check_imported(pd.read_csv(output, float_precision="round_trip"), tiny)


def diverged(root):
    """Two cells without a score: one whose scores are all NaN, one that crashed before its first."""
    cells = root / "digits_mlp-asha-literal" / "cells"

    def no_number(record):
        record["curve"]["validation"] = [None] * len(record["curve"]["validation"])

    def nothing(record):
        record["curve"] = {name: [] for name in record["curve"]}
        record["trials"] = []

    edit_record(cells / "seed-0000.json", no_number)
    edit_record(cells / "seed-0001.json", nothing)
    return root


@pytest.mark.parametrize("to", ["mlflow", "wandb"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_cells_without_a_score_come_back_as_misses(tiny, tmp_path, to):
    pytest.importorskip(to, reason="the real tracker needs hypernudge[trackers]")
    root = diverged(Path(shutil.copytree(tiny, tmp_path / "study")))
    store = tmp_path / "mlruns" if to == "mlflow" else tmp_path
    complete, events = export(root, to, store)
    assert complete, events
    source, output = str(store if to == "mlflow" else store / "wandb"), tmp_path / "runs.csv"
    summary = import_results(to, source, output, metric="validation", clock="time")
    frame = pd.read_csv(output)
    scored = frame.assign(score=np.isfinite(frame["score"])).groupby(["variation", "seed"])["score"].any()
    assert scored.to_dict() == {(v, s): v == "none" for v in ("literal", "none") for s in (0, 1)}
    assert "2 cells have no finite score" in summary


class Flaky:
    """A tracker that fails for some runs until it is mended."""

    def __init__(self):
        self.runs, self.broken = {}, True

    def known(self):
        return set(self.runs)

    def write(self, run):
        if self.broken and int(run.tags["seed"]) % 2:
            raise ConnectionError("the store is locked")
        self.runs[run.digest] = run


def test_nothing_is_lost_when_a_tracker_fails(tiny, tmp_path, monkeypatch, capsys):
    flaky, before = Flaky(), fingerprint(tiny)
    monkeypatch.setitem(exporters.TRACKERS, "mlflow", lambda study, destination: flaky)
    assert main(["export", str(tiny), "--to", "mlflow"]) == 1
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (events[-1]["exported"], events[-1]["failed"]) == (2, 2)
    failed = [event for event in events if event["event"] == "failed"]
    assert all(event["reason"] == "ConnectionError: the store is locked" for event in failed)
    flaky.broken = False
    assert main(["export", str(tiny), "--to", "mlflow"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (events[-1]["exported"], events[-1]["kept"]) == (2, 2)
    assert len(flaky.runs) == 4
    assert fingerprint(tiny) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{study}", "--to", "mlfow"], "did you mean 'mlflow'"),
        (["{study}/nowhere", "--to", "mlflow"], "DIR: must be a results directory"),
        (["{empty}", "--to", "mlflow"], "DIR: must hold a study"),
    ],
)
def test_bad_requests_are_refused(tiny, tmp_path, capsys, arguments, words):
    given = [text.format(study=tiny, empty=tmp_path) for text in arguments]
    assert main(["export", *given]) == 2
    assert words in capsys.readouterr().err


def test_a_store_elsewhere_is_refused(tiny, capsys):
    pytest.importorskip("mlflow", reason="the real tracker needs hypernudge[trackers]")
    assert main(["export", str(tiny), "--to", "mlflow", "--store", "https://example.org"]) == 2
    assert "--store: must lie on this machine" in capsys.readouterr().err

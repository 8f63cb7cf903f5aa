"""Damaged, foreign and odd files, for every importer and for `compare`: one line, and nothing written."""

import json
import random
import shutil
import sqlite3
import zipfile

import numpy as np
import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.evidence.loading.wording import number_remedy
from hypernudge.evidence.report.compare_file import Request, compare_file
from hypernudge.plotting.style import file_name
from tests.evidence.long_tables import results, written
from tests.evidence.tool_outputs import (
    mlflow_files,
    mlflow_sqlite,
    optuna_study,
    ray_trial,
    syne_experiment,
    wandb_history,
)


def ended(arguments, capsys, code=2):
    """Run a command; return what it says, which is one line where it refuses."""
    assert main([str(argument) for argument in arguments]) == code
    error = capsys.readouterr().err
    if code == 2:
        assert error.startswith("error: "), error
        assert error.count("\n") == 1, error
        assert "Traceback" not in error
    return error


# --- What every tool leaves, one file of it to be damaged ---


def optuna_sqlite_store(root):
    optuna_study(f"sqlite:///{root / 's.db'}", "a-b-0", [0.5, 0.4])
    return root / "s.db", root / "s.db"


def optuna_journal(root):
    optuna = pytest.importorskip("optuna", reason="reading Optuna studies needs hypernudge[optuna]")
    backend = optuna.storages.journal.JournalFileBackend(str(root / "journal.log"))
    optuna_study(optuna.storages.JournalStorage(backend), "a-b-0", [0.5, 0.4])
    return root / "journal.log", root / "journal.log"


def syne_tune_folder(root):
    return root, syne_experiment(root, seed=0) / "results.csv.zip"


def syne_tune_metadata(root):
    return root, syne_experiment(root, seed=0) / "metadata.json"


def ray_tune_folder(root):
    return root, ray_trial(root / "a-b-0" / "t", [(1010, 10), (1020, 20)]) / "result.json"


def mlflow_folder(root):
    mlflow_files(root, [("a-b-0", {}, "2000 .5 0\n3000 .4 1\n")])
    return root, root / "0" / "run0" / "metrics" / "loss"


def mlflow_meta(root):
    mlflow_files(root, [("a-b-0", {}, "2000 .5 0\n3000 .4 1\n")])
    return root, root / "0" / "run0" / "meta.yaml"


def mlflow_database(root):
    return (mlflow_sqlite(root / "m.db", {"a-b-0": [0.5, 0.4]}),) * 2


def wandb_csv(root):
    return (wandb_history(root / "a-b-0.csv", _step=[0, 1], _runtime=[1, 2], acc=[0.1, 0.2]),) * 2


def wandb_jsonl(root):
    path = root / "a-b-0.jsonl"
    path.write_text("".join(json.dumps({"_step": k, "_runtime": k, "acc": 0.1 * k}) + "\n" for k in range(3)))
    return path, path


def wandb_offline(root):
    pytest.importorskip("wandb", reason="reading offline runs needs hypernudge[trackers]")
    path = root / "run-abc.wandb"
    path.write_bytes(b":W&B\x9e\x01\x00" + bytes(range(64)))
    return path, path


SOURCES = {
    "optuna": (optuna_sqlite_store, optuna_journal),
    "syne-tune": (syne_tune_folder, syne_tune_metadata),
    "ray-tune": (ray_tune_folder,),
    "mlflow": (mlflow_folder, mlflow_meta, mlflow_database),
    "wandb": (wandb_csv, wandb_jsonl, wandb_offline),
}
EACH = [(tool, make) for tool, made in SOURCES.items() for make in made]


def as_directory(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "blank": lambda path: path.write_bytes(b"\n\n"),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "nearly whole": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "binary": lambda path: path.write_bytes(random.Random(0).randbytes(4000)),
    "zeros": lambda path: path.write_bytes(bytes(4000)),
    "latin-1": lambda path: path.write_bytes(path.read_bytes() + "é,ü\n".encode("latin-1")),
    "utf-16": lambda path: path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-16")),
    "null": lambda path: path.write_text("null\n"),
    "a list": lambda path: path.write_text("[1, 2]\n"),
    "a number": lambda path: path.write_text("7\n"),
    "deep": lambda path: path.write_text("[" * 100_000 + "\n"),
    "deep object": lambda path: path.write_text('{"a":' * 100_000 + "\n"),
    "a huge number": lambda path: path.write_text("9" * 5000 + "\n"),
    "another table": lambda path: path.write_text("a,b\n1,2\n"),
    "a directory": as_directory,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("tool", "make"), EACH, ids=[f"{tool}-{make.__name__}" for tool, make in EACH])
def test_importers_refuse_damage_in_one_line_or_read_what_is_whole(tmp_path, capsys, tool, make, damage):
    root = tmp_path / "source"
    root.mkdir()
    source, file = make(root)
    DAMAGE[damage](file)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    output = tmp_path / "out.csv"
    code = main(["import", tool, str(source), "--output", str(output)])
    error = capsys.readouterr().err
    # A database opened for reading may have had a file beside it for a moment; nothing may stay.
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        [*before, *(["out.csv"] if not code else [])]
    )
    if code == 0:
        assert len(pd.read_csv(output)) > 0
    else:
        assert (code, error.count("\n")) == (2, 1), error
        assert error.startswith("error: ")
        assert len(error) < 2000


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_with_changed_bytes_is_read_or_refused(tmp_path, suffix, seed):
    """Bytes changed, dropped, repeated and inserted at random: a verdict, or one line."""
    rng = random.Random(seed)
    path = written(results(tasks=("digits",), seeds=2), tmp_path / f"runs{suffix}")
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 3, 20])):
        at = rng.randrange(len(data))
        change = rng.randrange(4)
        if change == 0:
            data[at] = rng.choice([0, 10, 13, 34, 44, 59, 123, 200, 255])
        elif change == 1:
            del data[at : at + rng.randrange(1, 40)]
        elif change == 2:
            data[at:at] = data[at : at + rng.randrange(1, 200)]
        else:
            data[at:at] = rng.choice([b'"', b"\xff\xfe", b"\x00", b"nan", b"1e999", b"{", b"\r\n"])
    path.write_bytes(data)
    try:
        compare_file(path, Request(baseline="asha", target=0.5), lambda event: None)
    except ValueError as error:
        assert type(error).__name__ == "InvalidArgumentError", repr(error)
        assert "\n" not in str(error)


# --- Addresses ---

ADDRESSES = {
    "an unknown driver": ("mysql+foo://user:secret@host/db", ["mysql+foo://user:***@host/db"]),
    "an unknown database": ("nosuch://host/db", ["must be the address of a database"]),
    "redis": ("redis://host/0", ["must be the address of a database"]),
    "no such file": ("sqlite:///{root}/none.db", ["must exist", "check the path"]),
    "no such journal": ("{root}/none.log", ["must exist", "check the path"]),
    "a directory": ("{root}", ["must exist, as a file", "name the storage file"]),
    "another database": ("sqlite:///{root}/m.db", ["must be a storage of Optuna"]),
    "a NUL": ("a\0b", ["must be a path"]),
}


@pytest.mark.parametrize("case", ADDRESSES)
def test_optuna_addresses_are_refused_in_one_line(tmp_path, capsys, case):
    pytest.importorskip("optuna", reason="reading Optuna studies needs hypernudge[optuna]")
    mlflow_sqlite(tmp_path / "m.db", {"a-b-0": [0.5]})
    before = (tmp_path / "m.db").read_bytes()
    address, words = ADDRESSES[case]
    arguments = ["import", "optuna", address.format(root=tmp_path), "--output", tmp_path / "o.csv"]
    error = ended(arguments, capsys)
    for word in words:
        assert word in error
    assert "secret" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.db"]
    assert (tmp_path / "m.db").read_bytes() == before


@pytest.mark.parametrize("tool", ["optuna", "syne-tune", "ray-tune", "mlflow", "wandb"])
@pytest.mark.parametrize("kind", ["nowhere", "an empty folder", "a folder of others"])
def test_sources_that_hold_nothing_are_refused(tmp_path, capsys, tool, kind):
    source = tmp_path / "source"
    if kind != "nowhere":
        source.mkdir()
    if kind == "a folder of others":
        (source / "notes.txt").write_text("x")
    assert "SOURCE" in ended(["import", tool, source, "--output", tmp_path / "o.csv"], capsys)


def test_an_optuna_journal_is_read_and_not_touched(tmp_path, capsys):
    source, file = optuna_journal(tmp_path)
    before = file.read_bytes()
    file.chmod(0o444)
    output = tmp_path / "o.csv"
    ended(["import", "optuna", source, "--output", output], capsys, code=0)
    assert pd.read_csv(output)["score"].tolist() == [0.5, 0.4]
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.log", "o.csv"]


def test_an_optuna_database_with_odd_letters_in_its_path_is_only_read(tmp_path, capsys):
    root = tmp_path / "a b#c?d%20é"
    root.mkdir()
    file = shutil.copy(optuna_sqlite_store(tmp_path)[0], root / "s.db")
    before, output = file.read_bytes(), tmp_path / "o.csv"
    ended(["import", "optuna", file, "--output", output], capsys, code=0)
    assert pd.read_csv(output)["score"].tolist() == [0.5, 0.4]
    assert file.read_bytes() == before


def test_a_text_metric_of_syne_tune_is_named(tmp_path, capsys):
    syne_experiment(tmp_path / "s", seed=0, loss=["0.5", "58%", "0.4"])
    error = ended(["import", "syne-tune", tmp_path / "s", "--output", tmp_path / "o.csv"], capsys)
    assert "row 3, column loss: must be a number, but got '58%'" in error
    assert "(0.58)" in error


def test_a_text_timestamp_of_wandb_that_is_no_date_is_named(tmp_path, capsys):
    wandb_history(tmp_path / "a-b-0.csv", _step=[0], _timestamp=["yesterday"], acc=[0.5])
    error = ended(["import", "wandb", tmp_path / "a-b-0.csv", "--output", tmp_path / "o.csv"], capsys)
    assert "row 2, column _timestamp: must be a number, but got 'yesterday'" in error


@pytest.mark.parametrize(("seed", "remedy"), [("seed0", "(0)"), ("s-7", "such as 0"), ("1.5", "such as 0")])
def test_a_seed_that_is_no_number_says_how_to_write_it(tmp_path, capsys, seed, remedy):
    cell = {"task": "t", "variation": "v", "seed": seed}
    mlflow_files(tmp_path / "m", [("x", cell, "2000 .5 0\n")])
    error = ended(["import", "mlflow", tmp_path / "m", "--output", tmp_path / "o.csv"], capsys)
    assert repr(seed) in error
    assert remedy in error


def test_nothing_is_unpickled_or_imported_from_a_source(tmp_path, capsys):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    bomb = pickle.dumps(Bomb())
    ray = ray_trial(tmp_path / "ray" / "a-b-0" / "t", [(1010, 10)])
    for name in ("params.pkl", "error.pkl"):
        (ray / name).write_bytes(bomb)
    (tmp_path / "ray" / "a-b-0" / "tuner.pkl").write_bytes(bomb)
    syne = syne_experiment(tmp_path / "syne", seed=0)
    (syne / "tuner.dill").write_bytes(bomb)
    (syne / "sitecustomize.py").write_text(f"open({str(tmp_path / 'exploded')!r}, 'w')")
    for tool in ("ray-tune", "syne-tune"):
        source = tmp_path / tool.partition("-")[0]
        ended(["import", tool, source, "--output", tmp_path / f"{tool}.csv"], capsys, code=0)
    assert not (tmp_path / "exploded").exists()


def test_an_archive_of_several_tables_or_with_a_wrong_sum_is_refused(tmp_path, capsys):
    folder = syne_experiment(tmp_path / "s", seed=0)
    with zipfile.ZipFile(folder / "results.csv.zip", "a") as archive:
        archive.writestr("more.csv", "a\n1\n")
    assert "must be CSV" in ended(["import", "syne-tune", folder, "--output", tmp_path / "o.csv"], capsys)
    other = syne_experiment(tmp_path / "t", seed=0)
    data = bytearray((other / "results.csv.zip").read_bytes())
    data[60] ^= 255
    (other / "results.csv.zip").write_bytes(data)
    assert "must be CSV" in ended(["import", "syne-tune", other, "--output", tmp_path / "o.csv"], capsys)


def test_a_database_with_text_where_numbers_belong_is_refused(tmp_path, capsys):
    path = mlflow_sqlite(tmp_path / "m.db", {"a-b-0": [0.5]})
    store = sqlite3.connect(path)
    with store:
        store.execute("UPDATE metrics SET value = 'high'")
    store.close()
    assert "must hold numbers" in ended(["import", "mlflow", path, "--output", tmp_path / "o.csv"], capsys)


OUTPUTS = {
    "another suffix": ("o.xlsx", "must end in one of"),
    "below a file": ("file.csv/o.csv", "must lie in a directory"),
    "there already": ("file.csv", "must not exist yet"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_are_refused_before_anything_is_read(tmp_path, capsys, case):
    name, words = OUTPUTS[case]
    (tmp_path / "file.csv").write_text("mine")
    error = ended(["import", "mlflow", tmp_path / "nowhere", "--output", tmp_path / name], capsys)
    assert "--output" in error
    assert words in error
    assert (tmp_path / "file.csv").read_text() == "mine"


# --- `compare`: what stands where a number belongs ---

REMEDIES = {
    "a seed with its name": ("seed", "seed0", "write the number alone (0)"),
    "a seed of two numbers": ("seed", "0-1", "write a whole number"),
    "per cent": ("score", "58%", "without the per cent sign (0.58)"),
    "per cent with a blank": ("score", "58.5 %", "without the per cent sign (0.585)"),
    "a decimal comma": ("score", "0,58", "write it with a point (0.58)"),
    "thousands": ("time", "1,234.5", "without separators of thousands (1234.5)"),
    "thousands of the French": ("time", "1 234 567", "without separators of thousands (1234567)"),
    "thousands of the Germans": ("time", "1.234,5", "(1234.5)"),
    "either": ("time", "1,234", "may mean either: write 1234 or 1.234"),
    "an ISO time": ("time", "2024-01-01T10:00", "the seconds since the run began"),
    "a date": ("time", "01.02.2024", "the seconds since the run began"),
    "a time of day": ("time", "10:00:05", "the seconds since the run began"),
    "a span": ("time", "0 days 00:01:00", "the seconds since the run began"),
    "a unit": ("time", "12.5s", "write the number alone (12.5)"),
    "a word": ("score", "good", "leave the score empty where the run diverged"),
}


@pytest.mark.parametrize("case", REMEDIES)
def test_the_remedy_fits_what_stands_there(tmp_path, capsys, case):
    column, text, remedy = REMEDIES[case]
    frame = results(seeds=2).astype({column: object})
    frame.iloc[3, frame.columns.get_loc(column)] = text
    path = written(frame, tmp_path / "runs.csv")
    error = ended(["compare", path, "--baseline", "asha", "--target", "0.9"], capsys)
    assert f"row 5, column {column}" in error
    assert remedy in error
    assert number_remedy(text, column) in error


# --- `compare`: runs without a score ---


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_run_without_a_finite_score_is_a_miss_in_every_format(tmp_path, suffix, bad):
    frame = results(seeds=8)
    diverged = (frame["variation"] == "mine") & (frame["seed"] < 3)
    frame.loc[diverged, "score"] = bad
    events = []
    compare_file(
        written(frame, tmp_path / f"runs{suffix}"), Request(baseline="asha", target=0.8), events.append
    )
    for comparison in (event for event in events if event["event"] == "comparison"):
        assert (comparison["pairs"], comparison["missing_pairs"]) == (8, 0)
        assert (comparison["reached_baseline"], comparison["reached_method"]) == (8, 5)
    flags = [e for e in events if e["event"] == "problem" and "no finite score" in e["rule"]]
    assert [flag["where"] for flag in flags] == ["cells digits-mine", "cells wine-mine"]
    assert "seed 0, 1, 2" in flags[0]["rule"]


def one_row_miss(frame, when):
    diverged = (frame["variation"] == "mine") & (frame["seed"] < 3)
    rows = frame[diverged].groupby(["task", "variation", "seed"], as_index=False).first()
    return pd.concat([frame[~diverged], rows.assign(time=when, score=np.nan)])


@pytest.mark.parametrize("when", [0.0, 2.0])
def test_a_run_that_ended_by_diverging_does_not_shorten_the_others(tmp_path, when):
    path = written(one_row_miss(results(seeds=8), when), tmp_path / "runs.csv")
    events = []
    compare_file(path, Request(baseline="asha", target=0.8), events.append)
    for comparison in (event for event in events if event["event"] == "comparison"):
        assert (comparison["reached_baseline"], comparison["reached_method"]) == (8, 5)


def test_a_run_that_diverged_later_does_not_shorten_the_others_either(tmp_path):
    frame = results(tasks=("digits",), seeds=8)
    early = (frame["variation"] == "mine") & (frame["time"] > 10)
    cut = frame[~early].copy()
    cut.loc[(cut["variation"] == "mine") & (cut["time"] == 10), "score"] = np.nan
    events = []
    compare_file(written(cut, tmp_path / "runs.csv"), Request(baseline="asha", target=0.8), events.append)
    (comparison,) = [event for event in events if event["event"] == "comparison"]
    assert (comparison["reached_baseline"], comparison["reached_method"]) == (8, 0)
    assert comparison["verdict"] == "harmed"


def test_of_two_misses_the_one_without_a_score_loses_and_two_without_are_equal(tmp_path):
    """Seed 0: both without a score. Seeds 1 to 7: the baseline's only score is the worst anyone ever saw."""
    rows = [("t", "asha", 0, 10.0, np.nan), ("t", "mine", 0, 10.0, np.nan)]
    rows += [("t", "asha", seed, 10.0, 0.1) for seed in range(1, 8)]
    rows += [("t", "mine", seed, 10.0, np.nan) for seed in range(1, 8)]
    rows += [("t", side, 8, 10.0, 0.95) for side in ("asha", "mine")]
    frame = pd.DataFrame(rows, columns=["task", "variation", "seed", "time", "score"])
    events = []
    compare_file(written(frame, tmp_path / "runs.csv"), Request(baseline="asha", target=0.9), events.append)
    (comparison,) = [event for event in events if event["event"] == "comparison"]
    assert comparison["pairs"] == 9
    time = comparison["time_to_target"]
    assert (time["wins"], time["losses"], time["ties"]) == (0, 7, 2)
    assert time["p"] == pytest.approx(2 / 2**7)


# --- Names ---


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_long_name_still_has_its_figures_and_a_verdict(tmp_path, capsys, suffix):
    frame = results(tasks=("x" * 250,), seeds=6).replace({"mine": "y" * 250})
    frame["task"] = frame["task"].where(frame["seed"] % 2 == 0, frame["task"].str[:-1] + "z")
    path = written(frame, tmp_path / f"runs{suffix}")
    arguments = ["compare", path, "--baseline", "asha", "--target", "0.9", "--json"]
    assert main([str(a) for a in [*arguments, "--figures", tmp_path / "figures"]]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "verdict"
    drawn = [event["name"] for event in events if event["event"] == "figure"]
    assert len(set(drawn)) == len(drawn) > 5
    assert max(map(len, drawn)) <= 130


def test_file_names_are_bounded_and_differ():
    names = {file_name("topic", "x" * 300 + end, "mine") for end in "abc"}
    assert len(names) == 3
    assert all(len(name) == 120 and name.startswith("topic_xxx") for name in names)
    assert file_name("topic", "a/b") == "topic_a_b"


def test_a_verdict_is_there_though_no_figure_can_be_written(tmp_path, capsys, monkeypatch):
    from hypernudge.plotting import style

    def full(figure, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(style, "save", full)
    path = written(results(), tmp_path / "runs.csv")
    arguments = ["compare", path, "--baseline", "asha", "--target", "0.9", "--figures", tmp_path / "f"]
    assert main([str(argument) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert "SUPPORTED" in captured.out
    assert "No space left on device" in captured.out


JSON_ROW = '"task": "d", "variation": "a", "seed": 0, "time": 1, "score": '
JSON_LINES = {
    "digits without end": ("{" + JSON_ROW + "9" * 400 + "}", ["row 1, column score", "must be a number"]),
    "more digits": ("{" + JSON_ROW + "9" * 5000 + "}", ["row 1, column score", "must be a number"]),
    "deep": ("[" * 100_000, ["row 1", "must be JSON"]),
    "nested names": ("{" + JSON_ROW.replace('"d"', "[1]") + "1}", ["row 1, column task", "must be one name"]),
    "nested hardware": ('{"hardware": {}, ' + JSON_ROW + "1}", ["row 1, column hardware", "one name"]),
    "nested trials": ('{"trial": [2], ' + JSON_ROW + "1}", ["row 1, column trial", "one name"]),
}


@pytest.mark.parametrize("case", JSON_LINES)
def test_odd_json_is_refused_by_row_and_column(tmp_path, capsys, case):
    text, words = JSON_LINES[case]
    (tmp_path / "runs.jsonl").write_text(text + "\n")
    error = ended(["compare", tmp_path / "runs.jsonl", "--baseline", "a", "--target", "1"], capsys)
    for word in words:
        assert word in error


def test_long_notes_are_no_damage(tmp_path):
    frame = results(tasks=("digits",), seeds=6).assign(note="")
    frame.iloc[5, frame.columns.get_loc("note")] = "x" * 200_000
    path, events = written(frame, tmp_path / "runs.csv"), []
    compare_file(path, Request(baseline="asha", target=0.8), events.append)
    assert events[-1]["event"] == "verdict"


def test_dollars_in_names_set_no_formulas(tmp_path):
    frame = results(tasks=("digits",), seeds=6).replace({"digits": r"$\foo$", "mine": "a $ and $ b"})
    path, events = written(frame, tmp_path / "runs.csv"), []
    request = Request(baseline="asha", target=0.8, metric="$x^{", figures=tmp_path / "figures")
    compare_file(path, request, events.append)
    assert events[-1]["method"] == "a $ and $ b"
    drawn = [event for event in events if event["event"] == "figure"]
    assert len(drawn) > 5 and not any(r"\$" in event["shows"] for event in drawn)


def test_half_a_character_is_no_name(tmp_path, capsys):
    path = tmp_path / "runs.jsonl"
    row = {"task": "a", "variation": "b", "seed": 0, "time": 1, "score": 1}
    path.write_text(json.dumps({**row, "variation": "\ud800"}) + "\n" + json.dumps(row) + "\n")
    error = ended(["compare", path, "--baseline", "b", "--target", "1"], capsys)
    assert "row 1, column variation: must be a name" in error

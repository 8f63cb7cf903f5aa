"""Damaged, foreign and odd files, for every importer: one line, and nothing written."""

import json
import random
import shutil
import sqlite3
import zipfile

import pandas as pd
import pytest

from hypernudge.cli import main
from hypernudge.evidence.report.compare_file import Request, compare_file
from tests.evidence.long_tables import results, written
from tests.evidence.refusals import ended
from tests.evidence.tool_outputs import (
    mlflow_files,
    mlflow_sqlite,
    optuna_study,
    ray_trial,
    syne_experiment,
    wandb_history,
)

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

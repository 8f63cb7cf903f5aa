import gzip

import numpy as np
import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.builtin import supervised
from hypernudge.tasks.data.datasets import load_dataset

pytest.importorskip("pandas", reason="tables need the extra `harness`")

ROWS = [
    (i, "red" if i % 3 else "blue", "" if i == 5 else i * 0.5, 7, "yes." if i % 2 else "no")
    for i in range(60)
]


@pytest.fixture
def table(tmp_path, monkeypatch):
    text = "id,colour,size,constant,answer\n" + "\n".join(",".join(map(str, row)) for row in ROWS)
    (tmp_path / "plain.csv").write_text(text)
    with gzip.open(tmp_path / "packed.csv.gz", "wt") as file:
        file.write(text)
    monkeypatch.setenv("HYPERNUDGE_DATA", str(tmp_path))
    return {"table": "plain.csv", "drop": ["id"]}


def test_a_table_becomes_a_standardised_data_set(table):
    data = load_dataset(table)
    assert data.name == "plain" and data.classes == 2 and data.kind == "table"
    assert {part: x.shape for part, x in data.x.items()} == {
        "train": (36, 3),  # size and two colours; a constant column says nothing
        "validation": (12, 3),
        "test": (12, 3),
    }
    assert np.allclose(data.x["train"].mean(0), 0) and np.allclose(data.x["train"].std(0), 1)
    assert np.isfinite(data.x["train"]).all()


def test_compressed_files_and_several_parts_are_one_table(table):
    whole = load_dataset({**table, "table": ["plain.csv", "packed.csv.gz"]})
    assert sum(len(y) for y in whole.y.values()) == 120


def test_rows_are_drawn_once_and_labels_may_be_binned(table):
    spec = {**table, "label": "size", "bins": [10, 20], "rows": 30, "drop": ["id", "answer"]}
    spec["table"] = "plain.csv"
    with pytest.raises(InvalidArgumentError, match="must not be missing"):
        load_dataset(spec)
    spec["label"], spec["drop"] = "id", ["answer"]
    a, b = load_dataset(spec), load_dataset(spec)
    assert a.classes == 3 and sum(len(y) for y in a.y.values()) == 30
    assert all(np.array_equal(a.x[part], b.x[part]) for part in a.x)
    former = load_dataset({**{key: value for key, value in spec.items() if key != "bins"}, "cut": [10, 20]})
    assert all(np.array_equal(a.y[part], former.y[part]) for part in a.y)
    with pytest.raises(InvalidArgumentError, match="'cut' is its former name"):
        load_dataset({**spec, "cut": [10, 20]})


def test_a_network_learns_it(table):
    task = supervised(
        dataset={**table, "label": 1, "drop": []}, model="mlp", batch_size=16, steps_per_unit=30
    )
    state = task.start(0)
    assert task.advance(state, {"lr": 0.1, "momentum": 0.9})
    assert task.evaluate(state, "test") >= 0.5 and task.family == "plain"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": "absent.csv"}, "must name a file that exists"),
        ({"label": "answers"}, "must be a column of"),
        ({"drop": ["colour", 99]}, "must be a column of"),
        ({"lable": "answer"}, "keys must be among"),
        ({"rows": 3}, "must be a whole number >= 10"),
        ({"bins": [1]}, "needs a numeric label"),
        ({"label": "constant"}, "at least two classes"),
    ],
)
def test_mistakes_are_named(table, change, message):
    with pytest.raises(InvalidArgumentError, match=message):
        load_dataset({**table, **change})

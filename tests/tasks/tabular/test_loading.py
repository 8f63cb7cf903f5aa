"""Tables as trees take them: missing values, categories, published parts, errors in one line."""

import numpy as np
import pytest

pytest.importorskip("pandas", reason="extra tabular")
pytest.importorskip("sklearn", reason="extra tabular")

from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.data.datasets import split_indices
from hypernudge.tasks.tabular import loading
from hypernudge.tasks.tabular.loading import load_table
from hypernudge.tasks.tabular.problems import problem_of
from tests.tasks.tabular.tools import HEADER, numbers, rows, write

ELSEWHERE = int(split_indices(120, 0)["test"][0])  # a row that does not train
CLASSES, NUMBERS = problem_of(None, "classification", None, None), problem_of(None, "regression", None, None)


def test_missing_values_stay_missing_and_text_becomes_codes(tmp_path):
    table = load_table({**write(tmp_path), "categories": ["code"]}, CLASSES)
    assert table.columns == ("size", "weight", "colour", "code") and table.kinds == ("q", "q", "c", "c")
    whole = np.concatenate([table.x[part] for part in ("train", "validation", "test")])
    assert whole.dtype == np.float32 and len(whole) == 120
    assert [int(np.isnan(column).sum()) for column in whole.T] == [11, 0, 10, 0]
    assert set(whole[:, 2][~np.isnan(whole[:, 2])]) == {0.0, 1.0, 2.0}  # blue, green, red
    assert table.classes == 2 and table.outputs == 1 and set(table.y["train"]) == {0.0, 1.0}
    assert {part: len(y) for part, y in table.y.items()} == {"train": 72, "validation": 24, "test": 24}


def test_a_target_is_standardised_by_the_training_part(tmp_path):
    table = load_table(numbers(write(tmp_path)), NUMBERS)
    assert table.classes == 0 and table.outputs == 1
    assert abs(table.y["train"].mean()) < 1e-6 and table.y["train"].std() == pytest.approx(1, abs=1e-5)
    plain = sorted(float(line.split(",")[-1]) for line in rows())
    found = np.sort(np.concatenate(list(table.y.values()))) * table.unit
    assert np.ptp(found) == pytest.approx(plain[-1] - plain[0], rel=1e-5)


def test_a_table_is_read_once_and_again_when_its_file_has_changed(tmp_path, monkeypatch):
    spec, read = write(tmp_path), []
    reader = loading.read_frame
    monkeypatch.setattr(loading, "read_frame", lambda *given: read.append(given) or reader(*given))
    first = load_table(spec, CLASSES)
    assert load_table(dict(spec), CLASSES) is first and len(read) == 1
    write(tmp_path, lines=rows(100))
    assert sum(map(len, load_table(spec, CLASSES).y.values())) == 100 and len(read) == 2


def test_published_parts_are_kept(tmp_path):
    spec = write(tmp_path)
    write(tmp_path, "more.csv", rows(30, seed=1))
    table = load_table({**spec, "test_table": str(tmp_path / "more.csv")}, CLASSES)
    assert {part: len(y) for part, y in table.y.items()} == {"train": 90, "validation": 30, "test": 30}
    assert table.split == "published test file"

    mask = np.zeros((120, 3), dtype=int)
    mask[[5, 7, 50], 1] = 1
    np.savetxt(tmp_path / "mask.csv", mask, fmt="%d", delimiter=",")
    described = {
        **spec,
        "test_mask": str(tmp_path / "mask.csv"),
        "fold": 1,
        "drop": ["kind"],
        "label": "signal",
    }
    table = load_table(described, NUMBERS)
    assert sorted(table.x["test"][:, 0]) == [5, 7, 50]  # by their ids
    assert sorted(np.concatenate([x[:, 0] for x in table.x.values()])) == list(range(120))
    assert table.split == "published split 1 of 3"

    table = load_table({**described, "test_mask": None, "train_rows": 100}, NUMBERS)
    assert sorted(table.x["test"][:, 0]) == list(range(100, 120))
    table = load_table({**described, "test_mask": None, "train_rows": 100, "rows": 60}, NUMBERS)
    assert sum(map(len, table.y.values())) == 60 and table.x["test"][:, 0].min() >= 100
    cut = load_table({**described, "test_mask": None, "train_rows": 90}, NUMBERS, rows=50)
    assert sum(map(len, cut.y.values())) == 50
    few = load_table("digits", problem_of("digits", None, None, None), rows=40)
    assert {part: len(y) for part, y in few.y.items()} == {"train": 24, "validation": 8, "test": 8}
    other = load_table({**described, "test_mask": None, "train_rows": 100}, NUMBERS, split_seed=1)
    assert sorted(other.x["test"][:, 0]) == list(range(100, 120))
    assert set(other.x["validation"][:, 0]) != set(table.x["validation"][:, 0])


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("wine", 13, 3), ("breast_cancer", 30, 2), ("digits", 64, 10), ("diabetes", 10, 0)],
)
def test_tables_of_scikit_learn_need_no_file_of_ones_own(name, shape, classes):
    table = load_table(name, problem_of(name, None, None, None))
    assert table.name == name and len(table.columns) == shape and table.classes == classes
    assert not np.isnan(table.x["train"]).any() and set(table.kinds) == {"q"}


def changed(change, column=None):
    """Return rows with one column replaced by `change` of its number."""
    parts = [line.split(",") for line in rows()]
    place = HEADER.split(",").index(column)
    return [",".join([*p[:place], change(i), *p[place + 1 :]]) for i, p in enumerate(parts)]


@pytest.mark.parametrize(
    ("lines", "more", "problem", "said"),
    [
        (None, {"label": "kind", "drop": ["id"]}, NUMBERS, "label: must be numbers for a regression.*'no'"),
        (None, {"label": "colour"}, NUMBERS, "label: must not be missing, but got '10 rows'"),
        (
            changed(lambda i: "yes", "kind"),
            {},
            CLASSES,
            "label: must have at least two classes, but got 'yes'",
        ),
        (
            changed(lambda i: "no" if i == ELSEWHERE else "yes", "kind"),
            {},
            CLASSES,
            "two classes in the training part",
        ),
        (changed(lambda i: "", "size"), {}, CLASSES, r"dataset\.size: must have a value.*drop: \[size\]"),
        (
            changed(lambda i: "1e60", "size"),
            {},
            CLASSES,
            r"dataset\.size: must be finite in single precision",
        ),
        (
            changed(lambda i: "inf", "signal"),
            {"label": "signal", "drop": []},
            NUMBERS,
            "label: must be finite",
        ),
        (changed(lambda i: "3", "signal"), {"label": "signal", "drop": []}, NUMBERS, "label: must vary"),
        (None, {"label": "id", "drop": []}, CLASSES, "label: must have at most half as many classes as rows"),
        (None, {"label": "kindly"}, CLASSES, "dataset.label: must be a column of"),
        (None, {"categories": ["id"]}, CLASSES, "dataset.categories: must name columns that are kept"),
        (None, {"categories": "id"}, CLASSES, "dataset.categories: must be a list of columns"),
        (None, {"drop": [*HEADER.split(",")[:5], "signal"]}, CLASSES, "dataset: must have a column besides"),
        (None, {"train_rows": 120}, CLASSES, "dataset.train_rows: must be below the number of rows, 120"),
        (
            None,
            {"train_rows": 60, "test_mask": "m.csv"},
            CLASSES,
            "dataset: must have one published test part",
        ),
        (None, {"train_rows": 119}, CLASSES, "at least 2 rows for every part"),
        (None, {"lable": "kind"}, CLASSES, "dataset: keys must be among .*did you mean .*'label'"),
        (None, {"test_table": "nowhere.csv"}, CLASSES, "dataset.test_table: must name a file that exists"),
        (None, {"fold": -1}, CLASSES, "dataset.fold: must be a whole number"),
    ],
)
def test_what_no_tree_could_learn_is_refused_in_one_line(tmp_path, lines, more, problem, said):
    (tmp_path / "m.csv").write_text("0\n")
    spec = {**write(tmp_path, lines=lines), **more}
    if "test_mask" in spec:
        spec["test_mask"] = str(tmp_path / spec["test_mask"])
    with pytest.raises(InvalidArgumentError, match=said) as refused:
        load_table(spec, problem)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("mask", "fold", "said"),
    [
        ("0\n1\n", 0, r"dataset.test_mask: must have 120 rows of 0 and 1.*shape \(2, 1\)"),
        ("0,1\n" * 120, 2, "dataset.fold: must be below the number of splits, 2"),
        ("0,1\n" * 120, 0, "dataset.fold: must have both parts"),
        ("0,2\n" * 120, 0, "dataset.test_mask: must have 120 rows of 0 and 1"),
    ],
)
def test_a_mask_that_is_none_is_refused(tmp_path, mask, fold, said):
    (tmp_path / "mask.csv").write_text(mask)
    with pytest.raises(InvalidArgumentError, match=said):
        load_table({**write(tmp_path), "test_mask": str(tmp_path / "mask.csv"), "fold": fold}, CLASSES)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [("wien", "did you mean 'wine'"), ({"tabel": "x"}, "must hold the key 'table'"), (3, "must be a table")],
)
def test_what_is_no_table_is_refused(dataset, said):
    with pytest.raises(InvalidArgumentError, match=f"^dataset: .*{said}"):
        load_table(dataset, CLASSES)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("wine", "regression", None, None), "^problem: must be that of 'wine'"),
        ((None, "ranking", None, None), "^problem: must be one of"),
        ((None, None, "squared_error", None), "^loss: must be one of 'cross_entropy', 'hinge'"),
        ((None, "regression", None, "accuracy"), "^score: must be one of 'r2', 'rmse'"),
        ((None, None, "hinge", "log_loss"), "^score: must be 'accuracy' with the loss 'hinge'"),
    ],
)
def test_a_loss_or_score_of_another_problem_is_refused(given, said):
    with pytest.raises(InvalidArgumentError, match=said):
        problem_of(*given)

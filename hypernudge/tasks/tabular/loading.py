"""Tables as trees take them: float32, NaN for what is missing, categories as codes, split into three parts.

A table is read once in a process: tasks on the same data share it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, package, require
from hypernudge.random import stream
from hypernudge.tasks.data.datasets import sklearn_file, split_indices
from hypernudge.tasks.data.tables import column_of, described_as, labels_of, read_frame
from hypernudge.tasks.tabular.description import TreeTable, check_dataset, files
from hypernudge.tasks.tabular.problems import CLASSIFICATION, Problem

if TYPE_CHECKING:
    import pandas as pd

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Raw:
    """A table as it was read: features `(n, d)`, target `(n,)`, and which rows are a published test part."""

    name: str
    features: pd.DataFrame
    target: np.ndarray
    test: np.ndarray | None
    how: str
    limit: int | None = None  # of rows, as described


@dataclass(frozen=True)
class Table:
    """A table, split.

    Attributes:
        name: Also its family: tasks on one table are one.
        classes: Number of classes, in the order of their labels; 0 for a regression.
        columns: Names of the features.
        kinds: `"q"` or, for codes of categories, `"c"` of each column, as XGBoost names them.
        x: Features by part, float32 `(n, d)`, NaN where missing.
        y: Target by part, float32 `(n,)`: class numbers, or the target standardised by the training part.
        unit: Standard deviation of a regression's target in the training part; 1 for classes.
        split: What the parts are.
    """

    name: str
    classes: int
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    x: dict[str, np.ndarray]
    y: dict[str, np.ndarray]
    unit: float
    split: str

    @property
    def outputs(self) -> int:
        """Trees of a round: one, or one per class where there are more than two."""
        return self.classes if self.classes > 2 else 1


def load_table(
    dataset: str | Mapping[str, Any], problem: Problem, split_seed: int = 0, rows: int | None = None
) -> Table:
    """Return a table for trees.

    Args:
        dataset: A key of `SHIPPED`, or the description of a table (`TreeTable`).
        problem: What its target is.
        split_seed: Of rows and parts: without a published test part 60 % training, 20 % validation and 20 %
            test; with one, a quarter of the rest is for validation.
        rows: At most so many rows, drawn by `split_seed`; those of the description where None.

    Raises:
        InvalidArgumentError: A file or column is not there, the target does not fit the problem (text for a
            regression, one class only, missing values), or a column has no value at all.
        MissingExtraError: pandas is not installed.
    """
    return _loaded(*key_of(dataset), problem.kind, split_seed, rows)


def key_of(dataset: str | Mapping[str, Any]) -> tuple[str, Stamp]:
    """Return what a table is known by: its description, and place, time and size of its files."""
    check_dataset(dataset)
    if isinstance(dataset, str):
        return json.dumps(dataset), ()
    paths = [path.resolve() for found in files(dataset).values() for path in found]
    stamp = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
    return json.dumps(dict(dataset), sort_keys=True, default=list), stamp


@lru_cache(maxsize=2)
def _loaded(described: str, stamp: Stamp, kind: str, split_seed: int, rows: int | None) -> Table:
    del stamp  # a file that has changed is read again
    dataset = json.loads(described)
    raw = _shipped(dataset) if isinstance(dataset, str) else _read(dataset)
    raw = _drawn(raw, raw.limit if rows is None else rows, split_seed)
    kinds, x = _features(raw.features)
    target, classes = _classes(raw.target) if kind == CLASSIFICATION else (_numbers(raw.target), 0)
    parts = _parts(len(target), raw.test, split_seed)
    y, unit = {part: target[index] for part, index in parts.items()}, 1.0
    if kind == CLASSIFICATION:
        some = len(np.unique(y["train"])) > 1
        rule = "must have two classes in the training part"
        require(some, "dataset.label", rule, "one", "take more rows, or another split_seed")
    else:
        mean, unit = float(y["train"].mean()), float(y["train"].std())
        require(unit > 0, "dataset.label", "must vary in the training part", mean, "choose another column")
        y = {part: (values - mean) / unit for part, values in y.items()}
    return Table(
        raw.name,
        classes,
        tuple(map(str, raw.features.columns)),
        kinds,
        {part: x[index] for part, index in parts.items()},
        {part: values.astype(np.float32) for part, values in y.items()},
        unit,
        raw.how,
    )


def _shipped(name: str) -> Raw:
    """Return a table whose file ships inside scikit-learn."""
    pandas = package("pandas", "tabular", "a table")
    if name == "diabetes":
        values = np.loadtxt(sklearn_file("diabetes_data_raw.csv.gz"))
        target = np.loadtxt(sklearn_file("diabetes_target.csv.gz"))
    else:
        path = sklearn_file({"digits": "digits.csv.gz", "wine": "wine_data.csv"}.get(name, f"{name}.csv"))
        table = np.loadtxt(path, delimiter=",", skiprows=0 if name == "digits" else 1)
        values, target = table[:, :-1], table[:, -1]
    return Raw(name, pandas.DataFrame(values), target, None, "60/20/20")


def _drawn(raw: Raw, rows: int | None, seed: int) -> Raw:
    """Return at most `rows` rows of a table, in their order."""
    count = len(raw.target)
    if rows is None or rows >= count:
        return raw
    kept = np.sort(stream(seed, "rows", count).permutation(count)[:rows])
    features = raw.features.iloc[kept].reset_index(drop=True)
    test = None if raw.test is None else raw.test[kept]
    return replace(raw, features=features, target=raw.target[kept], test=test)


def _read(dataset: Mapping[str, Any]) -> Raw:
    package("pandas", "tabular", "a table")
    of, paths = described_as(TreeTable, dataset), files(dataset)
    frame = read_frame(paths["table"], of.header)
    test, how = _published(of, paths, len(frame))
    if of.test_table is not None:
        frame, test, how = _joined(frame, read_frame(paths["test_table"], of.header))
    label = column_of(frame, of.label, "label")
    drop = [column_of(frame, column, "drop") for column in of.drop]
    categories = [column_of(frame, column, "categories") for column in of.categories]
    features = frame.drop(columns=[label, *drop])
    away = [str(name) for name in categories if name not in features.columns]
    require(not away, "dataset.categories", "must name columns that are kept", away, "correct them")
    features = features.astype(dict.fromkeys(categories, object))
    target = labels_of(frame[label], of.bins)
    name = of.name or paths["table"][0].name.split(".")[0]
    return Raw(name, features, target, test, how, of.rows)


def _published(
    of: TreeTable, paths: Mapping[str, Sequence[Path]], rows: int
) -> tuple[np.ndarray | None, str]:
    """Return which rows of the first files are the published test part, None where none is said."""
    if of.train_rows is not None:
        rule = f"must be below the number of rows, {rows}"
        require(of.train_rows < rows, "dataset.train_rows", rule, of.train_rows, "lower it")
        return np.arange(rows) >= of.train_rows, f"the first {of.train_rows} rows are for training"
    if of.test_mask is None:
        return None, "60/20/20"
    (path,) = paths["test_mask"]
    mask = read_frame([path], False).to_numpy()
    rule, remedy = f"must have {rows} rows of 0 and 1", "give the file of this table"
    ok = len(mask) == rows and bool(np.isin(mask, (0, 1)).all())
    require(ok, "dataset.test_mask", rule, f"{path.name} of shape {mask.shape}", remedy)
    rule = f"must be below the number of splits, {mask.shape[1]}"
    require(of.fold < mask.shape[1], "dataset.fold", rule, of.fold, "lower it")
    chosen = mask[:, of.fold].astype(bool)
    both = bool(chosen.any()) and not bool(chosen.all())
    require(both, "dataset.fold", "must have both parts", of.fold, "choose another")
    return chosen, f"published split {of.fold} of {mask.shape[1]}"


def _joined(frame: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, str]:
    import pandas as pd

    rule = "must have the columns of the table"
    same = list(frame.columns) == list(test.columns)
    require(same, "dataset.test_table", rule, [str(name) for name in test.columns][:8], "give its test part")
    joined = pd.concat([frame, test], ignore_index=True)
    return joined, np.arange(len(joined)) >= len(frame), "published test file"


def _classes(target: np.ndarray) -> tuple[np.ndarray, int]:
    names, numbers = np.unique(target, return_inverse=True)
    shown = str(names[0]) if len(names) else "no row"
    require(len(names) > 1, "dataset.label", "must have at least two classes", shown, "choose another column")
    rule = "must have at most half as many classes as rows"
    few = 2 * len(names) <= len(target)
    require(few, "dataset.label", rule, len(names), "write problem: regression, or choose another column")
    return numbers.astype(np.float64), len(names)


def _numbers(target: np.ndarray) -> np.ndarray:
    rule, remedy = "must be numbers for a regression", "write problem: classification, or choose another"
    example = str(target[0]) if len(target) else "no row"
    numeric = target.dtype.kind in "fiub" and len(target) > 0
    require(numeric, "dataset.label", rule, example, remedy)
    values = target.astype(np.float64)
    finite = bool(np.isfinite(values).all())
    require(finite, "dataset.label", "must be finite", "infinity", "remove those rows")
    return values


def _features(frame: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the kind of each column, and all of them as float32."""
    import pandas as pd

    require(frame.shape[1] > 0, "dataset", "must have a column besides the label", frame.shape, "add one")
    kinds, columns = [], []
    for name in frame.columns:
        column = frame[name]
        remedy = f"write drop: [{name}]"
        require(bool(column.notna().any()), f"dataset.{name}", "must have a value", "an empty column", remedy)
        numeric = pd.api.types.is_numeric_dtype(column)
        kinds.append("q" if numeric else "c")
        with np.errstate(over="ignore"):  # is infinite then, and refused below
            columns.append(column.to_numpy(dtype=np.float32, na_value=np.nan) if numeric else _codes(column))
        finite = not bool(np.isinf(columns[-1]).any())
        rule = "must be finite in single precision, or missing"
        require(finite, f"dataset.{name}", rule, "infinity", "scale the column, or leave the value empty")
    return tuple(kinds), np.stack(columns, axis=1)


def _codes(column: pd.Series[Any]) -> np.ndarray:
    """Return categories as whole numbers in the order of their names, NaN where missing."""
    import pandas as pd

    names = column.astype(str).str.strip().where(column.notna())
    codes = pd.Categorical(names).codes.astype(np.float32)
    codes[codes < 0] = np.nan
    return np.asarray(codes)


def _parts(rows: int, test: np.ndarray | None, seed: int) -> dict[str, np.ndarray]:
    if test is None:
        parts = split_indices(rows, seed)
    else:
        rest = np.flatnonzero(~test)
        order = rest[stream(seed, "split", len(rest)).permutation(len(rest))]
        train, validation = np.split(order, [len(order) - len(order) // 4])
        parts = {"train": train, "validation": validation, "test": np.flatnonzero(test)}
    for part, found in parts.items():
        if len(found) < 2:
            raise InvalidArgumentError(
                f"dataset: must leave at least 2 rows for every part, but got {len(found)} for {part} of "
                f"{rows} rows; give more"
            )
    return parts

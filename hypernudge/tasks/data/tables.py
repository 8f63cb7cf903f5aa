"""Tables in CSV files as data sets: a user's own, or a public one, described in a configuration file.

    task:
      name: supervised
      dataset: {table: adult.csv.gz, label: income, rows: 6000}
      model: {name: mlp, hidden: [32]}

Numeric columns are kept, every other column is one-hot encoded, missing values become the column's median.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hypernudge.errors import (
    InvalidArgumentError,
    is_real,
    require,
    require_flag,
    require_whole,
    unknown_name,
)
from hypernudge.random import stream
from hypernudge.tasks.data.files import find_file

if TYPE_CHECKING:
    import pandas as pd

OPTIONS = ("table", "label", "header", "drop", "rows", "cut", "name")


def read_table(spec: Mapping[str, Any], split_seed: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Return the name, the features `(n, d)` in float64 and the labels `(n,)` in int64 of a table.

    Args:
        spec: `table`: one file or a list of files with equal columns; `label`: the name or number (negative
            from the right) of the column to predict, the last one if absent; `header`: whether the first line
            holds names (default true); `drop`: columns to leave out; `rows`: at most so many rows, drawn by
            `split_seed`; `cut`: ascending edges that turn a numeric label into classes; `name`: for records.
        split_seed: Seed of the draw of rows.

    Raises:
        InvalidArgumentError: If the description, a file or a column is not what it must be.
    """
    unknown = sorted(set(spec) - set(OPTIONS))
    require(not unknown, "dataset", f"keys must be among {list(OPTIONS)}", unknown, "remove them")
    _check(spec)
    paths = files_of(spec)
    frame = _read(paths, bool(spec.get("header", True)))
    label = _column(frame, spec.get("label", -1), "label")
    drop = [_column(frame, column, "drop") for column in spec.get("drop", ())]
    y = _labels(frame[label], spec.get("cut"))
    x = _features(frame.drop(columns=[label, *drop]))
    rows = spec.get("rows")
    if rows is not None and rows < len(y):
        kept = np.sort(stream(split_seed, "rows", len(y)).permutation(len(y))[:rows])
        x, y = x[kept], y[kept]
    classes, y = np.unique(y, return_inverse=True)
    require(len(classes) > 1, "dataset.label", "must have at least two classes", label, "choose another")
    varying = x.max(0) > x.min(0)
    return str(spec.get("name", paths[0].name.split(".")[0])), x[:, varying], y.astype(np.int64)


def _check(spec: Mapping[str, Any]) -> None:
    """Refuse a description with unknown keys, or values of the wrong kind."""
    for key in spec:
        if key not in OPTIONS:
            raise unknown_name("dataset", key, OPTIONS, f"keys must be among {list(OPTIONS)}")
    if spec.get("rows") is not None:
        require_whole("dataset.rows", spec["rows"], 10, remedy="raise it, or leave it out")
    require_flag("dataset.header", spec.get("header", True))
    name, label = spec.get("name", "table"), spec.get("label", -1)
    require(isinstance(name, str), "dataset.name", "must be text", name, "leave it out for the file's")
    _check_columns("dataset.label", [label])
    drop = spec.get("drop", ())
    require(isinstance(drop, list | tuple), "dataset.drop", "must be a list of columns", drop, "write [name]")
    _check_columns("dataset.drop", drop)
    cut = spec.get("cut")
    if cut is not None:
        numbers = isinstance(cut, list | tuple) and len(cut) > 0 and all(map(is_real, cut))
        ascending = numbers and all(a < b for a, b in pairwise(cut))
        require(ascending, "dataset.cut", "must be a list of ascending numbers", cut, "correct it")


def _check_columns(where: str, columns: Sequence[object]) -> None:
    for column in columns:
        ok = isinstance(column, str | int) and not isinstance(column, bool)
        require(ok, where, "must be the name of a column, or its number", column, "correct it")


def files_of(spec: Mapping[str, Any]) -> list[Path]:
    """Return the files of a table, looked for in the working directory, then in `$HYPERNUDGE_DATA`.

    Raises:
        InvalidArgumentError: If one is in neither.
    """
    names = [spec["table"]] if isinstance(spec["table"], str) else spec["table"]
    ok = isinstance(names, list | tuple) and all(isinstance(n, str) and n and "\0" not in n for n in names)
    require(ok and len(names) > 0, "dataset.table", "must name at least one file", names, "add it")
    return [find_file(name, "dataset.table") for name in names]


def _read(paths: Sequence[Path], header: bool) -> pd.DataFrame:
    import pandas as pd

    try:
        parts = [
            pd.read_csv(path, header=0 if header else None, skipinitialspace=True, na_values=["?"])
            for path in paths
        ]
    except (ValueError, OSError) as error:
        remedy = "give a CSV file, compressed or not"
        raise InvalidArgumentError(
            f"dataset.table: must be readable, but {paths[0]}: {error}; {remedy}"
        ) from None
    columns = [list(part.columns) for part in parts]
    same = all(found == columns[0] for found in columns)
    require(same, "dataset.table", "files must have equal columns", [str(p) for p in paths], "list one")
    return pd.concat(parts, ignore_index=True)


def _column(frame: pd.DataFrame, column: str | int, option: str) -> Any:
    names = list(frame.columns)
    if column in names:
        return column
    if isinstance(column, int) and -len(names) <= column < len(names):
        return names[column]
    shown = [str(name) for name in names[:8]] + (["..."] if len(names) > 8 else [])
    raise InvalidArgumentError(
        f"dataset.{option}: must be a column of {shown}, or its number, but got {column!r}; correct it"
    )


def _labels(column: pd.Series[Any], cut: Sequence[float] | None) -> np.ndarray:
    import pandas as pd

    missing = int(column.isna().sum())
    require(missing == 0, "dataset.label", "must not be missing", f"{missing} rows", "remove those rows")
    if cut is not None:
        numeric = pd.api.types.is_numeric_dtype(column)
        require(numeric, "dataset.cut", "needs a numeric label", str(column.dtype), "leave it out")
        return np.asarray(np.digitize(column.to_numpy(dtype=float), np.asarray(cut, dtype=float)))
    if pd.api.types.is_numeric_dtype(column):
        return np.asarray(column.to_numpy())
    # Some public files end the labels of one of their parts in a full stop.
    return column.astype(str).str.strip(" .'\"").to_numpy(dtype=str)


def _features(frame: pd.DataFrame) -> np.ndarray:
    import pandas as pd

    numeric = [name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])]
    others = [name for name in frame.columns if name not in numeric]
    parts = [frame[numeric].astype(float).fillna(frame[numeric].median())]
    if others:
        parts.append(pd.get_dummies(frame[others].astype(str).apply(lambda c: c.str.strip()), dtype=float))
    return np.asarray(pd.concat(parts, axis=1).to_numpy(dtype=np.float64))

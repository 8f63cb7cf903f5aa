"""Tables in CSV files as data sets: a user's own, or a public one, described in a configuration file.

    task:
      name: supervised
      dataset: {table: adult.csv.gz, label: income, rows: 6000}
      model: {name: mlp, hidden: [32]}

Numeric columns are kept, every other column is one-hot encoded, missing values become the column's median.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
from hypernudge.renamed import accepts, present_names
from hypernudge.tasks.data.files import find_file

if TYPE_CHECKING:
    import pandas as pd


@accepts(bins="cut")
@dataclass(frozen=True)
class Description:
    """What a configuration says of a table.

    Attributes:
        table: One file or a list of files with equal columns.
        label: Name or number (negative from the right) of the column to predict.
        header: Whether the first line holds names.
        drop: Columns to leave out.
        rows: At most so many rows, drawn by the split's seed.
        bins: Ascending edges that turn a numeric label into classes.
        name: For records; the file's if empty.

    Raises:
        InvalidArgumentError: A value is of the wrong kind.
    """

    table: str | Sequence[str]
    label: str | int = -1
    header: bool = True
    drop: Sequence[str | int] = ()
    rows: int | None = None
    bins: Sequence[float] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.rows is not None:
            require_whole("dataset.rows", self.rows, 10, remedy="raise it, or leave it out")
        require_flag("dataset.header", self.header)
        named = isinstance(self.name, str)
        require(named, "dataset.name", "must be text", self.name, "leave it out for the file's")
        check_columns("dataset.label", [self.label])
        check_columns("dataset.drop", self.drop)
        if (bins := self.bins) is not None:
            numbers = isinstance(bins, list | tuple) and len(bins) > 0 and all(map(is_real, bins))
            ascending = numbers and all(a < b for a, b in pairwise(bins))
            require(ascending, "dataset.bins", "must be a list of ascending numbers", bins, "correct it")


D = TypeVar("D", bound=Description)


def described(spec: Mapping[str, Any]) -> Description:
    """Return the description of a table, checked; the files are not looked for.

    Raises:
        InvalidArgumentError: It has an unknown key, or a value of the wrong kind.
    """
    return described_as(Description, spec)


def described_as(kind: type[D], spec: Mapping[str, Any]) -> D:
    """Return a description of some kind, checked as by `described`."""
    options = [option.name for option in fields(kind)]
    known = (*options, *present_names(kind))
    for key in spec:
        if key not in known:
            raise unknown_name("dataset", key, known, f"keys must be among {options}")
    return kind(**spec)


def read_table(spec: Mapping[str, Any], split_seed: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Return the name, the features `(n, d)` in float64 and the labels `(n,)` in int64 of a table.

    Args:
        spec: See `Description`.
        split_seed: Seed of the draw of rows.

    Raises:
        InvalidArgumentError: If the description, a file or a column is not what it must be.
    """
    of = described(spec)
    paths = files_of(spec)
    frame = read_frame(paths, of.header)
    label = column_of(frame, of.label, "label")
    drop = [column_of(frame, column, "drop") for column in of.drop]
    y = labels_of(frame[label], of.bins)
    x = _features(frame.drop(columns=[label, *drop]))
    if of.rows is not None and of.rows < len(y):
        kept = np.sort(stream(split_seed, "rows", len(y)).permutation(len(y))[: of.rows])
        x, y = x[kept], y[kept]
    classes, y = np.unique(y, return_inverse=True)
    require(len(classes) > 1, "dataset.label", "must have at least two classes", label, "choose another")
    varying = x.max(0) > x.min(0)
    return of.name or paths[0].name.split(".")[0], x[:, varying], y.astype(np.int64)


def check_columns(where: str, columns: Any) -> None:
    """Refuse what is no list of names and numbers of columns."""
    require(isinstance(columns, list | tuple), where, "must be a list of columns", columns, "write [name]")
    for column in columns:
        ok = isinstance(column, str | int) and not isinstance(column, bool)
        require(ok, where, "must be the name of a column, or its number", column, "correct it")


def files_of(spec: Mapping[str, Any], key: str = "table") -> list[Path]:
    """Return the files of a table, looked for in the working directory, then in `$HYPERNUDGE_DATA`.

    Raises:
        InvalidArgumentError: If one is in neither.
    """
    names, where = [spec[key]] if isinstance(spec[key], str) else spec[key], f"dataset.{key}"
    ok = isinstance(names, list | tuple) and all(isinstance(n, str) and n and "\0" not in n for n in names)
    require(ok and len(names) > 0, where, "must name at least one file", names, "add it")
    return [find_file(name, where) for name in names]


def read_frame(paths: Sequence[Path], header: bool) -> pd.DataFrame:
    """Return the rows of CSV files, one after the other; `?` is a missing value.

    Raises:
        InvalidArgumentError: A file cannot be read, or two differ in their columns.
    """
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


def column_of(frame: pd.DataFrame, column: str | int, option: str) -> Any:
    """Return the name of a column that is given by name, or by number (negative from the right).

    Raises:
        InvalidArgumentError: There is none; `option` is what the user has named.
    """
    names = list(frame.columns)
    if column in names:
        return column
    if isinstance(column, int) and -len(names) <= column < len(names):
        return names[column]
    shown = [str(name) for name in names[:8]] + (["..."] if len(names) > 8 else [])
    raise InvalidArgumentError(
        f"dataset.{option}: must be a column of {shown}, or its number, but got {column!r}; correct it"
    )


def labels_of(column: pd.Series[Any], bins: Sequence[float] | None) -> np.ndarray:
    """Return a label's column as numbers or as text; with `bins`, as the number of its bin.

    Raises:
        InvalidArgumentError: A value is missing, or `bins` are of text.
    """
    import pandas as pd

    missing = int(column.isna().sum())
    require(missing == 0, "dataset.label", "must not be missing", f"{missing} rows", "remove those rows")
    if bins is not None:
        numeric = pd.api.types.is_numeric_dtype(column)
        require(numeric, "dataset.bins", "needs a numeric label", str(column.dtype), "leave it out")
        return np.asarray(np.digitize(column.to_numpy(dtype=float), np.asarray(bins, dtype=float)))
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

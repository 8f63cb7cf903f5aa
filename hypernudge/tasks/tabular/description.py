"""What a configuration says of a table for trees: files, columns, and where its test part is.

    dataset: {table: data.csv.gz, label: income, test_table: test.csv.gz}

Files are looked for in the working directory, then in `$HYPERNUDGE_DATA`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.errors import require, require_whole, unknown_name
from hypernudge.tasks.data.tables import Description, check_columns, described_as, files_of
from hypernudge.tasks.tabular.problems import SHIPPED

FILES = ("table", "test_table", "test_mask")


@dataclass(frozen=True)
class TreeTable(Description):
    """A table whose missing values and categories stay what they are.

    Attributes:
        categories: Columns of numbers that are codes of categories; columns of text are categories anyway.
        test_table: Files whose rows are the published test part.
        test_mask: A file without header of 0 and 1, a row for each row of the table and a column for each
            published split: 1 is the test part.
        fold: Which column of `test_mask`.
        train_rows: So many first rows are the published training part, the others the test part.

    Raises:
        InvalidArgumentError: A value is of the wrong kind, or two test parts are given.
    """

    categories: Sequence[str | int] = ()
    test_table: str | Sequence[str] | None = None
    test_mask: str | None = None
    fold: int = 0
    train_rows: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns("dataset.categories", self.categories)
        require_whole("dataset.fold", self.fold, 0)
        if self.train_rows is not None:
            require_whole("dataset.train_rows", self.train_rows, 10)
        given = [n for n in ("test_table", "test_mask", "train_rows") if getattr(self, n) is not None]
        require(len(given) < 2, "dataset", "must have one published test part", given, "keep one of them")


def check_dataset(dataset: Any) -> None:
    """Refuse what describes no table, or names files that are not there; nothing is read.

    Raises:
        InvalidArgumentError: In one line.
    """
    if isinstance(dataset, Mapping) and "table" in dataset:
        described_as(TreeTable, dataset)
        files(dataset)
    elif isinstance(dataset, Mapping):
        require(False, "dataset", "must hold the key 'table' with a file", dict(dataset), "add it")
    elif not isinstance(dataset, str) or dataset not in SHIPPED:
        rule = "must be a table that scikit-learn has, or a mapping with `table`"
        raise unknown_name("dataset", dataset, SHIPPED, rule)


def files(dataset: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Return the files of a table by key.

    Raises:
        InvalidArgumentError: If one is not there.
    """
    return {key: files_of(dataset, key) for key in FILES if dataset.get(key) is not None}

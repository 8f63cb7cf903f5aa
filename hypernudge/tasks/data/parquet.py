"""Parquet files as data sets on the Hugging Face hub arrange them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, one_line


def parquet_files(folder: Path, parts: Sequence[str]) -> list[Path]:
    """Return the files `PART.parquet` or `PART-*.parquet` of the first of `parts` that is there.

    They are looked for in the folder itself, then in each folder below it.
    """
    for part in parts:
        for place in (folder, *subfolders(folder)):
            files = sorted([*place.glob(f"{part}.parquet"), *place.glob(f"{part}-*.parquet")])
            if files:
                return files
    return []


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in `folder` by name, hidden ones left out; none if it is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def batches(table: Any, path: Path, argument: str, **options: Any) -> Iterator[Any]:
    """Yield the record batches of an open file.

    Args:
        table: From `open_parquet`.
        path: The file.
        argument: What the user has named, for errors.
        **options: Of `ParquetFile.iter_batches`.

    Raises:
        InvalidArgumentError: The file is damaged.
    """
    found = table.iter_batches(**options)
    while True:
        try:
            batch = next(found, None)
        except (OSError, ValueError) as error:
            raise _unreadable(path, argument, error) from None
        if batch is None:
            return
        yield batch


def _unreadable(path: Path, argument: str, error: Exception) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{argument}: {path} must be a Parquet file, but {one_line(error)}; replace it"
    )


def open_parquet(path: Path, argument: str) -> Any:
    """Return a `pyarrow.parquet.ParquetFile`.

    Args:
        path: The file.
        argument: What the user has named, for errors.

    Raises:
        InvalidArgumentError: pyarrow is not installed, or the file is no Parquet file.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise InvalidArgumentError(
            f"{argument}: needs pyarrow to read Parquet files, which is not installed; pip install "
            "'hypernudge[parquet]'"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, argument, error) from None

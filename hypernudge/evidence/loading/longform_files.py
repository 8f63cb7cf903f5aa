"""Long-form files, read as they stand: a frame, and the line of the file at which every row begins.

What a spreadsheet makes of a table is read too: a byte order mark, semicolons or tabs for commas, quotes,
blank lines.
"""

from __future__ import annotations

import contextlib
import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.loading.csvtext import unguarded
from hypernudge.evidence.loading.issue import Issue

SUFFIXES = (".csv", ".parquet", ".jsonl")
REQUIRED = ("task", "variation", "seed", "time", "score")
OPTIONAL = ("trial", "scheduler", "hardware")
CONFIG = "config."
"""What columns of hyper-parameters begin with; `hypernudge prior build` reads them, `compare` does not."""
_LABELS = ("task", "variation", "scheduler", "trial", "hardware")
_LONGEST_FIELD = 10_000_000  # characters
_MOST_DIGITS = 300  # of a finite number
_SEPARATORS = (",", ";", "\t")
# What says "no number". Not among names: a variation may well be called None or NA.
_NO_NUMBER = ["", "NaN", "nan", "-nan", "-NaN", "NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "None"]


@dataclass(frozen=True)
class RawRows:
    """Rows as they stand in a file, unchecked.

    Attributes:
        frame: One row each, columns as in the file.
        lines: shape (n,), where each row begins; the header of a CSV is line 1, as editors count. In Parquet,
            which has no lines, the first row is 1.
        problems: Doubts about the file as a whole.
    """

    frame: pd.DataFrame
    lines: NDArray[np.int64]
    problems: tuple[Issue, ...] = ()


def read_rows(path: Path) -> RawRows:
    """Read a CSV, Parquet or JSONL file.

    Raises:
        InvalidArgumentError: The file is missing, has another suffix, or is not what its suffix says; the
            message names the row where there is one.
    """
    remedy = "check the path" if not path.is_dir() else "a results directory is read by `hypernudge report`"
    require(path.is_file(), "FILE", "must be a file that exists", str(path), remedy)
    suffix = path.suffix.lower()
    require(suffix in SUFFIXES, "FILE", f"must end in one of {SUFFIXES}", path.name, "convert or rename it")
    read = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}[suffix]
    try:
        return read(path)
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    except (OSError, NotImplementedError, csv.Error) as error:
        reason = _line(error)
    raise InvalidArgumentError(f"FILE: {path.name} cannot be read: {reason}; write it again, in UTF-8")


@contextlib.contextmanager
def wide_fields() -> Iterator[None]:
    """Let `csv` read fields as long as files hold them: notes, or text that was logged."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def check_once(names: Sequence[str], where: str) -> None:
    """Refuse columns that stand there twice: nobody can tell which is meant.

    Raises:
        InvalidArgumentError: One of the columns that are read is there more than once.
    """
    for name in (*REQUIRED, *OPTIONAL):
        count = list(names).count(name)
        require(
            count < 2, f"{where}, column {name}", "must be there once", count, "rename or drop the others"
        )


def _is_text(name: str) -> bool:
    """Whether what a column holds is text, or may be, so that `None` is a value of it."""
    return name.strip() in _LABELS or name.strip().startswith(CONFIG)


def _read_csv(path: Path) -> RawRows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
    separator = max(_SEPARATORS, key=first.count)
    names = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
    require(any(names), "FILE, row 1", "must be a header", first.strip(), "name the columns there")
    stripped = [name.strip() for name in names]
    check_once(stripped, "FILE, row 1")
    try:
        frame = pd.read_csv(
            path,
            sep=separator,
            encoding="utf-8-sig",
            float_precision="round_trip",
            skip_blank_lines=False,
            skipinitialspace=True,
            low_memory=False,
            keep_default_na=False,
            na_values={name: _NO_NUMBER for name in names if not _is_text(name)},
            dtype={name: "category" for name in names if name.strip() in _LABELS},
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        fields = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        if fields is not None:
            wanted, row, found = map(int, fields.groups())
            rule = f"must have {wanted} fields, as many as the header"
            require(False, f"FILE, row {row}", rule, found, "quote fields that hold a separator")
        raise InvalidArgumentError(f"FILE: {path.name} must be CSV, but: {_line(error)}; fix it") from None
    regular = isinstance(frame.index, pd.RangeIndex)
    rule = f"must have {len(names)} fields, as many as the header"
    require(
        regular, "FILE, row 2", rule, "more", "quote fields that hold a separator, or complete the header"
    )
    frame.columns = pd.Index(stripped)
    for name in _LABELS:
        if name in frame.columns:
            frame[name] = unguarded(frame[name])
    data = path.read_bytes()
    whole = data.endswith((b"\n", b"\r"))
    last = frame.iloc[:, -1] if len(frame) else pd.Series(dtype=float)
    hollow = bool(last.isna().any()) or bool((last == "").any())
    if hollow or data.count(b"\n") + (not whole) != len(frame) + 1:
        frame, lines = _line_by_line(path, separator, len(names), frame)
    else:
        lines = np.arange(2, len(frame) + 2, dtype=np.int64)
    if whole or not len(frame):
        return RawRows(frame, lines)
    rule = "the file does not end with a line break: it may be truncated"
    return RawRows(frame, lines, (Issue(f"row {lines[-1]}", rule, "read as it stands"),))


def _line_by_line(
    path: Path, separator: str, width: int, frame: pd.DataFrame
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Where every row begins, for files in which rows are not lines; blank lines are left out.

    Raises:
        InvalidArgumentError: A row has fewer fields than the header, as the last one of a truncated file.
    """
    begins, counts, next_line = [], [], 1
    with wide_fields(), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
        for fields in reader:
            begins.append(next_line)
            counts.append(len(fields))
            next_line = reader.line_num + 1
    lines, fields_of = np.array(begins[1:], dtype=np.int64), np.array(counts[1:])
    short = np.flatnonzero((fields_of > 0) & (fields_of < width))
    if short.size:
        rule = f"must have {width} fields, as many as the header"
        remedy = "the file may be truncated there: write it again"
        require(False, f"FILE, row {lines[short[0]]}", rule, int(fields_of[short[0]]), remedy)
    kept = fields_of > 0
    return frame[kept], lines[kept]


def _read_jsonl(path: Path) -> RawRows:
    rows, numbers = [], []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_int=_whole)
            except (ValueError, RecursionError) as error:
                raise InvalidArgumentError(
                    f"FILE, row {number}: must be JSON, but: {_line(error)}; fix it, or drop it if truncated"
                ) from None
            where = f"FILE, row {number}"
            require(isinstance(row, dict), where, "must be a JSON object", row, "write one object per line")
            missing = [name for name in REQUIRED if name not in row]
            require(not missing, where, f"must have the keys {', '.join(missing)}", sorted(row), "add them")
            rows.append(row)
            numbers.append(number)
    return RawRows(pd.DataFrame(rows), np.array(numbers, dtype=np.int64))


def _whole(digits: str) -> int | str:
    """A whole number, or the text of one that no column of numbers can hold."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _read_parquet(path: Path) -> RawRows:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InvalidArgumentError(
            "FILE: reading Parquet needs pyarrow, which is not installed; "
            "install hypernudge[parquet], or convert the file to CSV"
        ) from None
    try:
        # Without pandas' own metadata an index comes back as the columns that it was made of.
        frame = pyarrow.parquet.ParquetFile(path).read().to_pandas(ignore_metadata=True)
    except Exception as error:  # a damaged file may break pyarrow and pandas in any way
        reason = _line(error)
        raise InvalidArgumentError(
            f"FILE: {path.name} must be Parquet, but: {reason}; write it again"
        ) from None
    return RawRows(frame, np.arange(1, len(frame) + 1, dtype=np.int64))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())

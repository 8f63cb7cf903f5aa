"""Exports of W&B as tables of text: CSV or JSONL, with the header as it stands, repeated columns and all."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.runs import line, number, parse_json, read_text
from hypernudge.evidence.loading.longform_files import wide_fields
from hypernudge.evidence.loading.wording import number_remedy


@dataclass(frozen=True)
class Table:
    """Rows of a file.

    Attributes:
        where: The file, for messages.
        names: One per column; the same name may stand there twice.
        rows: One list per row, as long as `names`; None or empty text where nothing was logged.
        lines: Where each row begins in the file.
    """

    where: str
    names: list[str]
    rows: list[list[Any]]
    lines: list[int]

    def place(self, name: str) -> int:
        """Index of a column that must stand there once.

        Raises:
            InvalidArgumentError: It stands there twice.
        """
        count = self.names.count(name)
        require(count == 1, f"{self.where}, column {name}", "must be there once", count, "rename the others")
        return self.names.index(name)

    def numbers(self, place: int, rows: Sequence[int], dates: bool = False) -> list[float | None]:
        """Values of a column in some rows; None where nothing was logged, NaN where that was what was.

        Args:
            place: Of the column.
            rows: Which.
            dates: Whether ISO dates are read as well, as Unix seconds.

        Raises:
            InvalidArgumentError: A text is no number.
        """
        values: list[float | None] = []
        for row in rows:
            given = self.rows[row][place]
            if is_empty(given):
                values.append(None)
                continue
            value = number(given)
            if value is None and dates:
                value = _seconds(str(given))
            where = f"{self.where}, row {self.lines[row]}, column {self.names[place]}"
            require(value is not None, where, "must be a number", given, number_remedy(str(given)))
            values.append(value)
        return values

    def numeric(self) -> list[str]:
        """Names of the columns that hold numbers, of whatever is there."""
        found = []
        for place, name in enumerate(self.names):
            given = [row[place] for row in self.rows if not is_empty(row[place])]
            if given and all(number(value) is not None for value in given):
                found.append(name)
        return found


def is_empty(value: Any) -> bool:
    """Whether nothing was logged there: unlike NaN, which says that the run diverged."""
    return value is None or (isinstance(value, str) and not value.strip())


def read_table(file: Path) -> Table:
    """Read a CSV or JSONL export.

    Raises:
        InvalidArgumentError: It is not what its suffix says.
    """
    text = read_text(file)
    require("\0" not in text, "SOURCE", f"{file} must be text", "a NUL", "export it again")
    return _jsonl(file, text) if file.suffix.lower() == ".jsonl" else _csv(file, text)


def _csv(file: Path, text: str) -> Table:
    first = text.partition("\n")[0]
    separator = max((",", ";", "\t"), key=first.count)
    rows, lines, begin = [], [], 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        with wide_fields():
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(begin)
                begin = reader.line_num + 1
    except csv.Error as error:
        reason = line(error)
        raise InvalidArgumentError(
            f"SOURCE: {file}, row {begin} must be CSV, but: {reason}; export it again"
        ) from None
    require(bool(rows), "SOURCE", f"{file} must have a header", "nothing", "export it again")
    names = [name.strip() for name in rows[0]]
    for row, where in zip(rows[1:], lines[1:], strict=True):
        rule = f"must have {len(names)} fields, as many as the header"
        remedy = "the file is damaged there: export it again"
        require(len(row) == len(names), f"SOURCE: {file}, row {where}", rule, len(row), remedy)
    return Table(str(file), names, list(rows[1:]), lines[1:])


def _jsonl(file: Path, text: str) -> Table:
    objects, lines = [], []
    for place, content in enumerate(text.splitlines(), 1):
        if not content.strip():
            continue
        where = f"{file}, row {place}"
        loaded = parse_json(content, where, "remove the broken line")
        require(isinstance(loaded, dict), where, "must be a JSON object", content[:80], "export it again")
        objects.append(loaded)
        lines.append(place)
    return table_of(str(file), objects, lines)


def table_of(where: str, objects: list[dict[str, Any]], lines: list[int] | None = None) -> Table:
    """A table of JSON objects; keys that one lacks were not logged there."""
    names = list(dict.fromkeys(key for entry in objects for key in entry))
    rows = [[entry.get(name) for name in names] for entry in objects]
    return Table(where, names, rows, list(range(1, len(rows) + 1)) if lines is None else lines)


def _seconds(text: str) -> float | None:
    """Unix seconds of an ISO date; without a zone it is taken for UTC, as W&B writes them."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    return seconds if math.isfinite(seconds) else None

"""What a page shows, part by part, each with the version in which it changed last: only that is sent."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["text", "number"]
Cell = str | float | int | None


@dataclass
class Table:
    """A table that grows: rows are told apart by their place.

    Attributes:
        name: Its name, for addresses and tests.
        title: What is written above it.
        columns: Name and kind of each column.
        rows: A cell for each column, then the address that the row leads to, or None.
        changed: Version in which each row changed last.
        order: Place of the column that it is sorted by at first, and whether downwards; as it is if absent.
    """

    name: str
    title: str
    columns: list[tuple[str, Kind]] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    order: tuple[int, bool] | None = None


class Board:
    """The parts of a page.

    Attributes:
        version: Grows with every change.
    """

    def __init__(self) -> None:
        self._run = secrets.token_hex(4)  # versions of a server that was started again are not these
        self.version = 0
        self._parts: dict[str, tuple[int, Any]] = {}
        self._charts: dict[str, tuple[int, dict[str, Any]]] = {}
        self._tables: dict[str, Table] = {}
        self._columns: dict[str, int] = {}

    def set(self, name: str, value: Any) -> None:
        """Set a part: a title, facts, notes."""
        if name not in self._parts or self._parts[name][1] != value:
            self.version += 1
            self._parts[name] = self.version, value

    def set_chart(self, chart: dict[str, Any]) -> None:
        """Set a chart, by its name."""
        name = chart["name"]
        if name not in self._charts or self._charts[name][1] != chart:
            self.version += 1
            self._charts[name] = self.version, chart

    def set_table(
        self,
        name: str,
        title: str,
        columns: Sequence[tuple[str, Kind]],
        rows: Sequence[Sequence[Cell]],
        order: tuple[int, bool] | None = None,
    ) -> None:
        """Set a table, by its name; what did not change of it is not sent again."""
        table = self._tables.get(name)
        if table is None or table.columns != list(columns) or len(rows) < len(table.rows):
            self.version += 1
            table = self._tables[name] = Table(name, title, list(columns), order=order)
            self._columns[name] = self.version
        if all(before == list(now) for before, now in zip(table.rows, rows, strict=False)):
            added = len(rows) - len(table.rows)
            self.version += added > 0
        else:
            self.version += 1
        for place, row in enumerate(rows):
            if place == len(table.rows):
                table.rows.append(list(row))
                table.changed.append(self.version)
            elif table.rows[place] != list(row):
                table.rows[place] = list(row)
                table.changed[place] = self.version

    def since(self, mark: str = "") -> dict[str, Any] | None:
        """Return what changed since a mark, with the next mark; all of it for another; None if nothing."""
        run, _, number = mark.partition("-")
        version = int(number) if run == self._run and number.isdecimal() else -1
        if version >= self.version:
            return None
        return {
            "mark": f"{self._run}-{self.version}",
            "whole": version < 0,
            **{name: value for name, (changed, value) in self._parts.items() if changed > version},
            "charts": [chart for changed, chart in self._charts.values() if changed > version],
            "tables": [self._table(table, version) for table in self._tables.values()],
        }

    def _table(self, table: Table, version: int) -> dict[str, Any]:
        anew = self._columns[table.name] > version
        own = -1 if anew else version
        places = [place for place, changed in enumerate(table.changed) if changed > own]
        return {
            "name": table.name,
            "title": table.title,
            "anew": anew,
            "columns": [list(column) for column in table.columns],
            "order": list(table.order) if table.order else None,
            "places": places,
            "rows": [table.rows[place] for place in places],
        }

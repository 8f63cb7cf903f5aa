"""What `hypernudge compare` writes: figures, tables in three formats, and all of it as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.report.compact import Page
from hypernudge.evidence.report.formats import write_table
from hypernudge.evidence.report.gallery import TABLE_TOPICS, draw_all
from hypernudge.evidence.report.html import comparison_page
from hypernudge.evidence.report.tables import Table, comparison_table, criterion_table, sensitivity_table
from hypernudge.results.files import write_text

Event = dict[str, Any]

UNKNOWN = ("overhead %", "wall fee %", "memory ratio", "wall ratio")
"""Columns that scores over time say nothing of."""


def draw(evaluated: EvaluatedStudy, directory: Path, page: Page | None = None) -> Iterator[Event]:
    """Draw the figures into `directory` and, where one is given, on a page; yield an event for each.

    Raises:
        OSError: One cannot be written.
    """
    for file, caption in draw_all(evaluated, directory, TABLE_TOPICS, page=page):
        yield {"event": "figure", "name": file.name, "file": file, "shows": caption}


def write_all(evaluated: EvaluatedStudy, directory: Path, *, minimise: bool = False) -> Iterator[Event]:
    """Write `tables/`, `figures/` and `report.html` into `directory`; yield an event for each file written.

    Args:
        evaluated: A study that was made from a table.
        directory: Where they go; what has the same name there is replaced.
        minimise: Whether scores were negated, so that targets have to be turned back.

    Raises:
        OSError: One cannot be written.
    """
    tables = [_known(table) for table in _tables(evaluated, minimise) if len(table.frame)]
    for table in tables:
        for file in write_table(table, directory / "tables"):
            yield {"event": "table", "name": file.name, "file": file, "shows": table.caption}
    page = Page()
    yield from draw(evaluated, directory / "figures", page)
    path = directory / "report.html"
    write_text(path, comparison_page(evaluated, tables, page))
    yield {"event": "report", "file": path, "shows": "everything in one HTML file"}


def _tables(evaluated: EvaluatedStudy, minimise: bool) -> Iterator[Table]:
    yield comparison_table(evaluated.comparisons)
    yield criterion_table(evaluated.criteria)
    grid = sensitivity_table(evaluated.study, evaluated.comparisons)
    if minimise:
        grid.frame["target"] *= -1
    yield grid


def _known(table: Table) -> Table:
    kept = [name for name in table.frame.columns if name not in UNKNOWN]
    return Table(table.name, table.caption, table.frame[kept])

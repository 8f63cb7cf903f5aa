"""All pages of a folder: the list of what it holds, and a page for each study, experiment and cell."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from hypernudge.dash.board import Board, Cell, Kind
from hypernudge.dash.discovery import Source, check_folder, sources
from hypernudge.dash.experiment_view import ExperimentView
from hypernudge.dash.following import StudyFollower
from hypernudge.dash.study_view import StudyView
from hypernudge.errors import InvalidArgumentError
from hypernudge.results.printable import printable
from hypernudge.results.studies import FILE

View = StudyView | ExperimentView
_COLUMNS: list[tuple[str, Kind]] = [
    *(("name", "text"), ("kind", "text"), ("state", "text"), ("what it is", "text")),
]
_RESCAN = 2.0  # seconds
_TIME = 1.0  # seconds that a list may take; what was not looked at comes next time


class Site:
    """What is shown of a folder.

    Args:
        folder: With studies or results, or itself one.

    Raises:
        InvalidArgumentError: If it is no folder.
    """

    def __init__(self, folder: Path) -> None:
        check_folder(folder)
        self.folder = folder
        self._sources: dict[str, Source] = {}
        self._views: dict[str, View] = {}
        self._said: dict[str, tuple[str, str]] = {}
        self._board = Board()
        self._board.set("kind", "list")
        self._board.set("title", printable(folder.resolve().name or str(folder)))
        self._lock = threading.Lock()
        self._next, self._turn = 0.0, 0

    def data(self, mark: str = "", *, whole: bool = False) -> dict[str, Any] | None:
        """Return the list of what there is, or what changed of it since a mark."""
        with self._lock:
            if whole or time.monotonic() >= self._next:
                self._scan()
                self._look(whole=whole)
                self._next = time.monotonic() + _RESCAN
            return self._board.since(mark)

    def view(self, name: str) -> View | None:
        """Return the page of a source by its id; None if there is none."""
        with self._lock:
            if name not in self._sources:
                self._scan()
            return self._view(name)

    def page(self, parts: list[str]) -> Site | View | None:
        """Return what an address leads to: nothing, a source, or a source, a variation and a seed."""
        if not parts:
            return self
        view = self.view(parts[0])
        if view is None or len(parts) == 1:
            return view
        if len(parts) != 3 or not isinstance(view, ExperimentView) or not parts[2].isdecimal():
            return None
        try:
            return view.cell(parts[1], int(parts[2][:19]))
        except (InvalidArgumentError, OSError):
            return None

    def exported(self) -> dict[str, Any]:
        """Return all pages by their addresses, but for those of cells."""
        listed = self.data(whole=True)
        pages = {name: self.view(name) for name in self._sources}
        return {
            "": listed,
            **{name: view.data(whole=True) for name, view in pages.items() if view is not None},
        }

    def _view(self, name: str) -> View | None:
        source = self._sources.get(name)
        if source is None:
            return None
        if name not in self._views:
            self._views[name] = (
                StudyView(StudyFollower(source.path / FILE), source.path, source.name)
                if source.kind == "study"
                else ExperimentView(source.path, source.name)
            )
        return self._views[name]

    def _scan(self) -> None:
        self._sources = {source.id: source for source in sources(self.folder)}
        for gone in self._views.keys() - self._sources.keys():
            del self._views[gone]

    def _look(self, *, whole: bool) -> None:
        names = list(self._sources)
        begun = time.monotonic()
        for _ in range(len(names)):
            self._turn = (self._turn + 1) % len(names)
            view = self._view(names[self._turn])
            if view is not None:
                self._said[names[self._turn]] = view.summary()
            if not whole and time.monotonic() - begun > _TIME:
                break
        rows: list[list[Cell]] = []
        for name, source in self._sources.items():
            state, said = self._said.get(name, ("", "not looked at yet"))
            rows.append([printable(source.name), source.kind, state, said, name])
        self._board.set_table("sources", "Studies and experiments", _COLUMNS, rows)
        self._board.set("notes", [] if rows else ["nothing here yet: it is shown as soon as it begins"])

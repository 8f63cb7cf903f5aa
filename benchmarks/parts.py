"""Results in parts or rows, kept as they are found: a long benchmark that was ended goes on with the rest."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypernudge.errors import require
from hypernudge.harness.cells.provenance import provenance
from hypernudge.results.files import write_text


class Parts:
    """The parts of a benchmark's result.

    Args:
        path: A file of JSON, which may be there already; None keeps nothing.
        settings: What determines the result, as JSON has it.

    Raises:
        InvalidArgumentError: If the file is of other settings, or something else.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self._path, self._settings = path, json.loads(json.dumps(settings))
        self._found: dict[str, Any] = {}
        if path is None or not path.exists():
            return
        try:
            content = json.loads(path.read_text("utf-8"))
            there, self._found = content["settings"], dict(content["parts"])
        except (ValueError, KeyError, TypeError):
            there = "something else"
        rule = f"must be of this benchmark with {self._settings}, or absent"
        require(there == self._settings, "--output", rule, there, "name another file")

    def of(self, name: str, measure: Callable[[], Any]) -> Any:
        """Return a part: what was kept, else what `measure` returns, which is kept with date and commit."""
        if name not in self._found:
            date = datetime.now(UTC).isoformat(timespec="seconds")
            value = json.loads(json.dumps(measure()))
            self._found[name] = {"date": date, "commit": provenance()["commit"], "value": value}
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                content = {"settings": self._settings, "parts": self._found}
                write_text(self._path, json.dumps(content, indent=1) + "\n")
        return self._found[name]["value"]

    @property
    def values(self) -> dict[str, Any]:
        """The parts that there are, by name."""
        return {name: part["value"] for name, part in self._found.items()}

    @property
    def begun(self) -> dict[str, str]:
        """When each part was begun, and on which commit."""
        return {name: f"{part['date']} {part.get('commit', '')}" for name, part in self._found.items()}


class Lines:
    """Rows of a benchmark's result, a line of JSON each, appended as they are found.

    Args:
        path: The file, which may be there already; None keeps nothing.

    Attributes:
        rows: Those that were there and those that were added. A line that a kill has torn is none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        text = path.read_text("utf-8") if path is not None and path.exists() else ""
        if path is not None and text and not text.endswith("\n"):  # what comes next begins a line
            path.write_text(text + "\n", "utf-8")
        for line in text.splitlines():
            with contextlib.suppress(ValueError):
                self.rows.append(json.loads(line))

    def has(self, **known: Any) -> bool:
        """Whether there is a row with these values."""
        return any(all(row[key] == value for key, value in known.items()) for row in self.rows)

    def append(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a row, and return it."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        self.rows.append(dict(row))
        return self.rows[-1]

"""Results in parts, each kept in a file at once: a long benchmark that was ended goes on with the rest."""

from __future__ import annotations

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
    def begun(self) -> dict[str, str]:
        """When each part was begun, and on which commit."""
        return {name: f"{part['date']} {part.get('commit', '')}" for name, part in self._found.items()}

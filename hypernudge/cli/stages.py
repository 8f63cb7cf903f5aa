"""A word on standard error, every few seconds, of a command that works in silence."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

EVERY = 10.0
"""Seconds between two words; what is quicker says none."""


class Stages:
    """Says how far a report or a comparison is while entered.

    Args:
        command: What each line begins with.
        quiet: Say nothing.
        every: Seconds between two words.
    """

    def __init__(self, command: str, *, quiet: bool = False, every: float = EVERY) -> None:
        self._command, self._quiet, self._every = command, quiet, every
        self._stage, self._drawn = "reading the records", 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._speak, daemon=True)

    def note(self, event: Mapping[str, Any]) -> None:
        """Take notice of an event of the evaluation."""
        if event["event"] == "figure":
            self._drawn += 1
            self._stage = f"{self._drawn} figures drawn, {event['name']} the last"
        elif event["event"] == "table":
            self._stage = "drawing figures"
        else:
            self._stage = "comparing"

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if not self._quiet:
            self._thread.join()

    def _speak(self) -> None:
        while not self._over.wait(self._every):
            sys.stderr.write(f"{self._command}: {self._stage}, {time.monotonic() - self._began:.0f} s\n")
            sys.stderr.flush()

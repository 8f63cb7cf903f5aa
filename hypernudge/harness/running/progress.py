"""What runs, how far it is, how long it will still take: a rich bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import IO, Any

from hypernudge.console import Output

_ALL = Output()


class Progress:
    """Counts cells, or steps; everything that is printed meanwhile must go through `forward` or `say`.

    Args:
        total: Cells of the whole experiment.
        unit: What is counted, in the plural.
        output: Which lines of children are shown, and whether to say how far it is.
    """

    def __init__(self, total: int, unit: str = "cells", output: Output = _ALL) -> None:
        self.total, self.done, self.unit, self.output = total, 0, unit, output
        self.begun = time.perf_counter()
        self._lock = threading.Lock()
        self._bar: Any = None
        self._task: Any = None
        if sys.stderr.isatty() and not output.quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("[bold]{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(f"{unit}, left:"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def running(self, what: str) -> None:
        """Say which variation runs now."""
        if self._bar is not None:
            self._bar.update(self._task, description=what)
        elif not self.output.quiet:
            # At the beginning nobody has counted yet: a run that goes on has finished cells on disk.
            of = f"{self.done} of {self.total} {self.unit} done{self._left()}"
            self.say(f"{what} ({of if self.done else f'{self.total} {self.unit} in all'})")

    def _left(self) -> str:
        if self.done == 0:
            return ""
        seconds = (time.perf_counter() - self.begun) / self.done * (self.total - self.done)
        return f", about {seconds:.0f} s left"

    def advance(self, count: int = 1) -> None:
        """Count what was finished."""
        with self._lock:
            self.done += count
            if self._bar is not None:
                self._bar.update(self._task, completed=self.done)

    def say(self, line: str) -> None:
        """Print a line of our own on stderr."""
        self._write(sys.stderr, line + "\n")

    def forward(self, terminal: IO[str], line: str) -> None:
        """Pass a child's line on, if it is to be shown."""
        if self.output.passes(terminal, line):
            self._write(terminal, line)

    def _write(self, terminal: IO[str], line: str) -> None:
        """Write a line, above the bar where both are on the same terminal."""
        with self._lock:
            if self._bar is not None and terminal.isatty():
                self._bar.console.out(line.rstrip("\n"), highlight=False)
            else:
                terminal.write(line)
                terminal.flush()

"""What is said of a variation, by this process and its workers: kept in two logs, and shown in its turn."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, NamedTuple

from hypernudge.harness.running.progress import Progress

PATIENCE = 10  # seconds for what should end at once
# Between processes and in logs it is UTF-8, whatever this terminal can show.
TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace"}


class Streams(NamedTuple):
    """Standard output and error for what is said of a variation; `ends` are pipes' that workers get."""

    out: IO[str]
    err: IO[str]
    ends: tuple[Connection, Connection] | None = None


class Tee:
    """Standard output and error of one variation, or of the evaluation: to logs and to the terminal.

    A log or a terminal that can no longer be written to is given up, and reading goes on.

    Args:
        log_dir: Where `stdout.log` and `stderr.log` are written.
        progress: What lines are shown through; held until `show` is called.
    """

    def __init__(self, log_dir: Path, progress: Progress) -> None:
        with contextlib.suppress(OSError):  # then there is no log, and it is said
            log_dir.mkdir(parents=True, exist_ok=True)
        self._log_dir, self._progress = log_dir, progress
        self._lock = threading.Lock()
        self._held: list[tuple[IO[str], str]] | None = []
        self._unheard: set[IO[str]] = set()
        self._threads: list[threading.Thread] = []
        self._given = contextlib.ExitStack()

    def show(self) -> None:
        """Show what was held, and from now on every line as it comes."""
        with self._lock:
            for terminal, line in self._held or ():
                self._forward(terminal, line)
            self._held = None

    def mute_errors(self) -> None:
        """Only keep standard error from now on."""
        self._unheard.add(sys.stderr)

    def read(self, out: IO[str], err: IO[str]) -> None:
        """Read two sources to their ends, beside whatever this process does meanwhile."""
        for source, terminal, name in ((out, sys.stdout, "stdout.log"), (err, sys.stderr, "stderr.log")):
            given = (source, terminal, self._log_dir / name)
            self._threads.append(threading.Thread(target=self._read, args=given, daemon=True))
            self._threads[-1].start()

    def streams(self) -> Streams:
        """Return streams to write to, here until `close`, and in workers."""
        ends, sources = [], []
        for _ in range(2):
            reader, writer = mp.Pipe(duplex=False)
            ends.append(self._given.enter_context(writer))
            sources.append(os.fdopen(os.dup(reader.fileno()), **TEXT))
            reader.close()
        self.read(*sources)
        out, err = (
            self._given.enter_context(os.fdopen(os.dup(end.fileno()), "w", 1, **TEXT)) for end in ends
        )
        return Streams(out, err, (ends[0], ends[1]))

    def close(self, seconds: float | None = PATIENCE) -> None:
        """Close the streams; wait for the ends of the sources, for each no longer than so many seconds."""
        self._given.close()
        for thread in self._threads:
            thread.join(seconds)

    def _read(self, source: IO[str], terminal: IO[str], log: Path) -> None:
        """Pass lines on to the source's end, whatever becomes of where they go: a full pipe would stop it."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(source)
            file: IO[str] | None = None
            try:
                file = stack.enter_context(log.open("w", **TEXT))
            except OSError as error:
                self._progress.say(f"{log}: {error.strerror}; the output is not kept")
            for line in source:
                if file is not None:
                    try:
                        file.write(line)
                        file.flush()
                    except OSError as error:
                        with contextlib.suppress(OSError):
                            file.close()
                        file = None
                        self._progress.say(f"{log}: {error.strerror}; the output is not kept from here on")
                with self._lock:
                    if self._held is None:
                        self._forward(terminal, line)
                    else:
                        self._held.append((terminal, line))
                if line.startswith("{") and '"event": "cell"' in line:
                    self._progress.advance()

    def _forward(self, terminal: IO[str], line: str) -> None:
        if terminal in self._unheard:
            return
        try:
            self._progress.forward(terminal, line)
        except (OSError, ValueError):  # whoever read it has gone, as `head` does
            self._unheard.add(terminal)


def take(ends: tuple[Connection, Connection]) -> None:
    """Make the ends of two pipes the standard output and error of this process."""
    for number, end in enumerate(ends, start=1):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdout, sys.stderr = (os.fdopen(number, "w", 1, **TEXT, closefd=False) for number in (1, 2))

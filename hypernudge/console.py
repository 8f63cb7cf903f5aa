"""Standard output and error of a command: whatever they cannot show, and whoever stops reading, ends no work.

    with console.forgiving():
        ...

A letter that the encoding lacks is written as an escape. Once the reader of a pipe has gone (`| head -1`),
what is still written is dropped, and the command runs on to its end, files and exit code included.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from hypernudge.results.printable import printable


@dataclass(frozen=True)
class Output:
    """What a command writes beside its files.

    Attributes:
        json: JSON lines on standard output; the text for people then goes to standard error.
        quiet: Nothing but the verdicts (with `json`: nothing but the lines), and what goes wrong.
    """

    json: bool = True
    quiet: bool = False

    @classmethod
    def chosen(cls, *, json: bool, quiet: bool) -> Output:
        """What was asked for; without a choice, text on a terminal and JSON lines elsewhere."""
        return cls(json or not (quiet or sys.stdout.isatty()), quiet)

    def conclude(self, text: str) -> None:
        """Write what a command ends with: where no JSON line can be mixed up with it."""
        stream = sys.stderr if self.json else sys.stdout
        if not (self.json and self.quiet):
            stream.write(text)
            stream.flush()

    def passes(self, stream: object, line: str) -> bool:
        """Whether a line that a child wrote to `stream` is shown; its log has it in any case."""
        if stream is not sys.stdout:
            return not (self.quiet and _COUNTDOWN.match(line))
        return self.json or not (self.quiet or line.startswith("{"))


_COUNTDOWN = re.compile(r"\S+: \d+/\d+ cells, ")


@contextlib.contextmanager
def forgiving() -> Iterator[None]:
    """Have `sys.stdout` and `sys.stderr` forgive within the block; what a caller put there is kept."""
    before = sys.stdout, sys.stderr
    sys.stdout = _forgiving(sys.stdout, sys.__stdout__)
    sys.stderr = _forgiving(sys.stderr, sys.__stderr__)
    try:
        yield
    finally:
        for stream, given in zip((sys.stdout, sys.stderr), before, strict=True):
            with contextlib.suppress(ValueError):  # closed meanwhile
                stream.flush()
            if given is None:
                stream.close()
        sys.stdout, sys.stderr = before


def refuse(error: ValueError | OSError) -> int:
    """Say on one line why it could not go on; return the exit code.

    Raises:
        OSError: One that names no file: that is a defect.
    """
    if isinstance(error, OSError):
        if error.filename is None:
            raise error
        where = printable(str(error.filename))
        line = f"{where}: {error.strerror}; check the path, its permissions and the space left"
    else:
        line = printable(str(error))
    sys.stderr.write(f"error: {line}\n")
    return 2


def tell(line: str) -> None:
    """Write a line on standard error at once."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def keep_quiet(line: str) -> None:
    """Write nothing, in the place of `tell`."""


class _Pipe(io.RawIOBase):
    """A raw stream whose reader may go away.

    Args:
        raw: Written to; stays open when this one is closed.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self._raw, self._gone = raw, False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: object) -> int | None:
        if not self._gone:
            try:
                return self._raw.write(data)  # type: ignore[arg-type]
            except BrokenPipeError:
                self._gone = True
        return memoryview(data).nbytes  # type: ignore[arg-type]


def _forgiving(stream: TextIO | None, standard: TextIO | None) -> TextIO:
    if stream is None:  # closed by whoever started us (`>&-`)
        return Path(os.devnull).open("w", encoding="utf-8")
    if stream is not standard or not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)  # unbuffered streams have no more than the raw one
    if not isinstance(raw, io.FileIO):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Pipe(raw)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )

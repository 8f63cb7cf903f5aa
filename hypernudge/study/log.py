"""The file of a study: JSON lines, only ever appended to, each with a check sum of all before it.

A kill can tear the last line, which is then cut off; any other damage is refused with the line's number. What
was written reaches the operating system at once, so a kill loses nothing. What a power cut could lose is
bounded: the file is synced at reports, as often as a quarter of a percent of the time allows.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError
from hypernudge.results.files import hold, let_go, sync_directory
from hypernudge.results.pace import SyncPace
from hypernudge.results.reading import UnreadableError, parse_json

_TAIL = len(',"crc":"00000000"}')
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))  # `json.dumps` would build one a line


class DamagedStudyError(InvalidArgumentError):
    """A study's file that is not what was written."""

    def __init__(self, path: Path, rule: str) -> None:
        super().__init__(f"study {path}: {rule}; bring back a copy of the file, or name another folder")


@dataclass(frozen=True)
class Lines:
    """What a file holds.

    Attributes:
        entries: Its lines, parsed.
        ends: Bytes up to the end of each.
        sums: Check sum after each.
        torn: Bytes after the last whole line.
    """

    entries: list[dict[str, Any]]
    ends: list[int]
    sums: list[int]
    torn: int


class LineReader:
    """Reads a study's file as it grows: each line once.

    Args:
        path: The file.

    Attributes:
        count: Lines read so far.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._end, self._sum = 0, 0
        self.count = 0

    def read(self) -> Lines:
        """Return the whole lines that were appended since the last call; nothing where there is no file.

        Raises:
            DamagedStudyError: With the number of the first line that was changed, or if the file is shorter
                than what was read of it.
            OSError: If it cannot be read.
        """
        try:
            found = self._path.stat()
            if not stat.S_ISREG(found.st_mode):  # a pipe would block, a device never end
                raise DamagedStudyError(self._path, "it must be a file, but is a folder or a device")
            if found.st_size < self._end:
                raise DamagedStudyError(self._path, "it became shorter while it was read")
            with self._path.open("rb") as file:
                file.seek(self._end)
                content = file.read()
        except FileNotFoundError:
            content = b""
        entries: list[dict[str, Any]] = []
        ends: list[int] = []
        sums: list[int] = []
        *whole, rest = content.split(b"\n")
        for line in whole:
            number = self.count + 1
            body = line[:-_TAIL] + b"}"
            total = zlib.crc32(body, self._sum)
            if line[-_TAIL:] != _tail(total):
                raise DamagedStudyError(self._path, f"line {number} was changed after it was written")
            try:
                entry = parse_json(body.decode())
            except (UnreadableError, UnicodeDecodeError) as error:
                raise DamagedStudyError(self._path, f"line {number} is unreadable ({error})") from None
            self._end += len(line) + 1
            self._sum, self.count = total, number
            entries.append(entry)
            ends.append(self._end)
            sums.append(total)
        return Lines(entries, ends, sums, len(rest))


def read_lines(path: Path) -> Lines:
    """Return what a study's file holds; nothing where there is none.

    Raises:
        DamagedStudyError: With the number of the first line that was changed.
        OSError: If it cannot be read.
    """
    return LineReader(path).read()


def _tail(total: int) -> bytes:
    return b',"crc":"%08x"}' % total


class LogWriter:
    """Appends lines to a study's file.

    Args:
        path: The file; made if need be.
        lines: What it holds, as `read_lines` says.
        keep: How many of those lines stay; whatever comes after them is cut off.

    Raises:
        OSError: If it cannot be opened, here, or written, at each line.
    """

    def __init__(self, path: Path, lines: Lines, keep: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sum = lines.sums[keep - 1] if keep else 0
        self._handle = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666
        )
        if not hold(self._handle):  # somebody removed its writer's lock file
            os.close(self._handle)
            raise InvalidArgumentError(
                f"study: {path} must have one writer, but another has it open; wait until that has ended"
            )
        os.ftruncate(self._handle, lines.ends[keep - 1] if keep else 0)
        held = os.fstat(self._handle)
        self._identity = held.st_ino, held.st_dev
        self._waiting = b""
        self._pace = SyncPace()
        if not keep:
            sync_directory(path.parent)

    def append(self, entry: dict[str, Any], *, wait: bool = False) -> None:
        """Append a line; with `wait`, it is written together with the next one."""
        body = _ENCODER.encode(entry).encode()
        self._sum = zlib.crc32(body, self._sum)
        self._waiting += body[:-1] + _tail(self._sum) + b"\n"
        if not wait:
            self.flush()

    def flush(self) -> None:
        """Hand what waits to the operating system."""
        while self._waiting:
            self._waiting = self._waiting[os.write(self._handle, self._waiting) :]

    def sync(self, *, now: bool = False) -> None:
        """Have the disk hold what was written, if that is due, or `now`."""
        if not now and not self._pace.due:
            return
        with self._pace.taken():
            self.flush()
            os.fsync(self._handle)

    def is_at(self, path: Path) -> bool:
        """Whether the file that is open is the one at a path."""
        try:
            found = path.stat()
        except FileNotFoundError:
            return False
        return (found.st_ino, found.st_dev) == self._identity

    def close(self) -> None:
        """Sync and close; an error has been raised by whoever wrote."""
        with contextlib.suppress(OSError):
            self.sync(now=True)
        let_go(self._handle)

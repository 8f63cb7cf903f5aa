"""A study's folder: its file, its lock, and the files of its trials and of its best unit.

runs/mine/study.jsonl     header and events
runs/mine/study.lock      held by the process that goes on with it
runs/mine/best/           weights of the best unit
runs/mine/trials/         trials that wait, of tasks that can be kept on disk; gone when the study is done
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.engine.workers.attempts import remove_trials
from hypernudge.errors import InvalidArgumentError, require, shown
from hypernudge.results.files import lock, remove_abandoned
from hypernudge.results.studies import FILE as FILE
from hypernudge.space import SearchSpace
from hypernudge.study.events import EventCodec
from hypernudge.study.header import FORMAT, check_same
from hypernudge.study.log import DamagedStudyError, Lines, LogWriter, read_lines
from hypernudge.trial import Event, History, Report, Started

logger = logging.getLogger("hypernudge")
LOCK, BEST, TRIALS = "study.lock", "best", "trials"


@dataclass
class Contents:
    """What a study's file says.

    Attributes:
        header: Its first line.
        arguments: Those of the latest run.
        events: The study's events.
        keep: Lines that stay when it goes on; what was decided and not submitted is decided again.
        ended: Why the study was done, if it is.
    """

    header: dict[str, Any]
    arguments: dict[str, Any]
    events: list[Event]
    keep: int
    ended: str | None


def read_contents(path: Path, lines: Lines, space: SearchSpace, sign: int) -> Contents | None:
    """Return what the lines of a study's file say; None if its first line was never finished.

    Raises:
        DamagedStudyError: If it is damaged, or is no study of this version.
    """
    if not lines.entries:
        return None
    header = header_in(path, lines)
    codec = EventCodec(space, sign)
    found = Contents(header, header["arguments"], [], len(lines.entries), None)
    for index, entry in enumerate(lines.entries[1:], 2):
        try:
            if entry["event"] == "opened":
                found.arguments, found.ended = entry["arguments"], None
            elif entry["event"] == "withdrawn":  # the budget grew: what it had cut short goes on
                found.events = [e for e in found.events if not cut_short(e)]
            elif entry["event"] == "ended":
                found.ended = str(entry["reason"])
            else:
                found.events.append(codec.decode(entry))
        except (KeyError, TypeError, ValueError, LookupError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DamagedStudyError(path, f"line {index} is no event of it ({reason})") from None
    if found.events and isinstance(found.events[-1], Started) and lines.entries[-1]["event"] == "start":
        found.events.pop()
        found.keep -= 1
    try:
        History.replay(found.events)
    except (ValueError, LookupError) as error:
        raise DamagedStudyError(path, f"its events contradict each other ({error})") from None
    return found


def header_in(path: Path, lines: Lines) -> dict[str, Any]:
    """Return the first line of a study's file.

    Raises:
        DamagedStudyError: If it is no header of this version.
    """
    header = lines.entries[0]
    if header.get("event") != "study" or not isinstance(header.get("arguments"), Mapping):
        raise DamagedStudyError(path, "line 1 is no header of a study")
    if header.get("format") != FORMAT:
        raise DamagedStudyError(path, f"its format is {header.get('format')!r}, this version reads {FORMAT}")
    return header


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be one, or in which something has the name of what a study keeps there.

    Raises:
        InvalidArgumentError: With the path.
    """
    made = all(path.is_dir() for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
    require(made, "study", "must be a folder", str(folder), "name another, or remove what is there")
    for name, fits, kind in (
        (FILE, Path.is_file, "file"),
        (LOCK, Path.is_file, "file"),
        (BEST, Path.is_dir, "folder"),
        (TRIALS, Path.is_dir, "folder"),
    ):
        path = folder / name
        ok = fits(path) or not (path.exists() or path.is_symlink())
        found = {"a folder": Path.is_dir, "a file": Path.is_file, "a pipe or a device": Path.exists}
        what = next((what for what, is_it in found.items() if is_it(path)), "a link to nothing")
        rule = f"{path} must be a {kind}, or absent"
        require(ok, "study", rule, what, "remove it, or name another folder")


def make_folder(folder: Path) -> None:
    """Make a study's folder unless it is there.

    Raises:
        InvalidArgumentError: If it cannot be made, with the cause; see `check_folder`, too.
    """
    try:
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{shown(str(folder))} ({error.strerror or error})"
        message = f"study: must be a folder that can be made, but got {why}; name another"
        raise InvalidArgumentError(message) from error


def cut_short(event: Event) -> bool:
    """Whether an event is the report of a job that ran into the end of the budget."""
    return isinstance(event, Report) and event.outcome == "truncated"


class Store:
    """A study's folder, open for going on. Close it.

    Args:
        folder: The folder; made if need be.
        header: What the study begins with, if it is new.
        space: Of the configurations.
        sign: What scores are multiplied by in the file.

    Raises:
        InvalidArgumentError: If another process has it, it was begun with other arguments, or is damaged.
        OSError: If it cannot be made or opened.
    """

    def __init__(self, folder: Path, header: dict[str, Any], space: SearchSpace, sign: int) -> None:
        self.folder = folder
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as stack:
            make_folder(folder)
            self._lock(stack)
            path = folder / FILE
            lines = read_lines(path)
            found = read_contents(path, lines, space, sign)
            if found is not None:
                check_same(folder, found.arguments, header["arguments"])
            self._log = LogWriter(path, lines, found.keep if found else 0)
            stack.callback(self._log.close)
            self._path = path  # looked at with every report
            self._codec = EventCodec(space, sign)
            self.events: list[Event] = []
            self.ended: str | None = None
            self.created: str = header["created"] if found is None else str(found.header.get("created", ""))
            if found is None:
                self.remove_trials()  # of a study whose file somebody removed: this one may be another
                self._log.append(header)
                self._log.sync(now=True)
            else:
                self._go_on(found, header)
            self._stack = stack.pop_all()

    def _lock(self, stack: contextlib.ExitStack) -> None:
        path = self.folder / LOCK
        if not stack.enter_context(lock(path, wait=False)):
            try:
                holder = path.read_text("utf-8").strip()
            except OSError:
                holder = ""
            raise InvalidArgumentError(
                f"study: {self.folder} must have one writer, but {holder or 'another process'} has it; "
                "wait until it has ended, or name another folder (`Study.open` reads it meanwhile)"
            )
        path.write_text(f"process {os.getpid()} on {platform.node()}\n", "utf-8")

    def _go_on(self, found: Contents, header: dict[str, Any]) -> None:
        self.events, self.ended = found.events, found.ended
        if found.arguments == header["arguments"] and found.ended is not None:
            return
        before, now = found.header["environment"], header["environment"]
        other = [
            f"{name} {before.get(name)} then, {now[name]} now"
            for name in now
            if before.get(name) != now[name]
        ]
        if other:
            logger.warning("study %s goes on in other surroundings: %s", self.folder, ", ".join(other))
        opened = {name: header[name] for name in ("arguments", "environment", "created")}
        self._log.append({"event": "opened", **opened})
        self.ended = None
        if found.arguments["budget"] != header["arguments"]["budget"] and any(map(cut_short, self.events)):
            self._log.append({"event": "withdrawn"})
            self.events = [event for event in self.events if not cut_short(event)]
        self._log.sync(now=True)

    def remove_trials(self) -> None:
        """Remove the files of trials, and nothing else that may lie in a folder of that name."""
        folder = self.folder / TRIALS
        with contextlib.suppress(OSError):  # there is none, or it holds something else
            remove_abandoned(folder)
            for path in folder.glob("trial-*.pt"):
                path.unlink(missing_ok=True)
            remove_trials(folder)
            folder.rmdir()

    def check_place(self) -> None:
        """Refuse to go on where the folder was moved or removed: what is found would be lost.

        Raises:
            OSError: If another file, or none, is where the study was opened.
        """
        if not self._log.is_at(self._path):
            raise OSError(
                f"study: {self.folder / FILE} was moved, replaced or removed while the study ran, so that it "
                "ends here; bring the folder back, or go on where it is now"
            )

    def append(self, event: Event) -> None:
        """Append an event; a report is synced as `LogWriter.sync` says."""
        self._log.append(self._codec.encode(event), wait=isinstance(event, Started))
        if isinstance(event, Report):
            self._log.sync()

    def end(self, reason: str) -> None:
        """Note that the study is done, and why."""
        self._log.append({"event": "ended", "reason": reason})
        self._log.sync(now=True)

    def close(self) -> None:
        """Close the file and release the lock."""
        self._stack.close()

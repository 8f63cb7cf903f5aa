"""Child processes of a run: their output forwarded live and kept in files, and none of them left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

from hypernudge.harness.planning.own_modules import child_environment
from hypernudge.harness.running.interruption import deaf_children
from hypernudge.harness.running.launch import LIFELINE
from hypernudge.harness.running.progress import Progress

PATIENCE = 10  # seconds that a child has to end its own children


class Child(Protocol):
    """A running process whose output is read here; as a context it is closed at the end."""

    @property
    def stdout(self) -> IO[str]:
        """Its standard output."""
        ...

    @property
    def stderr(self) -> IO[str]:
        """Its standard error."""
        ...

    def wait(self) -> int:
        """Return the exit code once it has ended; negative if a signal ended it."""
        ...

    def stop(self) -> None:
        """End it, first asking."""
        ...

    def close(self) -> None:
        """Release what it held; it has ended."""
        ...


class Command:
    """A command as a child; on POSIX it ends when this process does, even before it can look for it.

    Args:
        command: Program and arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        # Between processes and in logs it is UTF-8, whatever this terminal can show.
        env = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace", **child_environment()}
        kept: dict[str, Any] = {"env": env}
        self._lifeline: int | None = None
        if os.name == "posix":
            theirs, self._lifeline = os.pipe()
            kept |= {"pass_fds": (theirs,), "env": {**env, LIFELINE: str(theirs)}}
        pipe = subprocess.PIPE
        with deaf_children():
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                encoding="utf-8",
                errors="backslashreplace",
                **kept,
            )
        if self._lifeline is not None:
            os.close(theirs)
        assert self._process.stdout is not None and self._process.stderr is not None  # both are pipes
        self.stdout: IO[str] = self._process.stdout
        self.stderr: IO[str] = self._process.stderr

    def wait(self) -> int:
        """Return the exit code once it has ended; negative if a signal ended it."""
        return self._process.wait()

    def stop(self) -> None:
        """End it, first asking."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Release what it held; it has ended."""
        self.stdout.close()
        self.stderr.close()
        if self._lifeline is not None:
            os.close(self._lifeline)


C = TypeVar("C", bound=Child)


def run_child(start: Callable[[], C], log_dir: Path, progress: Progress) -> int:
    """Start a child; forward and keep its stdout and stderr, each by itself; return its exit code.

    A log or a terminal that can no longer be written to is given up, and the child goes on.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    child = start()
    try:
        interrupted = (
            threading.Event()
        )  # then stderr is only kept: that it was interrupted is ours to say, once
        streams = [
            (child.stdout, sys.stdout, "stdout.log", None),
            (child.stderr, sys.stderr, "stderr.log", interrupted),
        ]
        threads = [
            threading.Thread(
                target=_forward, args=(source, terminal, log_dir / name, progress, muted), daemon=True
            )
            for source, terminal, name, muted in streams
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
            return child.wait()
        except BaseException:  # we were interrupted
            interrupted.set()
            child.stop()
            for thread in threads:
                thread.join(PATIENCE)
            raise
    finally:
        child.close()


def _forward(
    source: IO[str], terminal: IO[str], log: Path, progress: Progress, muted: threading.Event | None
) -> None:
    """Pass lines on until the source ends, whatever becomes of where they go: a full pipe would stop it."""
    with contextlib.ExitStack() as stack:
        file: IO[str] | None = None
        try:
            file = stack.enter_context(log.open("w", encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            progress.say(f"{log}: {error.strerror}; the output is not kept")
        heard = True
        for line in source:
            if file is not None:
                try:
                    file.write(line)
                    file.flush()
                except OSError as error:
                    with contextlib.suppress(OSError):
                        file.close()
                    file = None
                    progress.say(f"{log}: {error.strerror}; the output is not kept from here on")
            if heard and not (muted is not None and muted.is_set()):
                try:
                    progress.forward(terminal, line)
                except (OSError, ValueError):  # whoever read it has gone, as `head` does
                    heard = False
            if line.startswith("{") and '"event": "cell"' in line:
                progress.advance()

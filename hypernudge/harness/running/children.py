"""Commands that a run starts: their output kept and shown, and none of them left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypernudge.harness.planning.own_modules import child_environment
from hypernudge.harness.running.interruption import PARENT, deaf_children
from hypernudge.harness.running.progress import Progress
from hypernudge.harness.running.tee import PATIENCE, TEXT, Tee


class Command(subprocess.Popen[str]):
    """A command as a child; on POSIX it can end when this process does, even before it can look for it.

    Args:
        command: Program and arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        env = {**os.environ, "PYTHONIOENCODING": "utf-8:backslashreplace", **child_environment()}
        if os.name == "posix":
            env[PARENT] = str(os.getpid())
        piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **TEXT}
        with deaf_children():
            super().__init__(list(command), env=env, stdin=subprocess.DEVNULL, **piped)

    def stop(self) -> None:
        """End it, first asking: it has children of its own to end."""
        self.terminate()
        try:
            self.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()


def run_child(start: Callable[[], Command], log_dir: Path, progress: Progress) -> int:
    """Start a child; forward and keep its stdout and stderr, each by itself; return its exit code."""
    tee = Tee(log_dir, progress)
    tee.show()
    child = start()
    try:
        assert child.stdout is not None and child.stderr is not None  # both are pipes
        tee.read(child.stdout, child.stderr)
        tee.close(None)
        return child.wait()
    except BaseException:  # we were interrupted: to say so is ours, once
        tee.mute_errors()
        child.stop()
        tee.close()
        raise

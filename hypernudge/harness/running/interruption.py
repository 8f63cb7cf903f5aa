"""How processes end: after Ctrl-C and SIGTERM in order, with one line and the usual code; with their parent.

Only the process that was started by a person (or a scheduler of jobs) listens to Ctrl-C. What it starts is
deaf to it and ended by it, so that one keystroke gives one line and no traceback.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

PARENT = "HYPERNUDGE_PARENT"  # number of the process that started a command
INTERRUPTED = 128 + signal.SIGINT  # 130, as a shell has it
TERMINATED = 128 + signal.SIGTERM  # 143


class Terminated(KeyboardInterrupt):
    """SIGTERM: `kill`, a container that stops, a job at its time limit."""


def orderly(work: Callable[[], int], advice: str = "the same command goes on") -> int:
    """Return what `work` returns; on SIGINT or SIGTERM unwind it, say so on one line, return 130 or 143.

    What `work` holds must be released by the ends of its blocks. In any other than the main thread signals
    are left alone.
    """
    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminate) if ours else None
    try:
        return work()
    except KeyboardInterrupt as stop:
        if ours:  # a second one must not cut off what ends us
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.stderr.write("; ".join(part for part in ("interrupted", advice) if part) + "\n")
        sys.stderr.flush()
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    finally:
        if ours:
            signal.signal(signal.SIGTERM, before)


def _terminate(*_: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what unwinds must not be interrupted
    raise Terminated


@contextlib.contextmanager
def deaf_children() -> Iterator[None]:
    """Have processes that are started in this block never receive SIGINT; one that comes meanwhile is kept.

    They inherit a mask. Ignoring it instead would lose one that another thread of ours receives now.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def die_with_parent() -> None:
    """Make this process end at once when its parent does, however and whenever the parent ends."""
    import multiprocessing as mp  # takes long, and commands listen to Ctrl-C by now

    given = os.environ.pop(PARENT, "")  # it may have ended before we could look
    started_by = int(given) if given.isdecimal() else os.getppid()
    between = os.getppid() != started_by  # a program that starts programs, say
    parent = mp.parent_process()  # of a worker; not the operating system's, that is the fork server

    def watch() -> None:
        if parent is not None:
            parent.join()
        while parent is None and (os.getppid() == started_by or (between and _exists(started_by))):
            time.sleep(0.1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _exists(process: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, 0)
        return True
    return False


def leave(code: int) -> NoReturn:
    """End this process now: taking PyTorch apart first would cost most of a second, five times in a study."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed by whoever started us
            stream.flush()
    os._exit(code)

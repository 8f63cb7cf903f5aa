"""Ctrl-C and SIGTERM: an orderly end, one line, the usual exit code; nothing finished is lost by it.

Only the process that was started by a person (or a scheduler of jobs) listens to Ctrl-C. What it starts is
deaf to it and ended by it, so that one keystroke gives one line and no traceback.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

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

"""Workers as processes of this machine: they need no package, and start in milliseconds where they can."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import multiprocessing as mp
import os
import pickle
import platform
import selectors
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import Any

from hypernudge.engine.workers.engine import WorkerEngine
from hypernudge.engine.workers.messages import Died, Message, Order, Ready, Setup, Unusable
from hypernudge.engine.workers.sending import Pickled, built, same
from hypernudge.errors import require_whole
from hypernudge.results.files import release_copies

BEATS = 5  # in the time that a worker may be silent
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


@dataclass(eq=False)
class ProcessEngine(WorkerEngine):
    """Trains on processes of this machine; further arguments are those of `WorkerEngine`.

    Processes are forked where that is safe: on Linux, with one thread each, and no GPU in use yet. A task
    need not be sent then. Elsewhere they are started afresh, and the task is pickled.

    Args:
        threads_per_trial: Threads of PyTorch in each.

    Raises:
        InvalidArgumentError: For an argument that breaks a rule.
    """

    threads_per_trial: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("threads_per_trial", self.threads_per_trial)

    def _open(self, setup: Setup) -> ProcessPool:
        threads = self.threads_per_trial if "torch" in sys.modules else None
        forks = self.threads_per_trial == 1 and sys.platform == "linux" and not _uses_cuda()
        if forks:  # the driver's task is there, and its data are shared
            setup = replace(setup, build=partial(same, self.task))
        return ProcessPool(replace(setup, threads=threads), self.heartbeat_timeout / BEATS, forks)


def _uses_cuda() -> bool:
    torch: Any = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


@dataclass(eq=False)
class _Child:
    process: Any
    channel: Connection


class ProcessPool:
    """A pool of processes.

    Args:
        setup: What workers are built from.
        beat: Seconds between two signs of life.
        forks: Whether they are forked.

    Raises:
        InvalidArgumentError: If they are not, and the task cannot be pickled.
    """

    def __init__(self, setup: Setup, beat: float, forks: bool) -> None:
        self._setup = setup if forks else replace(setup, build=Pickled.of(setup.build))
        self._beat = beat
        self._context: Any = mp.get_context("fork" if forks else "spawn")
        self._children: dict[str, _Child] = {}
        self._numbers = itertools.count(1)
        # `connection.wait` would register every channel at each call; Windows' pipes have nothing else.
        self._selector: selectors.BaseSelector | None = None
        if os.name != "nt":
            self._selector = selectors.DefaultSelector()

    def start(self) -> str:
        """Start a process; see `Pool.start`."""
        name = f"{platform.node()}-{next(self._numbers)}"
        ours, theirs = self._context.Pipe()
        given = (theirs, self._setup, name, self._beat, os.getpid())
        process = self._context.Process(target=_serve, args=given)
        with theirs, warnings.catch_warnings():
            # Newer Pythons warn of any fork beside threads; the child uses none of them.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        self._children[name] = _Child(process, ours)
        if self._selector is not None:
            self._selector.register(ours, selectors.EVENT_READ, name)
        return name

    def send(self, worker: str, order: Order) -> None:
        """Give a worker an order; see `Pool.send`."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its end is heard of
            self._children[worker].channel.send(order)

    def receive(self, timeout: float) -> list[tuple[str, Message]]:
        """Return what workers have said; see `Pool.receive`."""
        return [(name, message) for name in self._speaking(timeout) for message in self._heard(name)]

    def _speaking(self, timeout: float) -> list[str]:
        if self._selector is not None:
            return [key.data for key, _ in self._selector.select(timeout)]
        names: dict[Any, str] = {child.channel: name for name, child in self._children.items()}
        return [names[channel] for channel in connection.wait(list(names), timeout)]

    def _heard(self, worker: str) -> Iterator[Message]:
        """Yield all that a worker has said by now, its end included."""
        child = self._children[worker]
        try:
            while child.channel.poll():
                yield child.channel.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # torn: it was killed while it spoke
            child.process.join(10.0)
            yield Died(_ended_by(child.process.exitcode))

    def end(self, worker: str) -> None:
        """Kill a worker; one that is stopped, too."""
        child = self._children.pop(worker)
        if self._selector is not None:
            self._selector.unregister(child.channel)
        child.process.kill()
        child.process.join()
        child.process.close()
        child.channel.close()

    def close(self) -> None:
        """Kill all workers."""
        for child in self._children.values():
            child.process.kill()  # first all, then wait for each
        for worker in list(self._children):
            self.end(worker)
        if self._selector is not None:
            self._selector.close()


def _ended_by(code: int | None) -> str:
    if code is None:
        return "closed its channel and lives on"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _serve(channel: Connection, setup: Setup, name: str, beat: float, parent: int) -> None:
    """What a worker's process does until it is killed, or its driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    release_copies()
    voice = threading.Lock()

    def say(message: Message) -> None:
        with voice:
            try:
                channel.send(message)
            except (BrokenPipeError, ConnectionResetError):  # nobody is there to work for
                os._exit(0)

    worker = built(setup, name)
    if isinstance(worker, Unusable):
        say(worker)
        return
    say(Ready(os.getpid()))

    def live() -> None:
        while True:
            time.sleep(beat)
            say(worker.beat)

    threading.Thread(target=live, daemon=True).start()
    while True:
        try:
            order: Order = channel.recv()
        except (EOFError, OSError):
            os._exit(0)
        done = worker.carry_out(order, say)
        if done is not None:
            say(done)


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its driver ends, where it can; else its channel tells."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended meanwhile
        os._exit(0)

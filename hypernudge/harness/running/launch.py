"""The local launcher: cells in processes of their own, a few at a time.

A cell reports by sealing its record: a process that ends without one was killed (out of memory, say) or could
not write, and its cell is tried again, then left missing. Workers are forked from a server that has imported
PyTorch once, which makes a process cost milliseconds instead of seconds.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.records import StorageError
from hypernudge.harness.planning.plan import ATTEMPTS
from hypernudge.harness.running.interruption import deaf_children
from hypernudge.registry import resolve
from hypernudge.results.attempts import note_failure
from hypernudge.results.plan import Variation
from hypernudge.results.records import DamagedRecordError, cell_path, read_record

LIFELINE = "HYPERNUDGE_LIFELINE"  # number of a pipe's end that is closed with the parent's
REFUSED = 2  # exit code of a worker whose variation cannot be built
FAILED = 3  # and of one that could not run or write a cell
FORK_SERVER = "forkserver" in mp.get_all_start_methods()  # whether this platform has them
_method = "forkserver" if FORK_SERVER else "spawn"


def run_cells(
    variation: Variation,
    seeds: Sequence[int],
    run_dir: Path,
    processes: int,
    done: Callable[[int, dict[str, Any] | None], None],
    attempts: int = ATTEMPTS,
) -> None:
    """Run the cells of `seeds` in up to `processes` processes; call `done(seed, record)` as each ends.

    A cell whose process ends without a record (killed, or a full disk) is tried `attempts` times; then
    `record` is None and it stays missing, for that says nothing about the method. Each failure is noted in
    `attempts.jsonl`.

    Raises:
        InvalidArgumentError: If the variation cannot be built.
    """
    start_server()
    context: Any = mp.get_context(_method)
    waiting = [(group, 1) for group in groups(variation, seeds, processes)]
    running: dict[Any, _Worker] = {}
    # A worker forked from here would hold its elder siblings' sentinels open, and hide our death from them.
    lifeline = os.pipe() if _method == "fork" else None
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                group, attempt = waiting.pop(0)
                worker = _start(context, (variation, group, run_dir, lifeline), group, attempt)
                running[worker.process.sentinel] = worker
            for sentinel in multiprocessing.connection.wait(list(running)):
                worker = running.pop(sentinel)
                worker.process.join()
                if worker.process.exitcode == REFUSED:
                    raise InvalidArgumentError(f"{variation.run_id}: cannot be built, see the line above")
                reason = _reason(worker)
                for seed in worker.group:
                    record, why = _sealed(variation, seed, run_dir)
                    if record is None:
                        _note(variation, seed, run_dir, why or reason)
                    if record is None and worker.attempt < attempts:
                        waiting.append(([seed], worker.attempt + 1))  # alone: may have been the one too many
                    else:
                        done(seed, record)
    finally:
        for worker in running.values():
            worker.process.kill()
        for worker in running.values():
            worker.process.join()
        for end in lifeline or ():
            os.close(end)


@dataclass(frozen=True)
class _Worker:
    """A process at work, and where it says why it ends without a record."""

    process: Any
    group: list[int]
    attempt: int
    said: Connection


def _start(context: Any, arguments: tuple[Any, ...], group: list[int], attempt: int) -> _Worker:
    said, saying = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(*arguments, saying), daemon=True)
    # A worker that is forked from here has our way with SIGTERM until it takes its own.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}) if _method == "fork" else None
    try:
        with deaf_children():
            process.start()
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    saying.close()
    return _Worker(process, group, attempt, said)


def _reason(worker: _Worker) -> str:
    """Return why a worker ended, for cells that have no record."""
    with worker.said, contextlib.suppress(EOFError, OSError):
        if worker.said.poll():
            return str(worker.said.recv())
    code = int(worker.process.exitcode)
    if code >= 0:
        return f"its process ended with exit code {code}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-code).name
        return f"its process was ended by {name}" + (", out of memory perhaps" if name == "SIGKILL" else "")
    return f"its process was ended by signal {-code}"


def _sealed(variation: Variation, seed: int, run_dir: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the record of a cell, or None and what is wrong with the file in its place."""
    try:
        return read_record(cell_path(run_dir, seed), variation.planned(seed)), ""
    except DamagedRecordError as error:
        return None, error.rule


def _note(variation: Variation, seed: int, run_dir: Path, reason: str) -> None:
    """Count a failed attempt on disk, or at least say it."""
    try:
        note_failure(run_dir, seed, reason)
    except OSError as error:
        reason += f" (not counted: {error.strerror})"
    sys.stderr.write(f"{variation.run_id}: no record of seed {seed}: {reason}\n")
    sys.stderr.flush()


def start_server() -> None:
    """Have the workers' server import PyTorch from now on, beside whatever this process does meanwhile."""
    if _method == "forkserver":
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(["hypernudge.harness.running.server"])
        with deaf_children():
            forkserver.ensure_running()


def fork_workers_here() -> None:
    """Have workers forked from this very process: it came from the server itself, and computes nothing."""
    global _method
    _method = "fork"


def groups(variation: Variation, seeds: Sequence[int], processes: int) -> list[list[int]]:
    """Return which cells share a process: one each, or, where the engine can use it, an even share of all."""
    if not shares(variation.spec):
        return [[seed] for seed in seeds]
    count = min(processes, len(seeds))
    return [list(seeds[first::count]) for first in range(count)]


def shares(spec: dict[str, Any]) -> bool:
    """Whether the engine trains cells of several seeds together."""
    return bool(getattr(resolve("engine", spec["engine"]["name"]), "shares", False))


def work(
    variation: Variation,
    seeds: Sequence[int],
    run_dir: Path,
    lifeline: tuple[int, int] | None = None,
    saying: Connection | None = None,
) -> None:
    """What a worker process does: its cells, unless its parent dies first.

    Args:
        variation: What to run.
        seeds: Of its cells.
        run_dir: Where their records go.
        lifeline: Both ends of a pipe of the parent's, inherited; None to watch what `multiprocessing` gives.
        saying: Where to say why there is no record, if there is none.
    """
    if lifeline is None:
        die_with_parent()
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        mine, parents = lifeline
        os.close(parents)  # now only the parent keeps it open
        _end_after(lambda: os.read(mine, 1))
    try:
        if shares(variation.spec):
            from hypernudge.harness.cells.group import run_group

            run_group(variation, seeds, run_dir)
            return
        from hypernudge.harness.cells.cell import run_cell

        for seed in seeds:
            run_cell(variation, seed, run_dir)
    except InvalidArgumentError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(REFUSED)
    except Exception as error:  # not the study's: those are in its record
        if not isinstance(error, StorageError):
            traceback.print_exc()
        if saying is not None:
            saying.send(" ".join(f"{type(error).__name__}: {error}".split()))
        sys.exit(FAILED)


def die_with_parent() -> None:
    """Make this process end at once when its parent does, however and whenever the parent ends."""
    given = os.environ.pop(LIFELINE, "")
    if given.isdecimal():
        _end_after(partial(_read_to_end, int(given)))
        return
    parent = mp.parent_process()  # not the operating system's: that is the server
    _end_after(partial(_poll_parent, os.getppid()) if parent is None else parent.join)


def leave(code: int) -> NoReturn:
    """End this process now: taking PyTorch apart first would cost most of a second, five times in a study."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed by whoever started us
            stream.flush()
    os._exit(code)


def _read_to_end(handle: int) -> None:
    try:
        os.read(handle, 1)
    except OSError:  # no pipe of ours after all
        _poll_parent(os.getppid())


def _poll_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)


def _end_after(death: Callable[[], object]) -> None:
    """End this process when `death` returns; a thread that blocks is woken even where the machine is busy."""

    def watch() -> None:
        death()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

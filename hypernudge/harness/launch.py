"""The local launcher: cells in processes of their own, a few at a time.

A cell reports by sealing its record, so nothing has to travel back: a process that ends without one was
killed (out of memory, say) and its cell is tried again, then given up as missing. Workers are forked from a
server that has imported PyTorch once, which makes a process cost milliseconds instead of seconds.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import multiprocessing.connection
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.plan import Variation
from hypernudge.harness.records import crashed, partial_path, seal_record
from hypernudge.registry import resolve
from hypernudge.results.records import cell_path, read_record

ATTEMPTS = 2
REFUSED = 2  # exit code of a worker whose variation cannot be built
FORK_SERVER = "forkserver" in mp.get_all_start_methods()  # whether this platform has them
_method = "forkserver" if FORK_SERVER else "spawn"


def run_cells(
    variation: Variation,
    seeds: Sequence[int],
    run_dir: Path,
    processes: int,
    done: Callable[[int, dict[str, Any] | None], None],
) -> None:
    """Run the cells of `seeds` in up to `processes` processes; call `done(seed, record)` as each ends.

    A cell whose process died `ATTEMPTS` times while it was running is sealed as crashed; `record` is None for
    one that never got that far, and it stays missing.

    Raises:
        InvalidArgumentError: If the variation cannot be built.
    """
    start_server()
    context: Any = mp.get_context(_method)
    waiting = [(group, 1) for group in groups(variation, seeds, processes)]
    running: dict[Any, tuple[Any, list[int], int]] = {}
    # A worker forked from here would hold its elder siblings' sentinels open, and hide our death from them.
    lifeline = os.pipe() if _method == "fork" else None
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                group, attempt = waiting.pop(0)
                process = context.Process(
                    target=work, args=(variation, group, run_dir, lifeline), daemon=True
                )
                process.start()
                running[process.sentinel] = (process, group, attempt)
            for sentinel in multiprocessing.connection.wait(list(running)):
                process, group, attempt = running.pop(sentinel)
                process.join()
                if process.exitcode == REFUSED:
                    raise InvalidArgumentError(f"{variation.run_id}: cannot be built, see the line above")
                for seed in group:
                    record = read_record(cell_path(run_dir, seed), variation.planned(seed))
                    if record is None and attempt < ATTEMPTS:
                        waiting.append(([seed], attempt + 1))  # alone: it may have been the one too many
                    else:
                        done(seed, record or _give_up(variation, seed, run_dir))
    finally:
        for process, _, _ in running.values():
            process.kill()
        for end in lifeline or ():
            os.close(end)


def start_server() -> None:
    """Have the workers' server import PyTorch from now on, beside whatever this process does meanwhile."""
    if _method == "forkserver":
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(["hypernudge.harness.server"])
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
    variation: Variation, seeds: Sequence[int], run_dir: Path, lifeline: tuple[int, int] | None = None
) -> None:
    """What a worker process does: its cells, unless its parent dies first.

    Args:
        variation: What to run.
        seeds: Of its cells.
        run_dir: Where their records go.
        lifeline: Both ends of a pipe of the parent's, inherited; None to watch what `multiprocessing` gives.
    """
    if lifeline is None:
        die_with_parent()
    else:
        mine, parents = lifeline
        os.close(parents)  # now only the parent keeps it open
        _end_after(lambda: os.read(mine, 1))
    try:
        if shares(variation.spec):
            from hypernudge.harness.group import run_group

            run_group(variation, seeds, run_dir)
            return
        from hypernudge.harness.cell import run_cell

        for seed in seeds:
            run_cell(variation, seed, run_dir)
    except InvalidArgumentError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(REFUSED)


def _give_up(variation: Variation, seed: int, run_dir: Path) -> dict[str, Any] | None:
    """Seal a cell that was killed again and again as crashed, if it had declared what it would do."""
    path = cell_path(run_dir, seed)
    try:
        first = json.loads(partial_path(path).read_text().splitlines()[0])
    except (OSError, IndexError, ValueError):
        return None
    reason = f"the process was killed {ATTEMPTS} times, out of memory perhaps"
    seal_record(path, crashed(variation, seed, first["declared"], reason))
    return read_record(path, variation.planned(seed))


def die_with_parent() -> None:
    """Make this process end at once when its parent does, however the parent ends."""
    parent = mp.parent_process()  # not the operating system's: that is the server
    _end_after(partial(_poll_parent, os.getppid()) if parent is None else parent.join)


def leave(code: int) -> NoReturn:
    """End this process now: taking PyTorch apart first would cost most of a second, five times in a study."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed by whoever started us
            stream.flush()
    os._exit(code)


def _poll_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)


def _end_after(death: Callable[[], object]) -> None:
    """End this process when `death` returns; a thread that blocks is woken even where the machine is busy."""

    def watch() -> None:
        death()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

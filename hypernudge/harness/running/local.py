"""Jobs as processes on this machine.

They are forked from a server that has imported PyTorch once, which makes a process cost milliseconds instead
of seconds. Where there are no such servers each is started anew.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import multiprocessing.connection
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from importlib.machinery import ModuleSpec
from multiprocessing.connection import Connection
from typing import Any

from hypernudge.harness.planning.engines import has_real_workers
from hypernudge.harness.running.interruption import deaf_children, die_with_parent
from hypernudge.harness.running.pool import Cells, Exit, Job, execute
from hypernudge.harness.running.tee import take

PRELOADS = {"xgboost": ("xgboost", "pandas")}
"""What cells of a task import that takes a second or more, besides PyTorch."""
METHOD = "forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn"


class LocalLauncher:
    """Runs every job in a process of its own, which ends when this one does.

    Args:
        processes: How many at a time.
        checkpoint: Whether cells that were interrupted go on.
    """

    def __init__(self, processes: int, checkpoint: bool = False) -> None:
        self.capacity = self.parallel = processes
        self._checkpoint = checkpoint
        self._running: dict[Job, tuple[Any, Connection]] = {}

    def begun(self, cells: Cells) -> list[list[int]]:
        """Return nothing: no process outlives its run."""
        return []

    def submit(self, job: Job) -> None:
        """Start the process of a job."""
        start_server()
        context: Any = mp.get_context(METHOD)
        said, saying = context.Pipe(duplex=False)  # why it ends without a record
        cells = job.cells
        given = (cells.variation, job.seeds, cells.run_dir, job.place[1], self._checkpoint)
        alone = not has_real_workers(cells.variation.spec["engine"])  # else it has processes of its own
        process = context.Process(target=_work, args=(given, cells.streams.ends, saying), daemon=alone)
        with saying, deaf_children(), _script_left_out():
            process.start()
        self._running[job] = process, said

    def poll(self) -> list[tuple[Job, Exit]]:
        """Wait until processes have ended; return their jobs."""
        jobs = {process.sentinel: job for job, (process, _) in self._running.items()}
        ended = [jobs[sentinel] for sentinel in mp.connection.wait(list(jobs))]
        return [(job, _exit(*self._running.pop(job))) for job in ended]

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Kill the processes of jobs."""
        ours = [self._running.pop(job) for job in jobs if job in self._running]
        for process, _ in ours:
            process.kill()
        for process, said in ours:
            process.join()
            said.close()

    def close(self) -> None:
        """Kill what runs."""
        self.cancel(list(self._running))


def start_server(tasks: Collection[str] = ()) -> None:
    """Have the workers' server import PyTorch from now on, beside whatever this process does meanwhile.

    Args:
        tasks: Names of those to come: what they need is imported once, too, where it is installed.
    """
    if METHOD == "forkserver":
        from multiprocessing import forkserver

        heavy = [module for task in sorted(tasks) for module in PRELOADS.get(task, ())]
        forkserver.set_forkserver_preload(["hypernudge.harness.running.server", *heavy])
        with deaf_children():
            forkserver.ensure_running()


@contextlib.contextmanager
def _script_left_out() -> Iterator[None]:
    """Have new processes not import the program that starts them: they need nothing of it.

    A script without `if __name__ == "__main__":` would begin anew in each of them. `multiprocessing` leaves a
    main module of this name alone.
    """
    program: Any = sys.modules["__main__"]
    spec, program.__spec__ = program.__spec__, ModuleSpec("__main__", None)
    try:
        yield
    finally:
        program.__spec__ = spec


def _work(given: tuple[Any, ...], ends: tuple[Connection, Connection] | None, saying: Connection) -> None:
    """What a worker process does: its cells, unless its parent dies first."""
    die_with_parent()
    if ends is not None:
        take(ends)
    code, reason = execute(*given)
    if reason:
        saying.send(reason)
    sys.exit(code)


def _exit(process: Any, said: Connection) -> Exit:
    """Return how a process has ended."""
    process.join()
    code = int(process.exitcode)
    with said, contextlib.suppress(EOFError, OSError):
        if said.poll():
            return Exit(code, str(said.recv()))
    if code >= 0:
        return Exit(code, f"its process ended with exit code {code}")
    name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
    return Exit(
        code, f"its process was ended by {name}" + (", out of memory perhaps" if name == "SIGKILL" else "")
    )

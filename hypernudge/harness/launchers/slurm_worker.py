"""What a job of Slurm does: cells, with a clean end and another turn where its time is over.

submitit starts it, and pickles it into a folder of its own; it holds names and paths only. Slurm sends a
signal some time before the limit: everything that was reported is on disk by then, so the job asks to be
queued again and leaves. One that has got no further since it was started is not queued again.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import Any

from hypernudge.errors import InvalidArgumentError, one_line
from hypernudge.harness.cells.checkpoint import events_kept
from hypernudge.harness.cells.metering import ACCOUNTED
from hypernudge.harness.planning.resolve import load_plan
from hypernudge.harness.running.interruption import Terminated
from hypernudge.harness.running.pool import FAILED, REFUSED, Exit, execute
from hypernudge.results.digests import cell_key
from hypernudge.results.jsonio import write_json
from hypernudge.results.reading import UnreadableError, read_json
from hypernudge.results.records import cell_path


@dataclass
class CellTask:
    """Cells of one variation, as submitit calls it.

    Attributes:
        run_dir: Folder of the variation.
        run_id: Its name.
        keys: Seed -> hash of the configuration that the cell is to be computed with.
        attempt: At these cells, from 1.
        attempts: How many there may be.
        checkpoint_cells: Whether cells can go on where they were.
        accounted: Whether the cluster has an accounting of its own, which the records are to quote.
    """

    run_dir: str
    run_id: str
    keys: Mapping[int, str]
    attempt: int
    attempts: int
    checkpoint_cells: bool = True
    accounted: bool = False

    def __call__(self) -> None:
        """Run the cells.

        Raises:
            SystemExit: If cells have no record.
        """
        state = State.of_this_job()
        state.starts += 1
        state.save()
        attempt = self.attempt + state.starts - 1 - state.clean
        if attempt > self.attempts:
            self._leave(state, Exit(FAILED, f"its job was lost with its node {attempt - 1} times"))
        self._listen(state)
        if self.accounted:
            os.environ[ACCOUNTED] = "1"
        try:
            end = self._run(attempt)
        except Terminated:  # cancelled, or driven out by a job that comes first
            state.clean += 1
            end = Exit(FAILED, f"its job was ended by SIGTERM on {socket.gethostname()}")
        self._leave(state, end)

    def _run(self, attempt: int) -> Exit:
        try:
            variation = load_plan(Path(self.run_dir) / "config.yaml")[self.run_id]
        except InvalidArgumentError as error:
            return Exit(REFUSED, f"error: {error}\n")
        changed = [seed for seed, key in self.keys.items() if cell_key(variation.spec, seed) != key]
        if changed:
            return Exit(FAILED, "config.yaml is no longer what the cells were submitted with")
        return execute(variation, list(self.keys), Path(self.run_dir), attempt, self.checkpoint_cells)

    def _leave(self, state: State, end: Exit) -> None:
        """Note how it ends, for the reason that a cell has no record."""
        if end.code == 0:
            return
        state.code, state.reason = end
        state.save()
        sys.exit(end.code)

    def _listen(self, state: State) -> None:
        """Take over SIGTERM, and have what submitit does at its own signal never look like a failed study."""
        self._state, self._before = state, self._progress()
        ours = signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]
        requeue = signal.getsignal(ours)

        def leave(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which comes with being queued again
            try:
                if callable(requeue):
                    requeue(number, frame)
            except Exception as error:
                end = Exit(FAILED, f"its job could not be queued again: {one_line(error)}")
                self._leave(state, end)

        def stop(*_: Any) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            raise Terminated

        signal.signal(ours, leave)
        signal.signal(signal.SIGTERM, stop)

    def checkpoint(self) -> Any:
        """Return what submitit is to queue again: the same, if it has got on since it was started.

        Raises:
            SystemExit: It has not: with the same time it never would.
        """
        import submitit

        if self._progress() == self._before:
            rule = "has got no further within its time limit: raise launcher.time, or let units be shorter"
            self._leave(self._state, Exit(FAILED, f"its job {rule}"))
        self._state.clean += 1
        self._state.save()
        return submitit.helpers.DelayedSubmission(CellTask(**self._fields()))

    def _fields(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def _progress(self) -> tuple[int, int]:
        """Return how many cells have a record, and how much is kept of the others."""
        paths = [cell_path(Path(self.run_dir), seed) for seed in self.keys]
        return sum(path.exists() for path in paths), sum(events_kept(path) for path in paths)


@dataclass
class State:
    """What is noted of a job beside submitit's files, for the next start and for the reason of its end.

    Attributes:
        path: Where.
        starts: How often it was started.
        clean: How often it has left in order.
        code: Its exit code; 0 while it has not failed.
        reason: Why it failed.
    """

    path: Path
    starts: int = 0
    clean: int = 0
    code: int = 0
    reason: str = ""

    @classmethod
    def of_this_job(cls) -> State:
        """Return that of the job that this process is."""
        import submitit

        environment = submitit.JobEnvironment()
        found = cls.read(Path(os.environ["SUBMITIT_FOLDER"]), environment.job_id)
        found.code, found.reason = 0, ""
        return found

    @classmethod
    def read(cls, folder: Path, job: str) -> State:
        """Return what was noted of a job; nothing yet if it cannot be read."""
        path = folder / f"{job}.json"
        try:
            data = read_json(path)
            return cls(path, int(data["starts"]), int(data["clean"]), int(data["code"]), str(data["reason"]))
        except (OSError, UnreadableError, KeyError, TypeError, ValueError):
            return cls(path)

    def save(self) -> None:
        """Write it; where that is impossible, no reason is known and no start is counted."""
        try:
            write_json(self.path, {k: v for k, v in vars(self).items() if k != "path"})
        except OSError as error:
            sys.stderr.write(f"{self.path}: {error.strerror}\n")

"""Jobs of Slurm: submitted through submitit as arrays, watched by one question to the queue at a time.

A cell's truth is its sealed record; what Slurm says of a job only tells whether somebody still works on it.
Slurm that does not answer says nothing at all. Jobs outlive this process: the same command finds them again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from hypernudge.errors import InvalidArgumentError, last_line, one_line
from hypernudge.harness.launchers.slurm_checks import allow_open_files, private_folder
from hypernudge.harness.launchers.slurm_worker import CellTask, State
from hypernudge.harness.planning.own_modules import child_environment
from hypernudge.harness.running.pool import CANCELLED, Cells, Exit, Job
from hypernudge.harness.slurm import accounting, commands, journal
from hypernudge.harness.slurm.commands import QueuedJob, SlurmError
from hypernudge.harness.slurm.options import SlurmOptions
from hypernudge.results.accounting import JobUsage, note_usage
from hypernudge.results.digests import cell_key
from hypernudge.results.records import cell_path

T = TypeVar("T")
LOOK = 1.0  # seconds between two looks at the records
LEAVING = 60.0  # seconds that jobs whose cells have records are waited for
WAVE = 400  # jobs that are submitted together, if more may not run at the same time
LONGEST = 1_000_000  # characters of a job's log that are passed on
_TIME_OUTS = 1_000_000  # there is another bound: a job that gets no further is not queued again
_STATES = {
    "TIMEOUT": "its time limit: raise launcher.time",
    "OUT_OF_MEMORY": "out of memory: raise launcher.memory",
    "NODE_FAIL": "its node failed",
}


@dataclass(eq=False)
class _Flying:
    """A job that was submitted.

    Attributes:
        number: Slurm's.
        name: Of its submission.
        position: In that.
        task: What it is for.
        gone: How often in a row the queue has said that it is over.
    """

    number: str
    name: str
    position: int
    task: journal.Task
    gone: int = 0


class SlurmLauncher:
    """Runs jobs as those of Slurm.

    Args:
        options: What each asks for.
        results_dir: Holds the folders of the variations.
        attempts: At a cell, with nodes that fail counted in.
        checkpoint: Whether cells go on where they were when their time was over.
        say: Takes lines for people.

    Raises:
        InvalidArgumentError: If Slurm does not answer, or the folder for submitit's files cannot be used.
    """

    def __init__(
        self,
        options: SlurmOptions,
        results_dir: Path,
        attempts: int,
        checkpoint: bool,
        say: Callable[[str], None],
    ) -> None:
        self.parallel = options.max_parallel
        self._options, self._results, self._say = options, results_dir.absolute(), say
        self._attempts, self._checkpoint = attempts, checkpoint
        self._waiting: list[Job] = []
        self._running: dict[Job, _Flying] = {}
        self._leaving: list[_Flying] = []
        self._asked = 0.0
        self._trouble = ""
        private_folder(options.place, self._results)
        allow_open_files()
        try:
            self._gathered_by = accounting.gathered_by()
            self._left = self._of_earlier_runs()
        except SlurmError as error:
            raise InvalidArgumentError(f"launcher: {error}; wait until the cluster answers") from None

    @property
    def capacity(self) -> int:
        """How many jobs may be submitted: an array at once, later ones as its jobs end."""
        return max(self.parallel, WAVE) if not self._running else self.parallel

    def begun(self, cells: Cells) -> list[list[int]]:
        """Return what jobs of an earlier run still compute."""
        missing, found = set(cells.missing), list[list[int]]()
        for flying in self._left.get(cells.variation.run_id, ()):
            seeds = [seed for seed in flying.task.seeds if seed in missing]
            if seeds:
                found.append(seeds)
                missing -= set(seeds)
        return found

    def submit(self, job: Job) -> None:
        """Take a job over from an earlier run, or have it submitted with the next array."""
        left = self._left.get(job.cells.variation.run_id, [])
        same = next((f for f in left if set(job.seeds) <= set(f.task.seeds)), None)
        if same is not None and job.place[1] == 1:
            left.remove(same)
            self._running[job] = same
        else:
            self._waiting.append(job)

    def poll(self) -> list[tuple[Job, Exit]]:
        """Wait until jobs have ended; return them."""
        while True:
            if self._waiting:
                self._submit_waiting()
            ended = self._with_records()
            if not ended and time.monotonic() >= self._asked + self._options.poll_seconds:
                ended = self._of_queue()
            for job, _ in ended:
                self._over(job)
            if ended:
                return ended
            time.sleep(min(LOOK, self._options.poll_seconds))

    def cancel(self, jobs: Sequence[Job]) -> None:
        """End jobs, running or waiting."""
        flying = [self._running.pop(job) for job in jobs if job in self._running]
        self._waiting = [job for job in self._waiting if job not in jobs]
        self._ask(lambda: commands.cancel([f.number for f in flying]))
        self._leaving += flying

    def close(self) -> None:
        """Leave jobs to Slurm: they need nobody. Those that have done their work are waited for, a little."""
        # Of an earlier run, which was killed after a job's last record and before its end: nobody else looks.
        self._leaving += [f for jobs in self._left.values() for f in jobs if self._is_done(f.task)]
        deadline = time.monotonic() + LEAVING
        while self._leaving and not self._running and time.monotonic() < deadline:
            time.sleep(min(LOOK, self._options.poll_seconds))
            self._of_queue()
        if self._leaving and not self._running and self._gathered_by is not None:
            self._say(
                f"Slurm's accounting does not know the end of {len(self._leaving)} jobs yet: "
                "the same command notes what they have used"
            )
        if self._running:
            numbers = ", ".join(sorted({f.number.partition("_")[0] for f in self._running.values()}))
            self._say(
                f"Slurm goes on with {len(self._running)} jobs ({numbers}): the same command waits for them, "
                f"`hypernudge cancel {self._results}` ends them"
            )

    def _is_done(self, task: journal.Task) -> bool:
        run_dir = self._results / task.run_id
        return {cell_path(run_dir, seed).name for seed in task.seeds} <= _recorded(run_dir)

    def _of_earlier_runs(self) -> dict[str, list[_Flying]]:
        """Return jobs that were submitted for this directory and are not over, by run id."""
        found: dict[str, list[_Flying]] = {}
        known = journal.submissions(self._results)
        if not any(len(s.over) < len(s.tasks) for s in known):
            return found
        queue = commands.queue()
        for submission in known:
            if len(submission.over) == len(submission.tasks):
                continue
            if submission.number is None:  # whoever submitted it was killed before it could note the number
                submission.number = commands.named(submission.name)
                if submission.number is not None:
                    journal.note_number(self._results, submission.name, submission.number)
            for position, number, task in submission.open_jobs():
                job, flying = submission.find(number, queue), _Flying(number, submission.name, position, task)
                if job is not None and not job.is_over and not job.is_held:
                    found.setdefault(task.run_id, []).append(flying)
                else:
                    self._leaving.append(flying)
            if submission.number is None:  # nobody has ever heard of it
                for position in range(len(submission.tasks)):
                    journal.note_over(self._results, submission.name, position)
                shutil.rmtree(self._options.place / submission.name, ignore_errors=True)
        return found

    def _submit_waiting(self) -> None:
        """Submit an array of all that waits; if Slurm refuses for now, try again later."""
        name = f"{journal.PREFIX}{secrets.token_hex(4)}"
        tasks = [self._task(job) for job in self._waiting]
        journal.note_intent(self._results, name, tasks)
        numbers = self._ask(lambda: self._submit(name))
        if numbers is None:
            for position in range(len(tasks)):
                journal.note_over(self._results, name, position)
            time.sleep(self._options.poll_seconds)
            return
        journal.note_number(self._results, name, numbers[0].partition("_")[0])
        for position, (job, task, number) in enumerate(zip(self._waiting, tasks, numbers, strict=True)):
            self._running[job] = _Flying(number, name, position, task)
        self._waiting = []
        self._asked = time.monotonic()  # it takes them a moment to appear

    def _submit(self, name: str) -> list[str]:
        """Return the numbers of the jobs of all that waits.

        Raises:
            SlurmError: None was submitted.
        """
        import submitit

        folder = self._options.place / name
        with submitit.core.utils.environment_variables(**child_environment()):
            try:
                executor = submitit.SlurmExecutor(folder, max_num_timeout=_TIME_OUTS)
                executor.update_parameters(job_name=name, **self._options.parameters())
                made = executor.submit_array([self._cell_task(job) for job in self._waiting])
            except (RuntimeError, OSError) as error:
                with contextlib.suppress(SlurmError):  # it may have come through all the same
                    number = commands.named(name)
                    commands.cancel([number] if number else [])
                shutil.rmtree(folder, ignore_errors=True)
                raise SlurmError(f"sbatch: {commands.reason_in(str(error)) or one_line(error)}") from None
        return [one.job_id for one in made]

    def _task(self, job: Job) -> journal.Task:
        return journal.Task(job.cells.variation.run_id, tuple(job.seeds), job.place[1])

    def _cell_task(self, job: Job) -> CellTask:
        variation = job.cells.variation
        keys = {seed: cell_key(variation.spec, seed) for seed in job.seeds}
        run_dir = str(job.cells.run_dir.absolute())
        accounted = self._gathered_by is not None
        return CellTask(
            run_dir, variation.run_id, keys, job.place[1], self._attempts, self._checkpoint, accounted
        )

    def _with_records(self) -> list[tuple[Job, Exit]]:
        """Return the jobs all of whose cells have a record."""
        there: dict[Path, set[str]] = {}
        ended = []
        for job in self._running:
            run_dir = job.cells.run_dir
            if run_dir not in there:
                there[run_dir] = _recorded(run_dir)
            if all(cell_path(run_dir, seed).name in there[run_dir] for seed in job.seeds):
                ended.append((job, Exit(0, "")))
        return ended

    def _of_queue(self) -> list[tuple[Job, Exit]]:
        """Return the jobs that the queue says are over, twice in a row: a record may take a moment."""
        queue = self._ask(commands.queue)
        self._asked = time.monotonic()
        if queue is None:
            return []
        self._see_off(queue)
        ended = []
        for job, flying in self._running.items():
            found = queue.get(flying.number)
            flying.gone = flying.gone + 1 if found is None or found.is_over or found.is_held else 0
            if flying.gone >= 2:
                if found is not None and found.is_held:
                    self._ask(partial(commands.cancel, [flying.number]))
                ended.append((job, self._end_of(flying, found)))
        return ended

    def _end_of(self, flying: _Flying, found: QueuedJob | None) -> Exit:
        """Return how a job ended that has left cells without a record."""
        if found is not None and found.state.startswith("CANCELLED"):
            self._say(f"job {flying.number} was cancelled: {flying.task.run_id} stays without its cells")
            return Exit(CANCELLED, "")
        state = State.read(self._options.place / flying.name, flying.number)
        if state.code:
            return Exit(state.code, state.reason)
        where = f" on {found.nodes}" if found is not None and found.nodes else ""
        if found is None:
            return Exit(1, f"its job {flying.number} left the queue without a word")
        if found.is_held:
            return Exit(1, f"its job {flying.number} was held by Slurm: {found.reason}")
        why = _STATES.get(found.state, found.state.lower().replace("_", " "))
        said = _said(self._options.place / flying.name / f"{flying.number}_0_log.err").rstrip()
        last = f" ({one_line(last_line(said))})" if said else ""
        return Exit(1, f"its job {flying.number} ended{where}: {why}{last}")

    def _over(self, job: Job) -> None:
        """Pass on what a job has said, and forget it."""
        flying = self._running.pop(job)
        folder = self._options.place / flying.name
        for suffix, stream in (("out", job.cells.streams.out), ("err", job.cells.streams.err)):
            said = _said(folder / f"{flying.number}_0_log.{suffix}")
            if said:
                stream.write(said)
                stream.flush()
        self._leaving.append(flying)

    def _see_off(self, queue: Mapping[str, QueuedJob]) -> None:
        """Note what jobs that have left the queue have used, and remove submitit's files once all have."""
        gone = [f for f in self._leaving if (found := queue.get(f.number)) is None or found.is_over]
        usage: dict[str, JobUsage] = {}
        if gone and self._gathered_by is not None:
            numbers = [f.number for f in gone]
            usage = self._ask(lambda: accounting.usage_of(numbers)) or {}
            # The data base hears of an end a little later than the queue.
            gone = [f for f in gone if f.number in usage and usage[f.number].is_over]
        for flying in gone:
            if flying.number in usage:
                by, task = self._gathered_by or "", flying.task
                note_usage(self._results, usage[flying.number], task.run_id, task.seeds, by)
            journal.note_over(self._results, flying.name, flying.position)
            self._leaving.remove(flying)
            if flying.name not in {f.name for f in (*self._leaving, *self._running.values())}:
                shutil.rmtree(self._options.place / flying.name, ignore_errors=True)

    def _ask(self, question: Callable[[], T]) -> T | None:
        """Return Slurm's answer; where there is none, say so once: that is no news of any job."""
        try:
            answer = question()
        except SlurmError as error:
            if str(error) != self._trouble:
                self._say(f"{error}; trying again every {self._options.poll_seconds:g} s")
            self._trouble = str(error)
            return None
        if self._trouble:
            self._say("Slurm answers again")
        self._trouble = ""
        return answer


def _said(log: Path) -> str:
    """Return what a job's processes wrote, without submitit's own lines."""
    try:
        with log.open(encoding="utf-8", errors="backslashreplace") as file:
            lines = file.read(LONGEST).splitlines(keepends=True)
    except OSError:
        return ""
    return "".join(line for line in lines if not line.startswith("submitit "))


def _recorded(run_dir: Path) -> set[str]:
    """Return the file names of cells: listing asks a network file system anew, a look at one file may not."""
    with contextlib.suppress(OSError):
        return {entry.name for entry in os.scandir(run_dir / "cells")}
    return set()

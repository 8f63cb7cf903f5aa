"""What is asked of Slurm: its own commands, each answered within a bounded time or refused in one line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
PATIENCE = 10.0
"""Seconds that a command has; Slurm's own retry for longer where its controller does not answer."""

# States of which a job comes back by itself, or has not been anywhere yet.
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD")
ACTIVE = (
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "STOPPED",
    "RESIZING",
    "SIGNALING",
    "STAGE_OUT",
)
# Reasons for which a job waits for ever unless a person steps in: it would start no more.
HELD = ("JobHoldMaxRequeue", "launch failed requeued held", "job requeued in held state", "JobHeldAdmin")
_JOB = re.compile(r"\d{1,12}(_\d{1,9})?")
_NODES = re.compile(r"[\w.,\[\]-]{0,200}")


class SlurmError(Exception):
    """Slurm did not answer, or refused; the message is one line."""


@dataclass(frozen=True)
class QueuedJob:
    """A job as the queue has it.

    Attributes:
        state: `PENDING`, `RUNNING`, `FAILED` and so on.
        nodes: Where it runs; empty before it does.
        since: When it started, seconds since the epoch; None before it did.
        reason: Why it waits, or ended.
        name: What it was called by whoever submitted it.
    """

    state: str
    nodes: str
    since: float | None
    reason: str
    name: str

    @property
    def is_running(self) -> bool:
        """Whether it is on a node now."""
        return self.state in ACTIVE

    @property
    def is_held(self) -> bool:
        """Whether it waits, and will never start by itself."""
        return self.state in WAITING and self.reason in HELD

    @property
    def is_over(self) -> bool:
        """Whether it has ended and will not start again."""
        return self.state not in (*WAITING, *ACTIVE)


def is_job(text: object) -> bool:
    """Whether a text is the number of a job, `123`, or of one of an array, `123_4`."""
    return isinstance(text, str) and _JOB.fullmatch(text) is not None


def this_job() -> str:
    """Return the number of the job that this process is of, `123_4` in an array; empty outside one."""
    array, place = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{place}" if array and place else os.environ.get("SLURM_JOB_ID", "")


def call(command: Sequence[str], times: int = 1) -> str:
    """Return what a command of Slurm prints.

    Args:
        command: It.
        times: How often the usual patience it is given.

    Raises:
        SlurmError: It is not installed, does not answer in time, or refuses.
    """
    env = {**os.environ, "LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}
    try:
        done = subprocess.run(
            list(command),
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=times * PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]}: no answer from Slurm within {times * PATIENCE:g} s") from None
    except OSError as error:
        raise SlurmError(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        raise SlurmError(f"{command[0]}: {reason_in(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def reason_in(said: str) -> str:
    """Return what went wrong, from what a command of Slurm wrote to standard error."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line] or lines[-1:]
    return "; ".join(dict.fromkeys(line.partition("error: ")[2] or line for line in errors))[:300]


def is_here() -> bool:
    """Whether Slurm's commands are on the path."""
    return all(shutil.which(name) is not None for name in PROGRAMS)


def queue() -> dict[str, QueuedJob]:
    """Return this user's jobs by number, those that ended a few minutes ago included; one call for all.

    Raises:
        SlurmError: As `call`.
    """
    form = "%i|%T|%N|%S|%r|%j"
    listed = call(["squeue", "-h", "-r", f"--user={os.getuid()}", "--states=all", "-o", form])
    found = {}
    for line in listed.splitlines():
        fields = line.split("|", 5)
        if len(fields) == 6 and is_job(fields[0]):
            state, nodes, since, reason, name = fields[1:]
            found[fields[0]] = QueuedJob(state, _nodes(nodes), _when(since), reason[:100], name)
    return found


def named(name: str) -> str | None:
    """Return the number of this user's job, or array, of a name; None if there is none.

    Raises:
        SlurmError: As `call`.
    """
    listed = call(
        ["squeue", "-h", f"--user={os.getuid()}", "--states=all", f"--name={name}", "-o", "%F"]
    ).split()
    return next((number for number in listed if is_job(number)), None)


def cancel(jobs: Sequence[str]) -> None:
    """End jobs, waiting or running.

    Raises:
        SlurmError: As `call`.
    """
    for first in range(0, len(jobs), 500):  # a command line has an end
        # Those that are over are no error with --quiet.
        call(["scancel", "--quiet", *jobs[first : first + 500]], times=3)


def configuration() -> Mapping[str, str]:
    """Return how the cluster is configured.

    Raises:
        SlurmError: As `call`.
    """
    pairs = (line.partition("=") for line in call(["scontrol", "show", "config"]).splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _nodes(text: str) -> str:
    return text if _NODES.fullmatch(text) else "?"


def _when(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()  # local, as Slurm writes it
    except ValueError:
        return None

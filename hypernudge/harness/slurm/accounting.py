"""What Slurm's own accounting says of jobs, where the cluster keeps one.

Every turn of a job is counted, those that ended with a node or at the time limit too: it was paid for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from hypernudge.harness.slurm.commands import SlurmError, call, configuration, is_job, this_job
from hypernudge.results.accounting import JobUsage

_COLUMNS = ("JobID", "State", "ElapsedRaw", "CPUTimeRAW", "TotalCPU", "MaxRSS", "AllocTRES")
_CLOCK = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+(?:\.\d+)?)")
_GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)")


def gathered_by() -> str | None:
    """Return how the cluster gathers what jobs use (`jobacct_gather/cgroup`, say); None if it keeps nothing.

    Raises:
        SlurmError: If Slurm does not answer.
    """
    found = configuration()
    kept = found.get("AccountingStorageType", "").endswith("slurmdbd")
    return found.get("JobAcctGatherType", "") if kept else None


def usage_of(jobs: Sequence[str]) -> dict[str, JobUsage]:
    """Return what is known of jobs; one question for all.

    Raises:
        SlurmError: If Slurm does not answer.
    """
    command = ["sacct", "-n", "-P", "-D", "--noconvert", "-j", ",".join(jobs), "-o", ",".join(_COLUMNS)]
    return read_usage(call(command))


def read_usage(text: str) -> dict[str, JobUsage]:
    """Return what `sacct -n -P -D --noconvert` has printed, by job."""
    turns: dict[str, list[Mapping[str, str]]] = {}
    peaks: dict[str, int] = {}
    for line in text.splitlines():
        row = dict(zip(_COLUMNS, line.split("|"), strict=False))
        job, _, step = row.get("JobID", "").partition(".")
        if not is_job(job) or len(row) != len(_COLUMNS):
            continue
        if step:
            peaks[job] = max(peaks.get(job, 0), int(_number(row["MaxRSS"])))
        else:
            turns.setdefault(job, []).append(row)
    return {job: _usage(job, rows, peaks.get(job, 0)) for job, rows in turns.items()}


def _usage(job: str, rows: Sequence[Mapping[str, str]], peak: int) -> JobUsage:
    seconds = [_number(row["ElapsedRaw"]) for row in rows]
    gpus = [int(found[1]) if (found := _GPUS.search(row["AllocTRES"])) else 0 for row in rows]
    return JobUsage(
        job,
        rows[-1]["State"].split(" ")[0][:40],
        len(rows),
        sum(seconds),
        sum(_clock(row["TotalCPU"]) for row in rows),
        sum(_number(row["CPUTimeRAW"]) for row in rows),
        sum(s * count for s, count in zip(seconds, gpus, strict=True)),
        peak,
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _clock(text: str) -> float:
    """Return seconds from `[[D-]HH:]MM:SS[.mmm]`."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return 0.0
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def own_usage() -> dict[str, Any] | None:
    """Return what this job has used so far, as data for a record; None outside one, or if nobody says."""
    name, job = this_job(), os.environ.get("SLURM_JOB_ID", "")
    if not is_job(name) or not is_job(job):
        return None
    try:
        usage = usage_of([name]).get(name)  # by its other number the last of an array stands for all
        if usage is None:
            return None
        columns = "JobID,AveCPU,MaxRSS"  # of steps that are not over; there is one process in each
        listed = call(["sstat", "-n", "-P", "--noconvert", "-a", "-j", job, "-o", columns])
    except SlurmError:
        return None
    steps = steps_of(job, listed)
    return {
        **asdict(usage),
        "core_seconds": usage.core_seconds + sum(seconds for seconds, _ in steps),
        "peak_memory_bytes": max([usage.peak_memory_bytes, *(peak for _, peak in steps)]),
    }


def steps_of(job: str, text: str) -> list[tuple[float, int]]:
    """Return core seconds, whole ones, and peak memory of a job's steps, as `sstat -n -P` printed them.

    The last job of an array has the array's own number, and asked for that `sstat` lists the steps of all its
    jobs that run.

    Args:
        job: Its number of its own, not `123_4`.
        text: With the columns JobID, AveCPU and MaxRSS.
    """
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 2]
    return [(_clock(cpu), int(_number(rss))) for step, cpu, rss in rows if step.partition(".")[0] == job]

"""What must hold before jobs are submitted to Slurm: refused in one line where it does not."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import stat
import sys
from pathlib import Path

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.slurm import commands
from hypernudge.harness.slurm.commands import SlurmError
from hypernudge.harness.slurm.options import SlurmOptions

MOST_FILES = 65_536


def check_slurm(options: SlurmOptions) -> None:
    """Refuse what Slurm could not run, before any work.

    Raises:
        InvalidArgumentError: If there is no Slurm here, it does not answer, or would never start such a job.
        ModuleNotFoundError: If submitit is not installed.
    """
    import submitit  # noqa: F401

    remedy = "run it on a machine of the cluster, or use launcher: local"
    lacking = [name for name in commands.PROGRAMS if shutil.which(name) is None]
    require(not lacking, "launcher", "slurm needs the commands of Slurm on the path", lacking, remedy)
    flags = options.flags()
    try:
        if options.cgroup:
            found = commands.configuration()
            plugins = {name: found.get(name, "") for name in ("ProctrackType", "TaskPlugin")}
            confined = "cgroup" in plugins["ProctrackType"] and "cgroup" in plugins["TaskPlugin"]
            remedy = "ask for proctrack/cgroup and task/cgroup, or leave it out"
            require(confined, "launcher.cgroup", "the cluster must confine jobs by cgroups", plugins, remedy)
        commands.call(["sbatch", "--test-only", *flags, f"--wrap={sys.executable} --version"])
    except SlurmError as error:
        if "no answer" in str(error) or "contact" in str(error).lower():
            raise InvalidArgumentError(f"launcher: {error}; wait until the cluster answers") from None
        asked = " ".join(flags)
        raise InvalidArgumentError(
            f"launcher: Slurm would refuse every job ({asked}): {error}; correct the option, `sinfo` shows "
            "what there is"
        ) from None


def private_folder(place: Path, results_dir: Path) -> None:
    """Make the folder of submitit's files: jobs unpickle what lies there, so it must be ours alone.

    Raises:
        InvalidArgumentError: If it cannot be made, others may write it, or it lies among the results.
    """
    remedy = "name a folder in your home, on a disk that all nodes see"
    inside = place.resolve().is_relative_to(results_dir.resolve())
    require(not inside, "launcher.folder", "must not lie in the results directory", str(place), remedy)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
    except OSError as error:
        raise InvalidArgumentError(f"launcher.folder: {place}: {error.strerror}; {remedy}") from None
    ours = found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    require(ours, "launcher.folder", "must be yours, and nobody else may write it", str(place), remedy)


def allow_open_files() -> None:
    """Allow as many open files as we may: every variation that is at work has a few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

"""The launcher of a plan, by its name."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.leftovers import DRIVER_LOCK
from hypernudge.harness.cells.records import holders_in, note_holder
from hypernudge.harness.planning.plan import Plan
from hypernudge.harness.running.local import LocalLauncher, start_server
from hypernudge.harness.running.pool import Launcher
from hypernudge.results.files import lock


def check_launcher(plan: Plan) -> None:
    """Refuse a launcher that could run nothing, before any work; have one of this machine get ready.

    Raises:
        InvalidArgumentError: With the reason.
        ModuleNotFoundError: If what it needs is not installed.
    """
    launcher = plan.launcher
    if launcher["name"] == "slurm":
        from hypernudge.harness.launchers.slurm_checks import check_slurm
        from hypernudge.harness.slurm.options import SlurmOptions

        check_slurm(SlurmOptions.of(launcher))
    elif launcher["name"] == "ray":
        from hypernudge.harness.launchers.ray import check_ray

        check_ray(launcher)
    else:
        start_server({variation.spec["task"]["name"] for variation in plan.variations})


def shared_place(launcher: dict[str, Any]) -> Path | None:
    """Return a folder for what is thrown away, where all machines that run cells see it; None for any."""
    if launcher["name"] == "slurm":
        place = Path(launcher["folder"]).expanduser().absolute()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place
    return Path.cwd() if launcher.get("address") else None


@contextlib.contextmanager
def launcher_of(plan: Plan, results_dir: Path) -> Iterator[Launcher]:
    """Yield the launcher of a plan.

    Args:
        plan: It.
        results_dir: Holds the folders of the variations, where all nodes see it.

    Raises:
        InvalidArgumentError: If another process launches jobs for this directory, or the launcher refuses.
    """
    options = plan.launcher
    if options["name"] == "local":
        yield LocalLauncher(options["processes"], options["checkpoint"])
        return
    with sole_driver(results_dir):
        if options["name"] == "slurm":
            from hypernudge.harness.launchers.slurm import SlurmLauncher
            from hypernudge.harness.slurm.options import SlurmOptions

            yield SlurmLauncher(
                SlurmOptions.of(options), results_dir, plan.attempts, options["checkpoint"], _say
            )
            return
        from hypernudge.harness.launchers.ray import ray_launcher

        with ray_launcher(options) as launcher:
            yield launcher


@contextlib.contextmanager
def sole_driver(results_dir: Path) -> Iterator[None]:
    """Be the only one that submits jobs for a directory: two would queue every cell twice.

    Raises:
        InvalidArgumentError: If there is another; with its name.
    """
    path = results_dir / DRIVER_LOCK
    with lock(path, wait=False) as ours:
        if not ours:
            holder = next(
                (f"process {h.process} on {h.node}, since {h.since}," for h in holders_in(path)), ""
            )
            raise InvalidArgumentError(
                f"--results-dir: {results_dir} must have one driver, but {holder or 'another'} has it; wait "
                "until that has ended, or end it: its jobs go on, and the next one takes them over"
            )
        note_holder(path)
        yield


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()

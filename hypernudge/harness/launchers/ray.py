"""Jobs as tasks of Ray, on this machine or on a cluster that runs.

Ray tries nothing again by itself: attempts are counted here, and a cell's truth is its sealed record. Each
task has a process of its own, so that memory and mistakes of one cell are not another's.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hypernudge.engine.workers.ray_cluster import answering, connected
from hypernudge.errors import one_line, require
from hypernudge.harness.cells.metering import GPUS
from hypernudge.harness.planning.own_modules import child_environment
from hypernudge.harness.running.pool import FAILED, Cells, Exit, Job, execute
from hypernudge.results.plan import Variation


class RayLauncher:
    """Runs every job as a task.

    Args:
        ray: The module, connected.
        options: Of the launcher, all of them.
    """

    def __init__(self, ray: Any, options: Mapping[str, Any]) -> None:
        self.capacity = self.parallel = options["max_parallel"]
        self._ray, self._checkpoint = ray, options["checkpoint"]
        self._running: dict[Any, Job] = {}
        memory = options["memory"]
        self._gpus = float(options["gpus"])
        self._run = ray.remote(
            num_cpus=options["cores"],
            num_gpus=self._gpus,
            memory=None if memory is None else int(memory * 1e9),
            max_retries=0,
            max_calls=1,
        )(_run)

    def begun(self, cells: Cells) -> list[list[int]]:
        """Return nothing: tasks end with whoever has submitted them."""
        return []

    def submit(self, job: Job) -> None:
        """Submit the task of a job."""
        cells = job.cells
        given = (cells.variation, job.seeds, cells.run_dir.absolute(), job.place[1], self._checkpoint)
        self._running[self._run.remote(given, self._gpus)] = job

    def poll(self) -> list[tuple[Job, Exit]]:
        """Wait until tasks have ended; return their jobs."""
        ready, _ = self._ray.wait(list(self._running), num_returns=1)
        return [(self._running[task], self._end_of(task, self._running.pop(task))) for task in ready]

    def _end_of(self, task: Any, job: Job) -> Exit:
        try:
            code, reason, out, err = self._ray.get(task)
        except self._ray.exceptions.RayError as error:  # its process, or its node, is gone
            return Exit(FAILED, f"its task was lost: {one_line(error)}")
        for stream, said in ((job.cells.streams.out, out), (job.cells.streams.err, err)):
            stream.write(said)
            stream.flush()
        return Exit(code, reason)

    def cancel(self, jobs: Sequence[Job]) -> None:
        """End the tasks of jobs at once."""
        for task in [task for task, job in self._running.items() if job in jobs]:
            del self._running[task]
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.cancel(task, force=True)

    def close(self) -> None:
        """End what runs."""
        self.cancel(list(self._running.values()))


def _run(given: tuple[Variation, Sequence[int], Path, int, bool], gpus: float) -> tuple[int, str, str, str]:
    """What a task does: its cells, and what was said meanwhile."""
    os.environ[GPUS] = str(gpus)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code, reason = execute(*given)
    return code, reason, out.getvalue(), err.getvalue()


def check_ray(options: Mapping[str, Any]) -> None:
    """Refuse a launcher without Ray, and an address that does not answer.

    Raises:
        InvalidArgumentError: With the reason.
        ModuleNotFoundError: If Ray is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("ray") is None:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")
    if options["address"] not in (None, "auto"):
        answering(options["address"], "launcher.address")


@contextlib.contextmanager
def ray_launcher(options: Mapping[str, Any]) -> Iterator[RayLauncher]:
    """Yield a launcher, connected; what was started for it is stopped.

    Raises:
        InvalidArgumentError: If the cluster is not there, or no node of it has what a job asks for.
    """
    paths = [path for path in sys.path if path]
    environment = {"PYTHONPATH": os.pathsep.join([*child_environment().values(), *paths])}
    given = {"runtime_env": {"env_vars": environment}}
    with connected(options["address"], "launcher.address", "launcher: ray", **given) as ray:
        check_room(ray.nodes(), options)
        yield RayLauncher(ray, options)


def check_room(nodes: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> None:
    """Refuse jobs that no node could ever run: Ray would let them wait.

    Args:
        nodes: What `ray.nodes` says of them.
        options: Of the launcher.

    Raises:
        InvalidArgumentError: Naming the option.
    """
    asked = {"CPU": options["cores"], "GPU": options["gpus"], "memory": (options["memory"] or 0) * 1e9}
    there = [node["Resources"] for node in nodes if node["Alive"]]
    if any(all(node.get(name, 0) >= count for name, count in asked.items()) for node in there):
        return
    largest = {name: max((node.get(name, 0) for node in there), default=0) for name in asked}
    remedy = "lower it, or name another cluster by address"
    for name, option in (("CPU", "cores"), ("GPU", "gpus"), ("memory", "memory")):
        most = largest[name] / 1e9 if name == "memory" else largest[name]
        rule = f"must be what a node has, and the largest has {most:g}"
        require(asked[name] <= largest[name], f"launcher.{option}", rule, options[option], remedy)
    together = {option: options[option] for option in ("cores", "gpus", "memory") if options[option]}
    rule = "must be what one node has all together, and each has less of something"
    require(False, "launcher", rule, together, remedy)

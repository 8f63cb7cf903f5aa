"""Workers as actors of Ray: the cores and GPUs of this machine, or of a cluster.

Ray starts and reaches them, and tells of their ends. It retries nothing: attempts are counted by the engine.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import math
import os
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypernudge.engine.workers.engine import WorkerEngine
from hypernudge.engine.workers.messages import Beat, Died, Message, Order, Ready, Setup, Unusable
from hypernudge.engine.workers.ray_cluster import check_address, connected
from hypernudge.engine.workers.sending import Pickled, built
from hypernudge.engine.workers.worker import Worker, await_abandonment
from hypernudge.errors import one_line, package, require, require_between

BEATS = 5  # in the time that a worker may be silent
PURPOSE = "an engine on Ray"


@dataclass(eq=False)
class RayEngine(WorkerEngine):
    """Trains on actors of Ray; further arguments are those of `WorkerEngine`.

    Args:
        cpus_per_trial: Cores that Ray reserves for each worker.
        gpus_per_trial: GPUs for each, or a share of one, such as .5.
        address: Of a cluster that runs, `"host:port"`, or `"auto"` for the one that this machine belongs to.
            One is started here, and stopped, where absent; on a machine that has fewer cores than it takes,
            workers share them.

    Raises:
        InvalidArgumentError: For an argument that breaks a rule.
    """

    cpus_per_trial: float = 1
    gpus_per_trial: float = 0
    address: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("cpus_per_trial", "gpus_per_trial"):
            value = getattr(self, name)
            require_between(name, value, 0, 1024, ends=True, remedy="1 is usual")
            whole = value <= 1 or value == int(value)
            require(whole, name, "must be a whole number, or a share of one", value, "round it")
        check_address("address", self.address)

    def check_installed(self) -> None:
        """Refuse an environment that cannot start it.

        Raises:
            MissingExtraError: If Ray is not installed.
        """
        if importlib.util.find_spec("ray") is None:
            package("ray", "ray", PURPOSE)  # which says so

    @property
    def _gpus(self) -> float:
        return float(self.gpus_per_trial)

    def _open(self, setup: Setup) -> RayPool:
        ray = package("ray", "ray", PURPOSE)
        with contextlib.ExitStack() as stack:
            if not ray.is_initialized():  # else the user has connected
                here = {"num_cpus": max(1, math.ceil(self.workers * self.cpus_per_trial))}
                options = here if self.address is None else {}
                stack.enter_context(connected(self.address, "address", PURPOSE, **options))
            self._check_room(ray)
            sent = replace(setup, build=Pickled.of(setup.build, ray.cloudpickle.dumps))
            reserved = {"num_cpus": self.cpus_per_trial, "num_gpus": self.gpus_per_trial}
            return RayPool(ray, sent, reserved, self.heartbeat_timeout / BEATS, stack.pop_all())

    def _check_room(self, ray: Any) -> None:
        """Refuse workers that no cluster could hold: Ray would let them wait for ever."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for name, kind in (("gpus_per_trial", "GPU"), ("cpus_per_trial", "CPU")):
            asked = getattr(self, name)
            there = [node.get(kind, 0.0) for node in nodes]
            if not asked:
                continue
            rule = f"must be what one machine has, and the largest has {max(there, default=0):g}"
            remedy = "lower it, or name a cluster by its address"
            require(max(there, default=0) >= asked, name, rule, asked, remedy)
            room = int(sum((count + 1e-9) // asked for count in there))
            rule = f"must fit: {asked:g} {kind} each, and there is room for {room}"
            require(room >= self.workers, "workers", rule, self.workers, f"lower it, or {name}")


class _Actor:
    """A worker in an actor's process: one thread carries out orders, another one answers meanwhile."""

    def __init__(self, setup: Setup, name: str) -> None:
        self._worker = built(setup, name)
        threading.Thread(target=self._leave_with_its_driver, args=(setup,), daemon=True).start()

    @staticmethod
    def _leave_with_its_driver(setup: Setup) -> None:
        """End this process once its driver has a successor, or is done: Ray may take minutes to see that."""
        await_abandonment(setup)
        os._exit(0)

    def ready(self) -> Message:
        """Return `Ready`, or why not."""
        if isinstance(self._worker, Unusable):
            return self._worker
        import ray

        return Ready(os.getpid(), ray.get_runtime_context().get_node_id())

    def carry_out(self, order: Order) -> Message | None:
        """Carry out an order."""
        assert isinstance(self._worker, Worker)  # it has said that it is ready
        return self._worker.carry_out(order)

    def beat(self) -> Beat:
        """Say how far it is."""
        return self._worker.beat if isinstance(self._worker, Worker) else Beat()


@dataclass(eq=False)
class _Member:
    actor: Any
    ready: Ready | None = None
    asked: float = 0.0  # when it was last asked for a sign of life
    answering: bool = False


class RayPool:
    """A pool of actors.

    Args:
        ray: The module, connected.
        setup: What workers are built from.
        options: What Ray reserves for each.
        beat: Seconds between two signs of life.
        connection: What is closed at the end.
    """

    def __init__(
        self,
        ray: Any,
        setup: Setup,
        options: dict[str, float],
        beat: float,
        connection: contextlib.ExitStack,
    ) -> None:
        self._ray, self._setup, self._beat = ray, ray.put(setup), beat
        self._connection = connection
        self._kind = ray.remote(
            concurrency_groups={"work": 1, "life": 1}, max_restarts=0, max_task_retries=0, **options
        )(_Actor)
        self._members: dict[str, _Member] = {}
        self._expected: dict[Any, str] = {}  # reference -> worker
        self._numbers = itertools.count(1)
        self._killing: list[Any] = []

    def start(self) -> str:
        """Ask for an actor; see `Pool.start`."""
        name = f"ray-{next(self._numbers)}"
        actor = self._kind.remote(self._setup, name)
        self._members[name] = _Member(actor)
        self._expected[actor.ready.options(concurrency_group="work").remote()] = name
        return name

    def send(self, worker: str, order: Order) -> None:
        """Give a worker an order; see `Pool.send`."""
        actor = self._members[worker].actor
        self._expected[actor.carry_out.options(concurrency_group="work").remote(order)] = worker

    def receive(self, timeout: float) -> list[tuple[str, Message]]:
        """Return what workers have said; see `Pool.receive`."""
        until = time.monotonic() + timeout
        while True:
            self._ask()
            left = until - time.monotonic()
            references = list(self._expected)
            if not references:  # all are idle, and asked a moment ago
                time.sleep(max(0.0, min(left, self._beat)))
            else:
                pause = max(0.0, min(left, self._beat))
                done, _ = self._ray.wait(references, timeout=pause)
                if done and len(references) > 1:
                    done, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
                said = [heard for reference in done if (heard := self._heard(reference)) is not None]
                if said:
                    return said
            if left <= 0:
                return []

    def _ask(self) -> None:
        """Ask workers that are ready for a sign of life, now and then."""
        now = time.monotonic()
        for name, member in self._members.items():
            if member.ready is not None and not member.answering and now - member.asked >= self._beat:
                member.asked, member.answering = now, True
                reference = member.actor.beat.options(concurrency_group="life").remote()
                self._expected[reference] = name

    def _heard(self, reference: Any) -> tuple[str, Message] | None:
        worker = self._expected.pop(reference, None)
        if worker is None:  # its worker has ended, which was told
            return None
        member = self._members[worker]
        try:
            message = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # no fault of the trial's, nor of its task's
            raise RuntimeError(f"worker {worker} failed: {one_line(error)}") from error
        except self._ray.exceptions.RayError as error:
            self._forget(worker)
            return worker, Died(f"died: {one_line(error)}")
        if isinstance(message, Ready):
            member.ready, member.asked = message, time.monotonic()
        if isinstance(message, Beat):
            member.answering = False
        return None if message is None else (worker, message)

    def _forget(self, worker: str) -> None:
        for reference in [ref for ref, name in self._expected.items() if name == worker]:
            del self._expected[reference]

    def end(self, worker: str) -> None:
        """End a worker at once."""
        member = self._members.pop(worker)
        self._forget(worker)
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(member.actor)
        if member.answering and member.ready is not None:  # one that is stopped does not hear Ray
            strategies = self._ray.util.scheduling_strategies
            there = strategies.NodeAffinitySchedulingStrategy(member.ready.place, soft=False)
            kill = self._ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_kill)
            self._killing.append(kill.remote(member.ready.process))

    def close(self) -> None:
        """End all workers, and the cluster if it was started here."""
        for worker in list(self._members):
            self.end(worker)
        if self._killing:
            self._ray.wait(self._killing, num_returns=len(self._killing), timeout=10)
        self._connection.close()


def _kill(process: int) -> None:
    """Kill a worker of Ray on its node."""
    with contextlib.suppress(OSError):
        if b"ray::" in Path(f"/proc/{process}/cmdline").read_bytes():  # nobody else has its number now
            os.kill(process, signal.SIGKILL)

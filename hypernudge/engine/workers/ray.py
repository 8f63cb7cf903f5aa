"""Workers as actors of Ray: the cores and GPUs of this machine, or of a cluster.

Ray starts and reaches them, and tells of their ends. It retries nothing: attempts are counted by the engine.
A cluster that is started here listens on loopback only, has no dashboard, and reports nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypernudge.engine.workers.engine import WorkerEngine
from hypernudge.engine.workers.messages import Beat, Died, Message, Order, Ready, Setup, Unusable
from hypernudge.engine.workers.sending import Pickled, built
from hypernudge.engine.workers.worker import Worker
from hypernudge.errors import InvalidArgumentError, one_line, package, require, require_between
from hypernudge.results.files import lock, remove_unheld

BEATS = 5  # in the time that a worker may be silent
PATIENCE = 10  # seconds that an address has to answer
QUIET = {
    "RAY_AUTH_MODE": "disabled",  # nobody else can reach what listens on loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # which keeps it on loopback
    "RAY_gcs_server_request_timeout_seconds": str(PATIENCE),
}
_FOLDER, _LOCK = "hypernudge-ray-", "driver.lock"
logger = logging.getLogger("hypernudge")


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
        if self.address is not None:
            text = isinstance(self.address, str)
            known = text and (self.address == "auto" or _parts(self.address) is not None)
            rule, remedy = "must be 'auto' or 'host:port'", "leave it out to start a cluster here"
            require(known, "address", rule, self.address, remedy)

    @property
    def _gpus(self) -> float:
        return float(self.gpus_per_trial)

    def _open(self, setup: Setup) -> RayPool:
        ray = package("ray", "ray", "an engine on Ray")
        with contextlib.ExitStack() as stack:
            if not ray.is_initialized():
                stack.enter_context(self._connected(ray))
            self._check_room(ray)
            sent = replace(setup, build=Pickled.of(setup.build, ray.cloudpickle.dumps))
            options = {"num_cpus": self.cpus_per_trial, "num_gpus": self.gpus_per_trial}
            beat = self.heartbeat_timeout / BEATS
            return RayPool(ray, sent, options, beat, stack.pop_all(), ours=self.address is None)

    @contextlib.contextmanager
    def _connected(self, ray: Any) -> Iterator[None]:
        """Connect, or start a cluster; undo that at the end.

        Raises:
            InvalidArgumentError: If it does not answer, or cannot be started.
        """
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        with contextlib.ExitStack() as stack:
            if self.address is None:
                options |= {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
                options |= {"num_cpus": max(1, int(self.workers * self.cpus_per_trial + 0.999))}
                options["_temp_dir"] = str(stack.enter_context(_own_folder()))
            else:
                options["address"] = self._answering(ray)
            with _environment(QUIET if self.address is None else {}):
                try:
                    ray.init(**options)
                except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
                    raise self._no_answer(one_line(error)) from error
            stack.callback(ray.shutdown)
            yield

    def _answering(self, ray: Any) -> str:
        """Return the address of a cluster, once something there takes a connection."""
        address = str(self.address)
        if address == "auto":
            services = ray._private.services
            with contextlib.suppress(ConnectionError):
                address = services.get_ray_address_from_environment("auto", None) or ""
        parts = _parts(address)
        if parts is None:
            raise self._no_answer("no cluster is known here")
        try:
            socket.create_connection(parts, PATIENCE).close()
        except OSError as error:
            raise self._no_answer(one_line(error.strerror or error)) from None
        return address

    def _no_answer(self, reason: str) -> InvalidArgumentError:
        where = "a cluster that is started here" if self.address is None else repr(self.address)
        return InvalidArgumentError(
            f"address: must be a cluster of Ray that answers within {PATIENCE} s, but {where} does not "
            f"({reason}); start one with `ray start --head`, or leave the address out"
        )

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


def _parts(address: str) -> tuple[str, int] | None:
    host, colon, port = address.rpartition(":")
    known = colon and host and "/" not in host and port.isdecimal() and 0 < int(port) < 65536
    return (host.strip("[]"), int(port)) if known else None


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Have variables in the environment, unless they are there, while Ray starts its processes."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    """Yield a folder for a cluster's files; those of drivers that were killed are removed."""
    place = Path(tempfile.gettempdir())
    for old in place.glob(f"{_FOLDER}*"):
        if remove_unheld(old / _LOCK):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    try:
        with lock(folder / _LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Actor:
    """A worker in an actor's process: one thread carries out orders, another one answers meanwhile."""

    def __init__(self, setup: Setup, name: str) -> None:
        self._worker = built(setup, name)

    def ready(self) -> Message:
        """Return `Ready`, or why not."""
        if isinstance(self._worker, Unusable):
            return self._worker
        import platform

        return Ready(platform.node(), os.getpid())

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
    process: int | None = None
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
        ours: Whether the cluster is of this machine, and of this process.
    """

    def __init__(
        self,
        ray: Any,
        setup: Setup,
        options: dict[str, float],
        beat: float,
        connection: contextlib.ExitStack,
        ours: bool,
    ) -> None:
        self._ray, self._setup, self._beat = ray, ray.put(setup), beat
        self._connection, self._ours = connection, ours
        self._kind = ray.remote(
            concurrency_groups={"work": 1, "life": 1}, max_restarts=0, max_task_retries=0, **options
        )(_Actor)
        self._members: dict[str, _Member] = {}
        self._expected: dict[Any, str] = {}  # reference -> worker
        self._numbers = itertools.count(1)

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
            if member.process is not None and not member.answering and now - member.asked >= self._beat:
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
            member.process, member.asked = message.process, time.monotonic()
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
        if self._ours and member.process is not None:  # one that is stopped does not hear Ray
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.process, signal.SIGKILL)

    def close(self) -> None:
        """End all workers, and the cluster if it was started here."""
        for worker in list(self._members):
            self.end(worker)
        self._connection.close()

"""The processes that train one trial together, one for each device; Lightning Fabric connects them.

The process that tunes is the first of them. It starts the others when it first needs them and tells them what
to do, a line of JSON for each unit; gradients go through PyTorch's process group. Only the first one scores,
measures and writes. The others build the same task from its description, so only tasks by name can have them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from hypernudge.errors import InvalidArgumentError, require, require_choice, require_whole

if TYPE_CHECKING:
    from hypernudge.tasks.module.training import Training

STRATEGIES = ("auto", "ddp")
PATIENCE = 20.0  # seconds that the others have to end by themselves


class Devices:
    """Several devices for one trial at a time.

    Args:
        count: Devices, at least 2.
        strategy: `"auto"` or `"ddp"`: every device has the whole model and a share of each mini-batch.
        device: `"cpu"` (processes) or `"cuda"`.
        task: Description of the task, plain data: its registered name and its options.

    Raises:
        InvalidArgumentError: There are fewer devices, another strategy, Lightning is not installed, or the
            description is not plain.
    """

    def __init__(self, count: int, strategy: str, device: torch.device, task: Mapping[str, Any]) -> None:
        check_parallel(count, strategy, device)
        try:
            self._task = json.dumps(dict(task))
        except (TypeError, ValueError):
            rule = "need a task described by plain data"
            raise InvalidArgumentError(
                f"devices: {rule}, but got {task!r}; use names and numbers, as in a YAML file"
            ) from None
        self.count, self._device = count, device
        self._others: list[subprocess.Popen[bytes]] = []
        self.fabric: Any = None

    def training(self, *arguments: Any) -> Training:
        """Return a trial's training on all devices; the one before it ends. Arguments as of `Training`."""
        from hypernudge.tasks.parallel.training import ParallelTraining

        self._start()
        _, _, hp, seed, _, units = arguments
        self.tell({"do": "begin", "hp": dict(hp), "seed": seed, "units": units})
        return ParallelTraining(self.fabric, self, *arguments)

    def tell(self, what: Mapping[str, Any]) -> None:
        """Tell the others what to do next."""
        line = json.dumps(what).encode() + b"\n"
        for other in self._others:
            assert other.stdin is not None
            try:
                other.stdin.write(line)
                other.stdin.flush()
            except OSError:
                self.stop()
                raise RuntimeError("a process of another device has ended; see its message above") from None

    def stop(self) -> None:
        """End the other processes, if there are any."""
        if self.fabric is None:
            return
        self.fabric = None
        if torch.distributed.is_initialized():
            with contextlib.suppress(RuntimeError):  # a member may be gone
                torch.distributed.destroy_process_group()
        for other in self._others:
            with contextlib.suppress(OSError):
                other.stdin.close()  # type: ignore[union-attr]  # it is a pipe
        for other in self._others:
            try:
                other.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                other.kill()
                other.wait()
        self._others = []

    def _start(self) -> None:
        if self.fabric is not None:
            return
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
        command = [sys.executable, "-m", "hypernudge.tasks.parallel.worker"]
        for rank in range(1, self.count):
            # Standard output may be read by somebody, line by line.
            other = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment
            )
            self._others.append(other)
            about = {"rank": rank, "count": self.count, "port": port, "device": self._device.type}
            about |= {"threads": torch.get_num_threads()}
            assert other.stdin is not None
            other.stdin.write(json.dumps({**about, "task": json.loads(self._task)}).encode() + b"\n")
            other.stdin.flush()
        self.fabric = connected(0, self.count, port, self._device.type)

    def __del__(self) -> None:
        """End the other processes with the task."""
        with contextlib.suppress(Exception):
            self.stop()


def check_parallel(count: int, strategy: str, device: torch.device) -> None:
    """Refuse what cannot train in parallel here.

    Raises:
        InvalidArgumentError: Naming `devices` or `strategy`.
    """
    require_whole("devices", count)
    require_choice("strategy", strategy, STRATEGIES)
    if count == 1:
        return
    require(device.type in ("cpu", "cuda"), "devices", "must be 1 here", count, "use device cpu or cuda")
    there = torch.cuda.device_count() if device.type == "cuda" else os.cpu_count() or 1
    require(count <= there, "devices", f"must be at most the {there} that are there", count, "lower it")
    try:
        import importlib.util

        found = importlib.util.find_spec("lightning") is not None
    except ValueError:
        found = False
    remedy = "pip install 'hypernudge[devices]'"
    require(found, "devices", "more than one needs Lightning, which is not installed", count, remedy)


def connected(rank: int, count: int, port: int, device: str) -> Any:
    """Return a Fabric of this process's rank; it waits for the others."""
    from lightning.fabric import Fabric
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment

    class Started(LightningEnvironment):
        """Processes that were started here, not by Lightning."""

        creates_processes_externally = True
        main_address = "127.0.0.1"
        main_port = port

        def local_rank(self) -> int:
            """Return the number of this process."""
            return rank

    fabric = Fabric(accelerator=device, devices=count, strategy="ddp", plugins=[Started()])
    with _quiet():
        fabric.launch()
    return fabric


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from saying that processes have met."""
    loggers = [logging.getLogger(name) for name in ("lightning.fabric", "lightning.pytorch")]
    loggers += [logging.getLogger(f"{logger.name}.utilities.rank_zero") for logger in loggers]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

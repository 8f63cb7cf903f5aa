"""What a job of Slurm asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hypernudge.harness.planning.launchers import minutes


@dataclass(frozen=True)
class SlurmOptions:
    """Options of `launcher: {name: slurm, ...}`, each checked against the schema before.

    Attributes:
        max_parallel: Jobs that run at the same time.
        partition: Where; the cluster's default if absent.
        time: Its limit in minutes, or `D-HH:MM:SS`.
        memory: In gigabytes.
        cores: Processors.
        gpus: GPUs, or `type:number`; none if 0.
        cgroup: Whether jobs must be confined by cgroups.
        grace: Seconds before the limit at which a job is told to leave.
        poll_seconds: Between two questions to Slurm.
        folder: Where submitit keeps its files; none of the results.
        sbatch: Further options of `sbatch`, such as `{account: mine}`.
    """

    max_parallel: int
    partition: str | None
    time: int | str
    memory: float | None
    cores: int
    gpus: float | str
    cgroup: bool
    grace: int
    poll_seconds: float
    folder: str
    sbatch: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> SlurmOptions:
        """Return the options that a launcher's mapping holds besides those of all launchers."""
        return cls(**{f.name: given[f.name] for f in fields(cls)})

    @property
    def minutes(self) -> int:
        """The time limit, rounded up."""
        return minutes(self.time)

    @property
    def place(self) -> Path:
        """The folder of submitit's files, absolute."""
        return Path(self.folder).expanduser().absolute()

    def parameters(self) -> dict[str, Any]:
        """Return what submitit is told."""
        asked: dict[str, Any] = {
            "time": self.minutes,
            "cpus_per_task": self.cores,
            "signal_delay_s": self.grace,
            "array_parallelism": self.max_parallel,
            "partition": self.partition,
            "mem": None if self.memory is None else f"{max(1, round(self.memory * 1024))}M",
            "gpus_per_node": self.gpus if isinstance(self.gpus, str) else int(self.gpus) or None,
            "additional_parameters": {"requeue": True, **self.sbatch},
        }
        return {name: value for name, value in asked.items() if value is not None}

    def flags(self) -> list[str]:
        """Return the same for `sbatch` itself."""
        asked = self.parameters()
        further = asked.pop("additional_parameters")
        for ours in ("signal_delay_s", "array_parallelism"):
            del asked[ours]
        pairs = {**{name.replace("_", "-"): value for name, value in asked.items()}, **further}
        return [f"--{name}" if value is True else f"--{name}={value}" for name, value in pairs.items()]

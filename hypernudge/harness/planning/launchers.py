"""Where cells run: the launchers there are, their options, and which belong to which."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from hypernudge.errors import InvalidArgumentError, require, require_choice
from hypernudge.schema import Schema, whole

MAX_PROCESSES = 1024
MAX_PARALLEL = 10_000
MAX_ATTEMPTS = 100
ATTEMPTS = 2
SUPPLIED = (
    "array",
    "error",
    "export",
    "input",
    "job-name",
    "output",
    "requeue",
    "signal",
    "test-only",
    "wrap",
)
"""Options of `sbatch` that are ours."""

_ALL: dict[str, Any] = {"attempts": ATTEMPTS, "checkpoint": True}
_NODE: dict[str, Any] = {"max_parallel": 100, "cores": 1, "gpus": 0, "memory": None}
LAUNCHERS: dict[str, dict[str, Any]] = {
    "local": {"processes": 2, **_ALL, "checkpoint": False},
    "slurm": {
        **_NODE,
        **_ALL,
        "partition": None,
        "time": 60,
        "cgroup": False,
        "grace": 90,
        "poll_seconds": 15.0,
        "folder": "~/.cache/hypernudge/slurm",
        "sbatch": {},
    },
    "ray": {**_NODE, **_ALL, "address": None},
}
"""Launcher -> its options with their defaults."""

EARLY = 60  # seconds by which Slurm's signal may come too early, as the manual of sbatch says of --signal
_TIME = re.compile(r"(?:(\d{1,3})-)?(\d{1,4}):(\d{2}):(\d{2})")

PROPERTIES: dict[str, Schema] = {
    "name": {
        "enum": list(LAUNCHERS),
        "description": "`local`: processes of this machine; `slurm`: jobs of a cluster; `ray`: tasks of Ray.",
    },
    "processes": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_PROCESSES,
        "description": "local: cells that run side by side.",
    },
    "max_parallel": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_PARALLEL,
        "description": "slurm, ray: jobs that run side by side.",
    },
    "attempts": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_ATTEMPTS,
        "description": "Tries at a cell that is killed or cannot write, before it is missing.",
    },
    "checkpoint": {
        "type": "boolean",
        "description": "Whether an interrupted cell goes on where it was; false for `local` if absent.",
    },
    "cores": {
        "type": "integer",
        "minimum": 1,
        "maximum": 4096,
        "description": "slurm, ray: processors of a job.",
    },
    "gpus": {
        "type": ["number", "string"],
        "minimum": 0,
        "maximum": 1024,
        "pattern": whole(r"\w[\w.-]*:[1-9]\d{0,3}"),
        "maxLength": 100,
        "rule": "must be a number >= 0, or type:number",
        "description": "slurm, ray: GPUs of a job; slurm: whole, or `a100:2`; ray: also a share such as .5.",
    },
    "memory": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "maximum": 100_000,
        "rule": "must be gigabytes, a positive number",
        "description": "slurm, ray: of a job, in gigabytes; what the cluster gives if absent.",
    },
    "partition": {
        "type": ["string", "null"],
        "pattern": whole(r"\w[\w.,-]*"),
        "maxLength": 200,
        "rule": "must be a name",
        "description": "slurm: where; the cluster's default if absent.",
    },
    "time": {
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 525_600,
        "pattern": whole(_TIME.pattern),
        "rule": 'must be whole minutes, or "D-HH:MM:SS"',
        "description": "slurm: limit of a job; a cell may take longer, for it goes on in the next turn.",
    },
    "cgroup": {
        "type": "boolean",
        "description": "slurm: refuse a cluster that does not confine jobs by cgroups.",
    },
    "grace": {
        "type": "integer",
        "minimum": 1,
        "maximum": 65_535,
        "description": "slurm: seconds before the limit at which a job is told to leave.",
    },
    "poll_seconds": {
        "type": "number",
        "minimum": 0.2,
        "maximum": 3600,
        "rule": "must be seconds in [0.2, 3600]",
        "description": "slurm: between two questions to the queue.",
    },
    "folder": {
        "type": "string",
        "minLength": 1,
        "maxLength": 1000,
        "description": "slurm: for submitit's files, on a disk that all nodes see; yours alone.",
    },
    "sbatch": {
        "type": "object",
        "maxProperties": 50,
        "propertyNames": {
            "type": "string",
            "pattern": whole(r"[a-z][a-z0-9-]*"),
            "rule": "must be a long option of sbatch, without --",
        },
        "additionalProperties": {
            "type": ["string", "number", "boolean"],
            "pattern": whole(r"[^\r\n]*"),
            "maxLength": 500,
            "rule": "must be one line of text, a number, or true",
        },
        "description": "slurm: further options of `sbatch`, such as `{account: mine, qos: long}`.",
    },
    "address": {
        "type": ["string", "null"],
        "pattern": whole(r"[\w.:/\[\]-]+"),
        "maxLength": 200,
        "rule": "must be an address, or auto",
        "description": "ray: of a cluster that runs, or `auto`; one is started on this machine if absent.",
    },
}

LAUNCHER: Schema = {
    "type": ["string", "object", "null"],
    "rule": f"must be one of {', '.join(LAUNCHERS)}, or a mapping with `name` and options",
    "pattern": whole(r"\w[\w.+-]*"),
    "maxLength": 200,
    "additionalProperties": False,
    "properties": PROPERTIES,
    "description": "Where cells run: a name, or a mapping with `name` and options; it changes no result.",
}


def read_launcher(given: Any, file: Callable[[str], Mapping[str, Any]]) -> dict[str, Any]:
    """Return a launcher with all its options.

    Args:
        given: What the experiment says, checked against the schema.
        file: Returns what `launcher/<name>.yaml` holds; asked where the experiment gives a name alone.

    Raises:
        InvalidArgumentError: For an option of another launcher, or a value that this one does not take.
    """
    own = file(given) if isinstance(given, str) else dict(given or {})
    name = own.get("name", given if isinstance(given, str) else "local")
    require_choice("launcher", name, LAUNCHERS)
    defaults = LAUNCHERS[name]
    for option in own:
        if option != "name" and option not in defaults:
            of = [other for other, options in LAUNCHERS.items() if option in options]
            instead = "max_parallel" if option == "processes" else "processes" if name == "local" else ""
            beside = f"; {name} has {instead}" if instead in defaults and option != instead else ""
            raise InvalidArgumentError(
                f"launcher.{option}: is an option of {' and '.join(of)}, not of {name}{beside}; remove "
                "it, or name another launcher"
            )
    launcher = {"name": name, **defaults, **own}
    if name == "slurm":
        _check_slurm(launcher)
    text = isinstance(launcher.get("gpus"), str)
    require(name == "slurm" or not text, "launcher.gpus", "must be a number", launcher.get("gpus"), "1, say")
    return launcher


def minutes(time: int | str) -> int:
    """Return a time limit in minutes, rounded up: a number of them, or `D-HH:MM:SS`."""
    if isinstance(time, int):
        return time
    given = _TIME.fullmatch(time)
    assert given is not None  # the schema has seen it
    days, hours, whole_minutes, seconds = (int(part or 0) for part in given.groups())
    return max(1, math.ceil((days * 86400 + hours * 3600 + whole_minutes * 60 + seconds) / 60))


def _check_slurm(launcher: Mapping[str, Any]) -> None:
    gpus = launcher["gpus"]
    limit, grace = 60 * minutes(launcher["time"]), launcher["grace"]
    rule = (
        f"must leave a job some of its time limit, {limit} s, although Slurm may tell it to leave another "
        f"{EARLY} s earlier"
    )
    require(grace + EARLY < limit, "launcher.grace", rule, grace, "raise launcher.time, or lower it")
    whole_number = isinstance(gpus, str) or float(gpus).is_integer()
    require(whole_number, "launcher.gpus", "Slurm gives whole GPUs", gpus, "share one with launcher: ray")
    ours = sorted(set(launcher["sbatch"]) & set(SUPPLIED))
    require(not ours, "launcher.sbatch", "must leave these to the launcher", ours, "remove them")
    no = sorted(name for name, value in launcher["sbatch"].items() if value is False)
    require(not no, "launcher.sbatch", "an option without a value is true", no, "remove what is not wanted")

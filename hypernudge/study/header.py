"""What a study's file begins with: which study it is. Going on asks for the same, and says what differs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy
import torch

from hypernudge.errors import InvalidArgumentError, one_line, shown
from hypernudge.parameters import Categorical, Integer, Real
from hypernudge.results.printable import abridged
from hypernudge.space import HyperParameter, SearchSpace
from hypernudge.study.events import number, read_number

FORMAT = 1
GROWS = ("budget", "max_trials")
"""Arguments that may be larger when a study goes on."""
_OF_A_TASK = (
    *("metric", "metric_range", "batch_size", "steps_per_unit", "optimizer", "schedule"),
    *("fixed", "precision", "units"),
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LISTED = 4


def describe(value: Any, within: SearchSpace | None = None) -> Any:
    """Return an argument as plain data that is equal for equal arguments, in every process.

    Args:
        value: A number, a text, a container, a dataclass, a function, a tensor or any other object.
        within: A space that need not be described again.
    """
    if isinstance(value, numpy.generic):  # a number of NumPy is the same number
        value = value.item()
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return number(value)
    if isinstance(value, SearchSpace):
        return "the study's" if value == within else describe_space(value)
    if isinstance(value, torch.Tensor):
        return _of_numbers(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy(), value)
    if isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        return _of_numbers(numpy.ascontiguousarray(value).reshape(-1).view(numpy.uint8), value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (f for f in dataclasses.fields(value) if f.init and f.compare)
        return {
            "type": type(value).__name__,
            **{f.name: describe(getattr(value, f.name), within) for f in fields},
        }
    if isinstance(value, Mapping):
        return {str(key): describe(entry, within) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [describe(entry, within) for entry in value]
    if isinstance(value, functools.partial):
        return {"function": describe(value.func), "with": describe([*value.args, value.keywords], within)}
    if hasattr(value, "__qualname__"):
        return value.__qualname__
    kind: Any = type(value)
    if kind.__repr__ is object.__repr__:
        return {"type": kind.__name__}
    text = _ADDRESS.sub("", repr(value))
    return text if len(text) <= 1000 else hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _of_numbers(raw: numpy.ndarray, whole: Any) -> str:
    """Return a digest of an array or a tensor: of its bytes, type and shape."""
    about = f"{whole.dtype} {tuple(whole.shape)} ".encode()
    return hashlib.blake2b(about + raw.tobytes(), digest_size=8).hexdigest()


def describe_space(space: SearchSpace) -> list[dict[str, Any]]:
    """Return a space as plain data; `read_space` makes one of it."""
    found = []
    for p in space:
        entry: dict[str, Any] = {"name": p.name, "type": type(p).__name__.lower()}
        if isinstance(p, Categorical):
            entry["choices"] = [_choice(choice) for choice in p.choices]
        else:
            entry |= {"low": p.low, "high": p.high, "log": p.log}
        if p.only_if is not None:
            entry["only_if"] = [p.only_if[0], [_choice(value) for value in p.only_if[1]]]
        found.append(entry)
    return found


def read_space(described: Any) -> SearchSpace:
    """Return the space that was described; a choice that JSON does not have is the text that shows it.

    Raises:
        KeyError, TypeError, ValueError: If it is no description.
    """
    found: list[HyperParameter] = []
    for entry in described:
        only_if = entry.get("only_if")
        condition = None if only_if is None else (only_if[0], tuple(only_if[1]))
        if entry["type"] == "categorical":
            found.append(Categorical(entry["name"], tuple(entry["choices"]), condition))
            continue
        kind: Any = {"real": Real, "integer": Integer}[entry["type"]]
        found.append(kind(entry["name"], entry["low"], entry["high"], entry["log"], condition))
    return SearchSpace(found)


def _choice(value: Any) -> Any:
    simple = value is None or isinstance(value, bool | int | str)
    return value if simple or (isinstance(value, float) and math.isfinite(value)) else describe(value)


def header_of(
    task: Any, scheduler: Any, warm_start: Any, engine: Any, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a study's first line.

    Args:
        task: What is trained.
        scheduler: With its final `max_trials`.
        warm_start: The policy.
        engine: What trains.
        options: Further arguments of `tune` that decide what happens.
    """
    about = {name: describe(getattr(task, name)) for name in _OF_A_TASK if hasattr(task, name)}
    if isinstance(settings := getattr(task, "settings", None), Mapping):
        about |= describe(settings, task.space)
    described = describe(scheduler, task.space)
    return {
        "event": "study",
        "format": FORMAT,
        "arguments": {
            "task": {"name": str(task.name), **about},
            "space": describe_space(task.space),
            "scheduler": described,
            "warm_start": _of_policy(warm_start, task),
            **{name: describe(value) for name, value in options.items()},
        },
        "environment": environment(engine),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _of_policy(policy: Any, task: Any) -> Any:
    """Return a policy as plain data, with what its prior holds where the name alone does not say it."""
    described = describe(policy, task.space)
    learned = policy.learned_from(task) if hasattr(policy, "learned_from") else None
    if learned is not None:
        text = json.dumps(describe(learned), sort_keys=True)
        described["learned_from"] = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return described


def environment(engine: Any) -> dict[str, str]:
    """Return what may change between two runs of a study without another study coming of it."""
    packages = {"torch": torch.__version__, "python": platform.python_version()}
    with contextlib.suppress(PackageNotFoundError):  # a source tree
        packages["hypernudge"] = version("hypernudge")
    return {**packages, "engine": type(engine).__name__, "device": str(getattr(engine, "device", "cpu"))}


def check_same(folder: object, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other arguments; a budget and a number of trials may grow.

    Args:
        folder: Of the study, for the error.
        before: Its arguments so far.
        now: Those that it is to go on with.

    Raises:
        InvalidArgumentError: With what differs.
    """
    one, other = dict(_flat(before)), dict(_flat(now))
    names = [
        name
        for name in sorted({*one, *other})
        if one.get(name) != other.get(name) and not _grown(name, one.get(name), other.get(name))
    ]
    kinds = [name.removesuffix("type") for name in names if name.endswith(".type")]
    different = [  # of another kind of thing, its options say nothing
        f"{name} was {shown(one.get(name, 'absent'))}, is {shown(other.get(name, 'absent'))}"
        for name in names
        if name.endswith(".type") or not name.startswith(tuple(kinds))
    ]
    if different:
        listed = abridged(map(one_line, different), _LISTED, "; ")
        raise InvalidArgumentError(
            f"study: {folder} was begun with other arguments: {listed}; give those of the study (only "
            f"{' and '.join(GROWS)} may grow), or name another folder"
        )


def _grown(name: str, before: Any, now: Any) -> bool:
    if name.rpartition(".")[2] not in GROWS or before is None:
        return False
    return now is None or read_number(now) >= read_number(before)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _flat(entry, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(e, Mapping) and "name" in e for e in value):
        for entry in value:
            yield from _flat({k: v for k, v in entry.items() if k != "name"}, f"{path}.{entry['name']}")
    else:
        yield path, value

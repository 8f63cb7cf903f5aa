"""Sealed cell records, through one reader: whole, of this very cell, and of the right form, or refused.

A record that breaks a rule is named with that rule, and never half used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError
from hypernudge.results.digests import description_digest, record_digest
from hypernudge.results.reading import UnreadableError, read_json

Record = dict[str, Any]
COLUMNS = ("trial", "unit", "time", "validation", "test")
STATUSES = ("completed", "crashed")


class DamagedRecordError(InvalidArgumentError):
    """A record that is not believed.

    Attributes:
        path: The file.
        rule: What is wrong with it.
        foreign: Whether it is whole, but of another cell or another configuration.
    """

    def __init__(self, path: Path, rule: str, foreign: bool = False) -> None:
        self.path, self.rule, self.foreign = path, rule, foreign
        remedy = "move it aside to have the cell computed again (`hypernudge doctor --fix` does)"
        super().__init__(f"record {path}: {rule}; {remedy}")


@dataclass(frozen=True)
class Planned:
    """What identifies a planned cell.

    Attributes:
        run_id: Its variation.
        task: Task label.
        scheduler: Scheduler label.
        warm_start: Warm-start label.
        seed: Its seed.
        keys: Hashes of the configurations it may have been computed with; any where empty.
    """

    run_id: str
    task: str
    scheduler: str
    warm_start: str
    seed: int
    keys: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, Any]:
        """Everything but the keys, as records name it."""
        names = ("run_id", "task", "scheduler", "warm_start", "seed")
        return {name: getattr(self, name) for name in names}


def cell_path(run_dir: Path, seed: int) -> Path:
    """Where the sealed record of a seed belongs."""
    return run_dir / "cells" / f"seed-{seed:04d}.json"


def read_record(path: Path, planned: Planned) -> Record | None:
    """Return the sealed record of a planned cell, or None if there is none.

    Raises:
        DamagedRecordError: The file is there, but it is no record, was changed after it was sealed, or is the
            record of another cell or configuration.
    """
    try:
        record = read_json(path)
    except FileNotFoundError:
        return None
    except UnreadableError as error:
        raise DamagedRecordError(path, f"unreadable: {error}") from None
    try:
        for rule in _form(record):
            raise DamagedRecordError(path, rule)
        for rule in _identity(record["cell"], planned):
            raise DamagedRecordError(path, rule, foreign=True)
        for rule in _contents(record):
            raise DamagedRecordError(path, rule)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        if isinstance(error, DamagedRecordError):
            raise
        raise DamagedRecordError(path, f"not a cell record: {type(error).__name__}: {error}") from None
    whole: Record = record
    return whole


def _form(record: Any) -> Iterator[str]:
    if not isinstance(record, dict):
        yield f"not a cell record: it holds a {type(record).__name__}"
    if record["format"] != 1:
        yield f"format must be 1, got {record['format']!r}"
    if record_digest(record) != record["digest"]:
        yield "digest does not match the content: it was changed after it was sealed"
    if record["status"] not in STATUSES:
        yield f"status must be completed or crashed, got {record['status']!r}"


def _identity(cell: Mapping[str, Any], planned: Planned) -> Iterator[str]:
    for name, value in planned.labels.items():
        if cell[name] != value or isinstance(cell[name], bool):
            yield f"cell.{name} is {cell[name]!r}, planned was {value!r}"
    if planned.keys and cell["key"] not in planned.keys:
        yield "it is of another configuration: its key differs from the one that the plan implies"


def _contents(record: Record) -> Iterator[str]:
    budget = record["declared"]["budget_seconds"]
    if not (_is_number(budget) and math.isfinite(budget) and budget > 0):
        yield f"declared.budget_seconds must be positive, got {budget!r}"
    yield from _curve(record["curve"])
    numbers = set()
    for trial in record["trials"]:
        yield from _trial(trial)
        numbers.add(trial["trial"])
    if len(numbers) != len(record["trials"]):
        yield "two trials have one number"
    for name in ("training_flops", "warm_start_flops", "total_flops"):
        if not (_is_number(record["bill"][name]) and record["bill"][name] >= 0):
            yield f"bill.{name} must not be negative"


def _curve(curve: Mapping[str, Any]) -> Iterator[str]:
    lengths = {name: len(curve[name]) for name in COLUMNS}
    if len(set(lengths.values())) != 1:
        yield f"curve columns have different lengths: {lengths}"
    for name in COLUMNS:
        score = name in ("validation", "test")
        for index, value in enumerate(curve[name]):
            if not (_is_number(value) or (score and value is None)):
                yield f"curve.{name} must hold numbers; entry {index} is {value!r}"
    before = 0.0
    for index, time in enumerate(curve["time"]):
        if not time > 0:
            yield f"curve.time must be positive; entry {index} is not"
        if time < before:
            yield f"time goes backwards at curve entry {index}"
        before = time


def _trial(trial: Mapping[str, Any]) -> Iterator[str]:
    number = trial["trial"]
    whole = isinstance(number, int) and isinstance(trial["units"], int)
    if not whole or isinstance(number, bool) or not isinstance(trial["status"], str):
        yield f"trial {number!r}: number and units must be whole numbers, the status a word"
    if set(trial["sampled"]) != set(trial["nudged"]):
        yield f"trial {number}: sampled and nudged name different hyper-parameters"
    if not all(isinstance(unit, int) for unit in trial["milestones"]):
        yield f"trial {number}: milestones must be whole numbers"
    nudge = trial.get("nudge")
    if nudge is not None and not isinstance(nudge, dict):
        yield f"trial {number}: nudge must be an object"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def description_of(record: Record, path: Path) -> Mapping[str, Any] | None:
    """Return the description of a record, verified, or None for a record of a version that wrote none.

    Raises:
        DamagedRecordError: It was changed after it was sealed, or belongs to another record.
    """
    description = record.get("description")
    if description is None:
        return None
    try:
        ok = isinstance(description, dict) and description_digest(description) == description["digest"]
        own = ok and description["of"] == record["digest"]
    except (KeyError, ValueError):
        ok = own = False
    if not ok:
        raise DamagedRecordError(path, "the digest of its description does not match: it was changed")
    if not own:
        raise DamagedRecordError(path, "its description belongs to another record", foreign=True)
    verified: Mapping[str, Any] = description
    return verified

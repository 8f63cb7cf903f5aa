"""Sealed cell records: read, verify, refuse.

A record that breaks a rule is named with that rule, and never half used.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.evidence.plan import Variation

Record = dict[str, Any]
ABSENT = "no record"


def record_digest(record: Record) -> str:
    """SHA-256 of a record without its wall-clock part, over canonical JSON (sorted keys, no spaces, no NaN).

    Raises:
        ValueError: the record holds NaN or an infinity.
    """
    body = {key: value for key, value in record.items() if key not in ("wall", "digest")}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def identity(variation: Variation, seed: int) -> dict[str, Any]:
    """What identifies a planned cell."""
    return {
        "run_id": variation.run_id,
        "task": variation.task,
        "scheduler": variation.scheduler,
        "warm_start": variation.warm_start,
        "seed": seed,
    }


def read_record(path: Path, variation: Variation, seed: int) -> tuple[Record | None, str]:
    """Read one sealed record.

    Args:
        path: The file.
        variation: What was planned for it.
        seed: Its seed.

    Returns:
        The record and an empty string, or None and the rule it breaks.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError:
        return None, ABSENT
    except (OSError, ValueError) as error:
        return None, f"unreadable: {error}"
    try:
        for rule in _violations(record, variation, seed):
            return None, rule
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return None, f"not a cell record: {type(error).__name__}: {error}"
    return record, ""


def _refuse_constant(token: str) -> float:
    raise ValueError(f"{token} is not JSON; a score that does not exist is null")


def _violations(record: Record, variation: Variation, seed: int) -> Iterator[str]:
    if record["format"] != 1:
        yield f"format must be 1, got {record['format']!r}"
    if record_digest(record) != record["digest"]:
        yield "digest does not match the content"
    cell = record["cell"]
    for name, planned in identity(variation, seed).items():
        if cell[name] != planned:
            yield f"cell.{name} is {cell[name]!r}, planned was {planned!r}"
    if record["status"] not in ("completed", "crashed"):
        yield f"status must be completed or crashed, got {record['status']!r}"
    budget = record["declared"]["budget_seconds"]
    if not (isinstance(budget, int | float) and math.isfinite(budget) and budget > 0):
        yield f"declared.budget_seconds must be positive, got {budget!r}"
    curve = record["curve"]
    lengths = {name: len(curve[name]) for name in ("trial", "unit", "time", "validation", "test")}
    if len(set(lengths.values())) != 1:
        yield f"curve columns have different lengths: {lengths}"
    time = np.array(curve["time"], dtype=np.float64)
    if bool(np.any(~(time > 0))):
        yield f"curve.time must be positive; entry {int(np.argmin(time > 0))} is not"
    if bool(np.any(np.diff(time) < 0)):
        yield f"time goes backwards at curve entry {int(np.argmax(np.diff(time) < 0)) + 1}"
    for trial in record["trials"]:
        if set(trial["sampled"]) != set(trial["nudged"]):
            yield f"trial {trial['trial']}: sampled and nudged name different hyper-parameters"
    for name in ("training_flops", "warm_start_flops", "total_flops"):
        if not float(record["bill"][name]) >= 0:
            yield f"bill.{name} must not be negative"

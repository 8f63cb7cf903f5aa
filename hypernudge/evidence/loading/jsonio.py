"""Strict JSON, written atomically: no NaN or Infinity tokens, and never half a file."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.results.files import write_text


def plain(value: Any) -> Any:
    """Turn results into what JSON can hold; non-finite numbers become null.

    Knows NumPy scalars and arrays, dataclasses, mappings, sequences and paths.

    Raises:
        TypeError: a value has no JSON form.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, np.ndarray):
        return [plain(entry) for entry in value.tolist()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} has no JSON form; convert it before it is written.")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON atomically, keys in the order given."""
    write_text(path, json.dumps(plain(value), indent=1, allow_nan=False) + "\n")

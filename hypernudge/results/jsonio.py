"""Strict JSON: no NaN or Infinity tokens, never half a file."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from hypernudge.results.files import write_text


def plain(value: Any) -> Any:
    """Return `value` as JSON data: tuples become lists, NaN and infinities null.

    Knows scalars, arrays and tensors of NumPy and PyTorch, dataclasses, mappings, sequences and paths.

    Raises:
        TypeError: A value has no JSON form.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} has no JSON form; convert it before it is written.")


def json_line(value: Any) -> str:
    """Return strict JSON on one line, with its end.

    Raises:
        TypeError: As `plain`.
    """
    return json.dumps(plain(value), allow_nan=False) + "\n"


def emit(event: Mapping[str, Any], out: IO[str] | None = None) -> None:
    """Print one JSON line on stdout, or elsewhere, at once."""
    out = sys.stdout if out is None else out
    out.write(json_line(event))
    out.flush()


def write_json(path: Path, value: Any, indent: int = 1) -> None:
    """Write strict JSON atomically, keys in the order given.

    Raises:
        OSError: If it cannot be written.
        TypeError: As `plain`.
    """
    write_text(path, json.dumps(plain(value), indent=indent, allow_nan=False) + "\n")

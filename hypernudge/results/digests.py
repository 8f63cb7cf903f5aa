"""Digests of plain data: what plans, cells and records are identified by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

UNSEALED = ("wall", "digest", "description")
"""Parts of a record outside its digest: wall times, the digest, and the description, which has its own."""


def digest(value: Any, *, allow_nan: bool = True) -> str:
    """SHA-256 of the canonical JSON of plain data (sorted keys, no spaces).

    Raises:
        ValueError: It holds NaN or an infinity and `allow_nan` is false.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=allow_nan)
    return hashlib.sha256(text.encode()).hexdigest()


def record_digest(record: Mapping[str, Any]) -> str:
    """Digest of everything in a record that is a result.

    Raises:
        ValueError: The record holds NaN or an infinity.
    """
    sealed = {key: value for key, value in record.items() if key not in UNSEALED}
    return digest(sealed, allow_nan=False)


def description_digest(description: Mapping[str, Any]) -> str:
    """Digest of a record's description, which names the record that it belongs to by `of`.

    Raises:
        ValueError: It holds NaN or an infinity.
    """
    sealed = {key: value for key, value in description.items() if key != "digest"}
    return digest(sealed, allow_nan=False)


def cell_key(spec: Mapping[str, Any], seed: int) -> str:
    """Hash of everything that determines a cell's result: its resolved configuration and its seed."""
    return digest({**{key: value for key, value in spec.items() if key != "seeds"}, "seed": seed})


def plan_digest(variations: Mapping[str, Any], evidence: Any) -> str:
    """Hash that a plan is identified by: its resolved variations and its criteria; no launcher settings."""
    return digest({"variations": dict(variations), "evidence": evidence})

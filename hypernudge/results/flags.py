"""Which trials of a record were flagged, and which of those because of finite differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypernudge.trial import FINITE_DIFFERENCES

Record = Mapping[str, Any]


def flagged(record: Record) -> list[bool]:
    """Return, trial by trial, whether its warm start was flagged."""
    return [bool((trial.get("nudge") or {}).get("flagged", False)) for trial in record["trials"]]


def by_finite_differences(record: Record) -> list[bool]:
    """Return, trial by trial, whether its hyper-gradient was measured by finite differences.

    The description says so, or the reason does, where a record has no description or a measurement was not
    finite.
    """
    kinds = (record.get("description") or {}).get("kinds")
    known = kinds if isinstance(kinds, list) and len(kinds) == len(record["trials"]) else ()
    marks = [kind == "finite_differences" for kind in known] or [False] * len(record["trials"])
    reasons = [str((trial.get("nudge") or {}).get("reason", "")) for trial in record["trials"]]
    return [
        flag and (mark or FINITE_DIFFERENCES in reason)
        for flag, mark, reason in zip(flagged(record), marks, reasons, strict=True)
    ]

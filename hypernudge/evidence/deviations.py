"""Where a study was not run as declared: the manifest against its hash, and the deviations it recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypernudge.evidence.problem import Problem

FILE = "deviations.jsonl"


def plan_digest(variations: dict[str, Any], evidence: Any) -> str:
    """SHA-256 that a plan is identified by: its resolved variations and its criteria.

    Args:
        variations: Run id -> resolved configuration.
        evidence: The criteria.
    """
    body = {"variations": variations, "evidence": evidence}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def deviations(results_dir: Path) -> Iterator[Problem]:
    """Yield what the manifest and the record of deviations say; nothing where there are none."""
    raw = json.loads((results_dir / "plan.json").read_text(encoding="utf-8"))
    specs = {
        run_id: entry.get("spec") for run_id, entry in raw["variations"].items() if isinstance(entry, dict)
    }
    # Manifests of other tools carry no resolved configuration, and so no hash that could be checked.
    if specs and all(spec is not None for spec in specs.values()):
        if plan_digest(specs, raw.get("evidence", {})) != raw.get("hash"):
            yield Problem(
                "plan.json",
                "the plan was changed after it was hashed",
                "evaluated as it stands; do not trust it",
            )
        for run_id, entry in raw["variations"].items():
            spec = entry["spec"]
            if (entry.get("target"), entry.get("seeds")) != (spec.get("target"), spec.get("seeds")):
                rule = f"target or seeds of {run_id} differ from its hashed configuration"
                yield Problem("plan.json", rule, "evaluated as it stands; do not trust it")
    path = results_dir / FILE
    if not path.is_file():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{FILE}, line {number}"
        try:
            entry = json.loads(line)
            changes = "; ".join(f"{c['path']}: {c['planned']!r} -> {c['run']!r}" for c in entry["changes"])
            reason = entry["reason"]
        except (ValueError, KeyError, TypeError) as error:
            yield Problem(where, f"unreadable: {type(error).__name__}", "kept aside")
            continue
        yield Problem(
            where, f"run deviates from the plan: {changes}", f"evaluated by the plan; reason: {reason}"
        )

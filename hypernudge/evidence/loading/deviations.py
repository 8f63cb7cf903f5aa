"""Where a study was not run as declared: the manifest against its hash, and the deviations it recorded."""

from __future__ import annotations

from collections.abc import Iterator

from hypernudge.evidence.loading.issue import Issue
from hypernudge.results.deviations import FILE, read_deviations
from hypernudge.results.plan import FILE as PLAN
from hypernudge.results.plan import Manifest


def deviations(manifest: Manifest) -> Iterator[Issue]:
    """Yield what the manifest and the record of deviations say; nothing where there are none."""
    kept = "evaluated as it stands; do not trust it"
    if manifest.is_changed:
        yield Issue(PLAN, "the plan was changed after it was hashed", kept)
    for variation in manifest.variations:
        spec = variation.spec
        hashed = (spec.get("target"), spec.get("seeds"))
        if spec and hashed != (variation.target, list(variation.seeds)):
            rule = f"target or seeds of {variation.run_id} differ from its hashed configuration"
            yield Issue(PLAN, rule, kept)
    for found in read_deviations(manifest.results_dir):
        where = f"{FILE}, line {found.line}"
        if found.entry is None:
            yield Issue(where, f"unreadable: {found.why}", "kept aside")
            continue
        changes = "; ".join(
            f"{c['path']}: {c.get('planned')!r} -> {c.get('run')!r}" for c in found.entry["changes"]
        )
        reason = found.entry["reason"]
        yield Issue(
            where, f"run deviates from the plan: {changes}", f"evaluated by the plan; reason: {reason}"
        )

"""Where a study was not run as declared: the manifest against its hash, and the deviations it recorded."""

from __future__ import annotations

from collections.abc import Iterator

from hypernudge.evidence.loading.issue import Issue
from hypernudge.results.deviations import FILE, read_deviations
from hypernudge.results.digests import plan_digest
from hypernudge.results.plan import Manifest


def deviations(manifest: Manifest) -> Iterator[Issue]:
    """Yield what the manifest and the record of deviations say; nothing where there are none."""
    specs = {entry.run_id: entry.spec for entry in manifest.entries}
    # Manifests of other tools carry no resolved configuration, and so no hash that could be checked.
    if all(spec is not None for spec in specs.values()):
        if plan_digest(specs, manifest.evidence) != manifest.hash:
            yield Issue(
                "plan.json",
                "the plan was changed after it was hashed",
                "evaluated as it stands; do not trust it",
            )
        for run_id, entry in manifest.raw["variations"].items():
            spec = entry["spec"]
            if (entry.get("target"), entry.get("seeds")) != (spec.get("target"), spec.get("seeds")):
                rule = f"target or seeds of {run_id} differ from its hashed configuration"
                yield Issue("plan.json", rule, "evaluated as it stands; do not trust it")
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

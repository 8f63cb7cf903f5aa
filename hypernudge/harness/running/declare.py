"""`hypernudge plan`: everything a claim rests on, written down and hashed before the first test seed.

{results_dir}/plan.json       variations, seeds, targets, criteria, their hash; and under `declared` the pilot
                              seeds, the rule for tau, the controls and the power that this plan can reach
{results_dir}/deviations.jsonl    what a later run changed all the same, with its reason
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypernudge.console import tell
from hypernudge.errors import require, require_between
from hypernudge.evidence.loading.criteria_schema import BUDGET_MATCHED, CONTROLS
from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.loading.plan import Plan as EvidencePlan
from hypernudge.evidence.statistics.power import best_case_adjusted_p, pairs_needed, simulated_power
from hypernudge.harness.cells.leftovers import is_occupied
from hypernudge.harness.cells.provenance import provenance
from hypernudge.harness.planning.plan import Plan
from hypernudge.harness.planning.values import PILOT
from hypernudge.harness.running.pilot import AT, Say, pilot
from hypernudge.random import stream
from hypernudge.results import deviations
from hypernudge.results.digests import digest
from hypernudge.results.files import write_text
from hypernudge.results.jsonio import write_json
from hypernudge.results.plan import FILE, Manifest, read_manifest

PILOT_SEEDS = (100_000, 10)  # first, count: far from the test seeds of any study
LOG_SD = 0.4
MAX_LOG_SD = 10.0  # e^10: no two runs of one configuration differ as much
RATIOS = (0.85, 0.7)
RULE = f"median over pilot seeds of the baseline's best score at {AT:.0%} of the budget"


def declare(
    plan: Plan,
    results_dir: Path,
    *,
    pilot_seeds: Sequence[int],
    log_sd: float,
    exploratory: bool = False,
    say: Say = tell,
) -> dict[str, Any]:
    """Freeze a plan in an empty results directory; return the manifest.

    Baselines whose target is `pilot` are run with the pilot seeds first, and their targets frozen.

    Args:
        plan: The resolved experiment.
        results_dir: Empty or absent.
        pilot_seeds: Disjoint from the test seeds.
        log_sd: Assumed standard deviation of the paired log ratio of times, for the power.
        exploratory: Whether to accept a plan that cannot reject anything.
        say: Is told how far the pilots are.

    Raises:
        InvalidArgumentError: The directory is occupied, pilot and test seeds overlap, or no comparison of a
            family could ever be significant.
    """
    check_directory(results_dir)
    free, remedy = not is_occupied(results_dir), "a plan comes before the runs"
    require(free, "--results-dir", "must be empty", str(results_dir), remedy)
    require_between("--log-sd", log_sd, 0, MAX_LOG_SD, remedy=f"{LOG_SD} is usual")
    power = list(power_rows(plan, log_sd))
    alpha = float(plan.evidence["alpha"])
    hopeless = sorted({row["family"] for row in power if row["least_p_holm"] >= alpha})
    if hopeless and not exploratory:
        needed = max(pairs_needed(alpha, row["family_size"]) for row in power)
        rule = f"some result must be able to reach p < {alpha:g} after Holm"
        remedy = f"plan at least {needed} seeds, or smaller families, or pass --exploratory"
        require(False, "seeds", rule, f"families {', '.join(hopeless)}", remedy)
    # Named by the plan, for a killed pilot is gone on with: records of another plan must not be found there.
    folder = results_dir.parent / f".{results_dir.name}.pilot-{plan.hash[:12]}"
    frozen, pilots = freeze_targets(plan, pilot_seeds, folder, say)
    declared = {
        "tau_rule": RULE if pilots else "set in the configuration",
        "pilots": pilots,
        "pairing": "equal seeds of one (task, scheduler): same initialisation, data order and samples",
        "controls": control_rows(frozen),
        "power": {"log_sd": log_sd, "comparisons": power},
        "provenance": provenance(),
    }
    manifest = {
        **frozen.as_dict(),
        "declared": {**declared, "at": datetime.now(UTC).isoformat(timespec="seconds")},
        "declaration_hash": digest({"plan": frozen.hash, "declared": declared}),
    }
    write_json(results_dir / FILE, manifest, indent=2)
    return manifest


def check_directory(directory: Path, argument: str = "--results-dir") -> None:
    """Refuse a place in which nothing can be written, before any work.

    Raises:
        InvalidArgumentError: If it, or what it lies in, is a file or may not be written.
    """
    for place in (directory, *directory.parents):
        if place.exists() or place.is_symlink():
            rule = "must be a directory, or absent"
            require(place.is_dir(), argument, rule, str(place), "choose another")
            writable = os.access(place, os.W_OK | os.X_OK)
            require(writable, argument, "must be writable", str(place), "choose another, or its permissions")
            return


def power_rows(plan: Plan, log_sd: float | None = None) -> Iterator[dict[str, Any]]:
    """Yield what each planned comparison can show: pairs, family, least adjusted p, power per true ratio.

    Power is that of Holm's first step, the worst case of the family; without `log_sd` it is left out.
    """
    own = EvidencePlan(plan.name, plan.hash, plan.variations, Criteria(**plan.evidence))
    pairs = own.comparisons()
    families = [own.criteria.family_of(method) for _, method in pairs]
    counts = [len(set(baseline.seeds) & set(method.seeds)) for baseline, method in pairs]
    powers: dict[tuple[int, int, float], float] = {}
    for index, (_, method) in enumerate(pairs):
        members = [i for i, family in enumerate(families) if family == families[index]]
        best = best_case_adjusted_p([counts[i] for i in members])[members.index(index)]
        row = {"run_id": method.run_id, "pairs": counts[index], "family": families[index]}
        shown = {}
        for ratio in RATIOS:
            if log_sd is None:
                continue
            key = (counts[index], len(members), ratio)
            if key not in powers:
                rng = stream(0, "power", *(str(part) for part in key))
                powers[key] = simulated_power(
                    counts[index],
                    ratio,
                    log_sd,
                    rng,
                    alpha=own.criteria.alpha,
                    comparisons=len(members),
                    simulations=1000,
                )
            shown[f"{ratio:g}"] = powers[key]
        yield {**row, "family_size": len(members), "least_p_holm": best, "power_at_ratio": shown}


def control_rows(plan: Plan) -> list[dict[str, Any]]:
    """Return, for every role of a control, which label plays it and where it is missing."""
    criteria = Criteria(**plan.evidence)
    settings: dict[tuple[str, str], set[str]] = {}
    for variation in plan.variations:
        settings.setdefault(variation.setting, set()).add(variation.warm_start)
    computed = "computed from the records: baseline with the cost as extra budget"
    rows: list[dict[str, Any]] = [{"role": BUDGET_MATCHED, "label": computed, "missing": []}]
    for role in CONTROLS:
        label = criteria.control(role)
        missing = [" / ".join(setting) for setting, labels in settings.items() if label not in labels]
        rows.append({"role": role, "label": label, "missing": missing})
    return rows


def freeze_targets(
    plan: Plan, seeds: Sequence[int], directory: Path, say: Say
) -> tuple[Plan, list[dict[str, Any]]]:
    """Measure the targets that are still `pilot`; return the plan with numbers, and the pilots' events."""
    open_ = {v.setting for v in plan.variations if v.spec["target"] == PILOT}
    if not open_:
        return plan, []
    import shutil

    chosen = replace(plan, variations=tuple(v for v in plan.variations if v.setting in open_))
    require(len(seeds) > 0, "--pilot-seeds", "must be at least one", list(seeds), "give a count above 0")
    used = sorted({seed for v in plan.variations for seed in v.seeds} & set(seeds))
    require(not used, "--pilot-seeds", "must not be test seeds", used, "choose others")
    # A pilot cell needs some target to run; it never looks at it, and no record of it is kept.
    startable = replace(chosen, variations=tuple(v.altered(target=0.0) for v in chosen.variations))
    events = list(
        pilot(startable, seeds, directory, say)
    )  # what is interrupted is gone on with: see `declare`
    shutil.rmtree(directory, ignore_errors=True)
    by_setting = {plan[event["run_id"]].setting: event["target"] for event in events}
    missing = sorted(open_ - set(by_setting))
    require(
        not missing, "target", "a pilot needs a baseline in every setting", missing, "add it, or a number"
    )
    return with_targets(
        plan,
        {v.run_id: by_setting[v.setting] for v in plan.variations if v.spec["target"] == PILOT},
    ), events


def with_targets(plan: Plan, targets: Mapping[str, float]) -> Plan:
    """Return the plan with the targets of some run ids replaced."""
    return replace(
        plan,
        variations=tuple(
            v.altered(target=targets[v.run_id]) if v.run_id in targets else v for v in plan.variations
        ),
    )


def runnable(plan: Plan, results_dir: Path, say: Say = tell) -> Plan:
    """Return the plan with numbers for all targets, declaring it first where that takes pilot runs.

    Raises:
        InvalidArgumentError: As `declare` and `with_declared_targets`.
    """
    if not (results_dir / FILE).is_file() and any(v.spec["target"] == PILOT for v in plan.variations):
        first, count = PILOT_SEEDS
        seeds = range(first, first + count)
        declare(plan, results_dir, pilot_seeds=seeds, log_sd=LOG_SD, exploratory=True, say=say)
    return with_declared_targets(plan, results_dir)


def with_declared_targets(plan: Plan, results_dir: Path) -> Plan:
    """Fill targets that are `pilot` from the manifest of a declared plan.

    Raises:
        InvalidArgumentError: There is no manifest, or it lacks the target.
    """
    open_ = [v.run_id for v in plan.variations if v.spec["target"] == PILOT]
    if not open_:
        return plan
    manifest = results_dir / FILE
    remedy = "freeze it first: `hypernudge plan FILE --results-dir DIR`"
    require(manifest.is_file(), "target", "must be a number once a study runs", PILOT, remedy)
    declared = {v.run_id: v.target for v in read_manifest(results_dir).variations}
    missing = [run_id for run_id in open_ if run_id not in declared]
    require(not missing, "target", "the declared plan must hold every variation", missing, remedy)
    return with_targets(plan, {run_id: declared[run_id] for run_id in open_})


def changes(planned: Manifest, plan: Plan) -> list[dict[str, Any]]:
    """Return every leaf in which a plan differs from a manifest: path, planned and present value."""
    before = dict(_leaves({v.run_id: v.spec for v in planned.variations}, "variations"))
    before |= dict(_leaves(planned.evidence, "evidence"))
    after = dict(_leaves({v.run_id: v.spec for v in plan.variations}, "variations"))
    after |= dict(_leaves(plan.evidence, "evidence"))
    return [
        {"path": path, "planned": before.get(path), "run": after.get(path)}
        for path in dict.fromkeys([*before, *after])
        if before.get(path) != after.get(path)
    ]


def record_deviation(results_dir: Path, planned: Manifest, plan: Plan, reason: str) -> None:
    """Append a deviation, unless the same one is recorded already."""
    if is_recorded(results_dir, plan):
        return
    path = results_dir / deviations.FILE
    known = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    entry = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": reason,
        "from_hash": planned.hash,
        "to_hash": plan.hash,
        "changes": changes(planned, plan),
    }
    write_text(path, "\n".join([*known, json.dumps(entry)]) + "\n")


def is_recorded(results_dir: Path, plan: Plan) -> bool:
    """Whether this very plan was accepted as a deviation before."""
    found = (deviation.entry for deviation in deviations.read_deviations(results_dir))
    return any(entry is not None and entry.get("to_hash") == plan.hash for entry in found)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, entry in value.items():
            yield from _leaves(entry, f"{path}.{key}")
    else:
        yield path, value

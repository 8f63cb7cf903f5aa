"""What `explain` and `prior build` need to know of a cell's task: noted when it runs, read as data later.

Reading must not build what a results directory names: it may be somebody else's. So a record carries a
description of what only the built task knows, outside the digest of the results and sealed by its own.
Records of older versions have none; there the built-in components are built again, by registered name.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hypernudge.optimizers import Optimizer
from hypernudge.random import Streams
from hypernudge.registry import REGISTRY, build, registered_only
from hypernudge.results.digests import description_digest, record_digest
from hypernudge.results.jsonio import plain
from hypernudge.results.records import Record
from hypernudge.space import Config
from hypernudge.task import GradientTask, Reporting, Task
from hypernudge.trial import NUDGE_KINDS, History
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.features import USUAL_STEPS
from hypernudge.warmstart.measurement.probe import PROBE, Probe
from hypernudge.warmstart.policies.informed import family_of


@dataclass(frozen=True)
class Facts:
    """What a description says.

    Attributes:
        family: Family of the task.
        optimizer: Name of its update rule, as priors know it.
        steps_per_unit: Optimizer steps of a unit of training.
        sampled: `log10` of the effective rate of each trial's sampled configuration, None without one.
        nudged: The same of what was trained.
        probe: `log10` of the probe, None where nobody walked it.
    """

    family: str
    optimizer: str
    steps_per_unit: float
    sampled: tuple[float | None, ...]
    nudged: tuple[float | None, ...]
    probe: float | None


def describe(record: Record, task: Task, task_name: str) -> None:
    """Add its description to a finished record, before it is sealed.

    A task that cannot be built when records are read is probed now where the study did not; what that took is
    in `wall`, and in no other number. What goes wrong is noted: it must not cost the record.
    """
    begun = time.perf_counter()
    noted = {"of": record_digest(plain(record)), **record.get("description", {})}
    try:
        probe = noted_probe(record)
        own = task_name not in REGISTRY["task"]
        if probe is None and own and record["trials"] and isinstance(task, GradientTask):
            probe = walk_probe(record, task)
            record["wall"]["description_seconds"] = time.perf_counter() - begun
        body = {**noted, **_facts(record, task), "probe": probe, **_besides(record, task)}
        record["description"] = _sealed(body)
    except Exception:  # a user's task may fail in any way
        record["description"] = _sealed({**noted, "failed": traceback.format_exc()})


def _sealed(body: dict[str, Any]) -> dict[str, Any]:
    description = plain({"format": 1, **body})
    return {**description, "digest": description_digest(description)}


def _besides(record: Record, task: Task) -> dict[str, Any]:
    """Return what the best score means in other numbers, and what data were read, where a task says so."""
    found: dict[str, Any] = {}
    if isinstance(getattr(task, "data_source", None), Mapping):
        found["data"] = task.data_source  # type: ignore[attr-defined]
    if isinstance(task, Reporting):
        curve = record["curve"]
        rows = [i for i, value in enumerate(curve["validation"]) if _finite(value)]
        if rows:
            best = max(rows, key=lambda i: curve["validation"][i])
            scores = {split: curve[split][best] for split in ("validation", "test")}
            found["reported"] = {
                split: dict(task.reported(value, split))  # type: ignore[arg-type]  # these are the splits
                for split, value in scores.items()
                if _finite(value)
            }
    return found


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _facts(record: Record, task: Task) -> dict[str, Any]:
    return {
        "family": family_of(task),
        "optimizer": rates.rule_of(task),
        "steps_per_unit": float(getattr(task, "steps_per_unit", USUAL_STEPS)),
        **rates_of(record, rates.optimizer_of(task)),
    }


def rates_of(record: Record, rule: Optimizer) -> dict[str, list[float | None]]:
    """Return `log10` of the effective rates of every trial, as sampled and as nudged."""
    return {key: [_log_rate(rule, trial[key]) for trial in record["trials"]] for key in ("sampled", "nudged")}


def _log_rate(rule: Optimizer, config: Mapping[str, Any]) -> float | None:
    try:
        rate = float(rule.effective_rate(config))
    except (KeyError, TypeError, ValueError, ArithmeticError):  # a space without `lr`, say
        return None
    return math.log10(rate) if 0 < rate < math.inf else None


def noted_probe(record: Record) -> float | None:
    """Return the probe's result that the study noted, None if it did not."""
    for trial in record["trials"]:
        value = ((trial.get("nudge") or {}).get("measurements") or {}).get(PROBE)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def walk_probe(record: Record, task: GradientTask) -> float | None:
    """Walk the probe at the first trial of a record, leaving PyTorch's generator as it was."""
    first = Config(record["trials"][0]["sampled"])
    with torch.random.fork_rng():
        value = Probe()(task, "prior", first, History(), Streams(record["cell"]["seed"])).value
    return value if math.isfinite(value) else None


def facts_of(description: Mapping[str, Any], trials: int) -> Facts | None:
    """Return what a verified description says, None if it says nothing, or not of so many trials."""
    try:
        sampled, nudged = (
            tuple(_or_none(value) for value in description[key]) for key in ("sampled", "nudged")
        )
        if not len(sampled) == len(nudged) == trials:
            return None
        steps = float(description["steps_per_unit"])
        names = str(description["family"]), str(description["optimizer"])
        return Facts(*names, steps, sampled, nudged, _or_none(description["probe"]))
    except (KeyError, TypeError, ValueError):
        return None


def kinds_of(record: Record, description: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return `Nudge.kind` of each trial, by the text of its reason where the description does not say."""
    kinds = (description or {}).get("kinds")
    if not (isinstance(kinds, list) and len(kinds) == len(record["trials"])):
        kinds = [None] * len(record["trials"])  # a record of an earlier version
    return tuple(
        kind if kind in NUDGE_KINDS else _kind_by_text(trial.get("nudge") or {})
        for kind, trial in zip(kinds, record["trials"], strict=True)
    )


def _kind_by_text(nudge: Mapping[str, Any]) -> str:
    reason = str(nudge.get("reason", ""))
    kind = next((kind for kind in ("guard", "prior", "data", "redrawn") if kind in reason), None)
    return kind or ("moved" if nudge.get("changed") else "unchanged")


def _or_none(value: Any) -> float | None:
    return None if value is None else float(value)


def rebuilt_rule(spec: Mapping[str, Any]) -> Optimizer:
    """Return the update rule that a configuration names, without building the task, whose data may be away.

    Raises:
        InvalidArgumentError: Task or rule are not registered by name: nothing is imported that is read.
    """
    with registered_only():
        task = spec["task"]
        if task["name"] not in REGISTRY["task"]:
            build("task", {"name": task["name"]})  # refuses, with the reason
        named = task.get("optimizer", "sgd")
        rule: Optimizer = build("optimizer", {"name": named} if isinstance(named, str) else named)
    return rule


def rebuilt_task(spec: Mapping[str, Any]) -> Task:
    """Return the task that a configuration describes, from registered components alone.

    Raises:
        InvalidArgumentError: Something in it is not registered by name, or breaks a rule.
    """
    from hypernudge.harness.cells.build import build_task

    with registered_only():
        return build_task(dict(spec))


def rebuilt_facts(record: Record, task: Task) -> Facts:
    """Return what a description would say, from a task that was built again."""
    found = facts_of({**_facts(record, task), "probe": None}, len(record["trials"]))
    assert found is not None  # both are of this very record
    return found

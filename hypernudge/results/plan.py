"""`plan.json` of a results directory: the plan as data. Nothing that it names is looked up or built."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError
from hypernudge.results.deviations import deviating_specs
from hypernudge.results.digests import cell_key, plan_digest
from hypernudge.results.names import broken_rule
from hypernudge.results.reading import UnreadableError, read_json
from hypernudge.results.records import Planned

FILE = "plan.json"
EVALUATION = "evaluation.json"
LABELS = ("task", "scheduler", "warm_start")
_LARGEST_SEED = 2**63


class ResultsError(InvalidArgumentError):
    """A plan or results directory that cannot be evaluated; the message names file, key, rule and remedy."""


@dataclass(frozen=True)
class Variation:
    """One planned variation: a task under a scheduler with one warm start, over seeds.

    Attributes:
        run_id: Its name, and that of its folder.
        task: Task label.
        scheduler: Scheduler label.
        warm_start: Warm-start label.
        seeds: Planned seeds.
        target: tau, the score to reach; NaN until a pilot has measured it.
        metric: Name of the metric; larger is better.
        spec: Its resolved configuration; empty in manifests of other tools, which carry none.
    """

    run_id: str
    task: str
    scheduler: str
    warm_start: str
    seeds: tuple[int, ...]
    target: float
    metric: str
    spec: dict[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @classmethod
    def of(cls, run_id: str, spec: Mapping[str, Any]) -> Variation:
        """Return the variation that a resolved configuration describes."""
        task, scheduler, warm_start = (str(spec[kind]["label"]) for kind in LABELS)
        target = math.nan if isinstance(spec["target"], str) else float(spec["target"])
        seeds, metric = tuple(spec["seeds"]), spec["task"]["metric"]
        return cls(run_id, task, scheduler, warm_start, seeds, target, metric, dict(spec))

    def altered(self, **changes: Any) -> Variation:
        """Return the variation with parts of its configuration replaced."""
        return Variation.of(self.run_id, {**self.spec, **changes})

    @property
    def labels(self) -> dict[str, str]:
        """Task, scheduler and warm start, as they appear in records and figures."""
        return {kind: getattr(self, kind) for kind in LABELS}

    @property
    def setting(self) -> tuple[str, str]:
        """Task and scheduler: what is compared shares them."""
        return self.task, self.scheduler

    def planned(self, seed: int, deviating: Sequence[Mapping[str, Any]] = ()) -> Planned:
        """Return what identifies a cell; without a configuration, by its labels alone.

        Args:
            seed: Of the cell.
            deviating: Other configurations that it may have been run with.
        """
        specs = (self.spec, *deviating) if self.spec else ()
        return Planned(self.run_id, **self.labels, seed=seed, keys=tuple(cell_key(s, seed) for s in specs))

    def as_dict(self) -> dict[str, Any]:
        """Return what `plan.json` holds of it."""
        own = {"seeds": list(self.seeds), "target": self.spec["target"], "metric": self.metric}
        return {**self.labels, **own, "spec": self.spec}


def with_run_id(variations: Iterable[Variation], run_id: str) -> Variation:
    """Return the variation with a run id.

    Raises:
        InvalidArgumentError: There is none.
    """
    known = {variation.run_id: variation for variation in variations}
    if run_id not in known:
        raise InvalidArgumentError(f"--run-id: must be one of {list(known)}, but got {run_id!r}; choose one")
    return known[run_id]


@dataclass(frozen=True)
class Manifest:
    """What `plan.json` holds, checked.

    Attributes:
        results_dir: Where it lies.
        name: Name of the study.
        hash: What it says its hash is.
        variations: In the order planned.
        evidence: Its criteria, unchecked.
        raw: All of it.
        deviating: Run id -> configurations of runs that were recorded as deviations from this plan.
    """

    results_dir: Path
    name: str
    hash: str
    variations: tuple[Variation, ...]
    evidence: Any
    raw: Mapping[str, Any]
    deviating: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)

    def __getitem__(self, run_id: str) -> Variation:
        return with_run_id(self.variations, run_id)

    @property
    def is_changed(self) -> bool:
        """Whether it was changed after it was hashed; not known of other tools', without configurations."""
        specs = {variation.run_id: variation.spec for variation in self.variations}
        return all(specs.values()) and plan_digest(specs, self.evidence) != self.hash

    def planned(self, variation: Variation, seed: int) -> Planned:
        """Return what identifies a cell, run as planned or with a recorded deviation."""
        return variation.planned(seed, self.deviating.get(variation.run_id, ()))

    def spec_of(self, variation: Variation, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the configuration that a record was computed with, by its key."""
        cell, specs = record["cell"], (variation.spec, *self.deviating.get(variation.run_id, ()))
        return next((s for s in specs if s and cell_key(s, cell["seed"]) == cell["key"]), None)


def read_manifest(results_dir: Path) -> Manifest:
    """Read `plan.json` of a results directory, and the deviations recorded beside it.

    Raises:
        ResultsError: The file is missing, is not strict JSON, or breaks the format.
    """
    path = results_dir / FILE
    try:
        raw = read_json(path)
    except FileNotFoundError:
        raise ResultsError(
            f"{path} does not exist; pass the directory that a run wrote its results into."
        ) from None
    except UnreadableError as error:
        raise ResultsError(f"{path}: {error}; run the study again into a new directory.") from None
    if not isinstance(raw, dict) or raw.get("format") != 1:
        raise ResultsError(f"{path}: format must be 1; this file was written by another version.")
    variations = raw.get("variations")
    if not isinstance(variations, dict) or not variations:
        raise ResultsError(f"{path}: variations must map at least one run id to its variation.")
    return Manifest(
        results_dir=results_dir,
        name=str(raw.get("name", results_dir.name)),
        hash=str(raw.get("hash", "")),
        variations=tuple(_variation(path, run_id, entry) for run_id, entry in variations.items()),
        evidence=raw.get("evidence", {}),
        raw=raw,
        deviating=deviating_specs(results_dir, raw),
    )


def _variation(path: Path, run_id: str, entry: Any) -> Variation:
    rule = broken_rule(run_id)
    if rule is not None:
        raise ResultsError(f"{path}: {rule}, but got {run_id[:80]!r}; rename it.")
    where = f"{path}: variations.{run_id}"
    if not isinstance(entry, dict):
        raise ResultsError(f"{where} must be a mapping, got {type(entry).__name__}.")
    missing = [key for key in (*LABELS, "seeds", "target", "metric") if key not in entry]
    if missing:
        raise ResultsError(
            f"{where} lacks {', '.join(missing)}; every variation declares them before it is run."
        )
    seeds, target = entry["seeds"], entry["target"]
    if not isinstance(seeds, list) or not seeds or not all(_is_seed(seed) for seed in seeds):
        raise ResultsError(f"{where}.seeds must be a non-empty list of non-negative integers, got {seeds!r}.")
    if len(set(seeds)) != len(seeds):
        raise ResultsError(f"{where}.seeds must not repeat a seed, got {seeds!r}.")
    if isinstance(target, bool) or not isinstance(target, int | float) or not math.isfinite(target):
        raise ResultsError(f"{where}.target must be a finite number, got {target!r}.")
    for key in (*LABELS, "metric"):
        if not isinstance(entry[key], str | int | float):
            raise ResultsError(f"{where}.{key} must be a name, got {type(entry[key]).__name__}.")
    spec = entry.get("spec")
    if spec is not None and not (isinstance(spec, dict) and spec):
        raise ResultsError(f"{where}.spec must be a mapping with entries, got {type(spec).__name__}.")
    return Variation(
        run_id=run_id,
        task=str(entry["task"]),
        scheduler=str(entry["scheduler"]),
        warm_start=str(entry["warm_start"]),
        seeds=tuple(seeds),
        target=float(target),
        metric=str(entry["metric"]),
        spec=spec or {},
    )


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_SEED

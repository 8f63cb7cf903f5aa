"""`plan.json` of a results directory: the plan as data. Nothing that it names is looked up or built."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError
from hypernudge.results.deviations import deviating_specs
from hypernudge.results.digests import cell_key
from hypernudge.results.names import broken_rule
from hypernudge.results.reading import UnreadableError, read_json
from hypernudge.results.records import Planned

FILE = "plan.json"
_LARGEST_SEED = 2**63


class ResultsError(InvalidArgumentError):
    """A plan or results directory that cannot be evaluated; the message names file, key, rule and remedy."""


@dataclass(frozen=True)
class Entry:
    """One planned variation.

    Attributes:
        run_id: Its name, and that of its folder.
        task: Task label.
        scheduler: Scheduler label.
        warm_start: Warm-start label.
        seeds: Planned seeds.
        target: The score to reach.
        metric: Name of the metric.
        spec: Its resolved configuration; None in manifests of other tools, which carry none.
    """

    run_id: str
    task: str
    scheduler: str
    warm_start: str
    seeds: tuple[int, ...]
    target: float
    metric: str
    spec: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Manifest:
    """What `plan.json` holds, checked.

    Attributes:
        results_dir: Where it lies.
        name: Name of the study.
        hash: What it says its hash is.
        entries: The variations, in the order planned.
        evidence: Its criteria, unchecked.
        raw: All of it.
        deviating: Run id -> configurations of runs that were recorded as deviations from this plan.
    """

    results_dir: Path
    name: str
    hash: str
    entries: tuple[Entry, ...]
    evidence: Any
    raw: Mapping[str, Any]
    deviating: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)

    def __getitem__(self, run_id: str) -> Entry:
        for entry in self.entries:
            if entry.run_id == run_id:
                return entry
        known = [entry.run_id for entry in self.entries]
        raise InvalidArgumentError(f"--run-id: must be one of {known}, but got {run_id!r}; choose one")

    def specs(self, entry: Entry) -> Iterator[Mapping[str, Any]]:
        """Yield the configurations that a variation may have been run with: as planned, then deviating."""
        if entry.spec is not None:
            yield entry.spec
        yield from self.deviating.get(entry.run_id, ())

    def planned(self, entry: Entry, seed: int) -> Planned:
        """Return what identifies a cell; without configurations in the manifest, by its labels alone."""
        keys = tuple(cell_key(spec, seed) for spec in self.specs(entry)) if entry.spec is not None else ()
        return Planned(entry.run_id, entry.task, entry.scheduler, entry.warm_start, seed, keys)

    def spec_of(self, entry: Entry, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the configuration that a record was computed with, by its key."""
        cell = record["cell"]
        return next((s for s in self.specs(entry) if cell_key(s, cell["seed"]) == cell["key"]), None)


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
        entries=tuple(_entry(path, run_id, entry) for run_id, entry in variations.items()),
        evidence=raw.get("evidence", {}),
        raw=raw,
        deviating=deviating_specs(results_dir, raw),
    )


def _entry(path: Path, run_id: str, entry: Any) -> Entry:
    rule = broken_rule(run_id)
    if rule is not None:
        raise ResultsError(f"{path}: {rule}, but got {run_id[:80]!r}; rename it.")
    where = f"{path}: variations.{run_id}"
    if not isinstance(entry, dict):
        raise ResultsError(f"{where} must be a mapping, got {type(entry).__name__}.")
    missing = [
        key for key in ("task", "scheduler", "warm_start", "seeds", "target", "metric") if key not in entry
    ]
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
    for key in ("task", "scheduler", "warm_start", "metric"):
        if not isinstance(entry[key], str | int | float):
            raise ResultsError(f"{where}.{key} must be a name, got {type(entry[key]).__name__}.")
    spec = entry.get("spec")
    if spec is not None and not isinstance(spec, dict):
        raise ResultsError(f"{where}.spec must be a mapping, got {type(spec).__name__}.")
    return Entry(
        run_id=run_id,
        task=str(entry["task"]),
        scheduler=str(entry["scheduler"]),
        warm_start=str(entry["warm_start"]),
        seeds=tuple(seeds),
        target=float(target),
        metric=str(entry["metric"]),
        spec=spec,
    )


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_SEED

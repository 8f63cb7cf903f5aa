"""Plans: what an experiment will run, as plain data with a hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypernudge.errors import InvalidArgumentError
from hypernudge.results.digests import cell_key, digest, plan_digest
from hypernudge.results.records import Planned

__all__ = ["Plan", "Variation", "digest", "unlabelled"]

ATTEMPTS = 2


def unlabelled(component: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a component is built from: its label is for records and figures only."""
    return {key: value for key, value in component.items() if key != "label"}


@dataclass(frozen=True)
class Variation:
    """One run id with its resolved configuration, plain data throughout."""

    run_id: str
    spec: dict[str, Any]

    @property
    def seeds(self) -> list[int]:
        """Seeds of its cells."""
        return list(self.spec["seeds"])

    @property
    def labels(self) -> dict[str, str]:
        """Task, scheduler and warm start, as they appear in records and figures."""
        return {kind: str(self.spec[kind]["label"]) for kind in ("task", "scheduler", "warm_start")}

    def cell_key(self, seed: int) -> str:
        """Hash of everything that determines the cell's result."""
        return cell_key(self.spec, seed)

    def planned(self, seed: int) -> Planned:
        """Return what identifies the record of a seed."""
        return Planned(self.run_id, **self.labels, seed=seed, keys=(self.cell_key(seed),))


@dataclass(frozen=True)
class Plan:
    """All variations of an experiment, with the criteria they will be judged by."""

    name: str
    variations: tuple[Variation, ...]
    evidence: dict[str, Any]
    processes: int
    attempts: int = ATTEMPTS  # at a cell, before it is left missing
    part_of: str = ""  # hash of the plan that this is one variation of

    def __getitem__(self, run_id: str) -> Variation:
        for variation in self.variations:
            if variation.run_id == run_id:
                return variation
        known = [variation.run_id for variation in self.variations]
        raise InvalidArgumentError(f"--run-id: must be one of {known}, but got {run_id!r}; choose one")

    @property
    def hash(self) -> str:
        """SHA-256 over variations, seeds and criteria; launcher settings do not enter."""
        return plan_digest({v.run_id: v.spec for v in self.variations}, self.evidence)

    def as_dict(self) -> dict[str, Any]:
        """Return what `plan.json` holds: the manifest that evidence is judged by."""
        variations = {
            v.run_id: {
                **v.labels,
                "seeds": v.seeds,
                "target": v.spec["target"],
                "metric": v.spec["task"]["metric"],
                "spec": v.spec,
            }
            for v in self.variations
        }
        return {
            "format": 1,
            "hash": self.hash,
            "name": self.name,
            "variations": variations,
            "evidence": self.evidence,
        }

    def as_yaml(self, only: Variation | None = None) -> str:
        """Return the resolved experiment as the text of a file, or one variation of it."""
        import yaml

        chosen = self.variations if only is None else (only,)
        resolved: dict[str, Any] = {
            "name": self.name,
            "evidence": self.evidence,
            "launcher": {"processes": self.processes, "attempts": self.attempts},
            "variations": {variation.run_id: variation.spec for variation in chosen},
        }
        if only is not None:
            resolved["part_of"] = self.part_of or self.hash
        return str(yaml.dump(resolved, sort_keys=False, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))

"""Plans: what an experiment will run, as plain data with a hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypernudge.results.digests import plan_digest
from hypernudge.results.plan import Variation, with_run_id


def unlabelled(component: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a component is built from: its label is for records and figures only."""
    return {key: value for key, value in component.items() if key != "label"}


@dataclass(frozen=True)
class Plan:
    """All variations of an experiment, with the criteria they will be judged by, and where they run."""

    name: str
    variations: tuple[Variation, ...]
    evidence: dict[str, Any]
    launcher: dict[str, Any]
    part_of: str = ""  # hash of the plan that this is one variation of

    def __getitem__(self, run_id: str) -> Variation:
        return with_run_id(self.variations, run_id)

    @property
    def attempts(self) -> int:
        """Tries at a cell, before it is left missing."""
        return int(self.launcher["attempts"])

    @property
    def hash(self) -> str:
        """SHA-256 over variations, seeds and criteria; launcher settings do not enter."""
        return plan_digest({v.run_id: v.spec for v in self.variations}, self.evidence)

    def as_dict(self) -> dict[str, Any]:
        """Return what `plan.json` holds: the manifest that evidence is judged by."""
        return {
            "format": 1,
            "hash": self.hash,
            "name": self.name,
            "variations": {v.run_id: v.as_dict() for v in self.variations},
            "evidence": self.evidence,
        }

    def as_yaml(self, only: Variation | None = None) -> str:
        """Return the resolved experiment as the text of a file, or one variation of it."""
        import yaml

        chosen = self.variations if only is None else (only,)
        resolved: dict[str, Any] = {
            "name": self.name,
            "resolved": True,
            "evidence": self.evidence,
            "launcher": self.launcher,
            "variations": {variation.run_id: variation.spec for variation in chosen},
        }
        if only is not None:
            resolved["part_of"] = self.part_of or self.hash
        return str(yaml.dump(resolved, sort_keys=False, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))

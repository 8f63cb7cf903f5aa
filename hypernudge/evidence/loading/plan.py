"""The plan a study was run under: which cells, which target, which criteria. Read, checked, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.loading.criteria_schema import CLOCKS, control_labels, evidence
from hypernudge.results.plan import FILE, Manifest, ResultsError, Variation, read_manifest


@dataclass(frozen=True)
class Criteria:
    """How a comparison is judged, declared before the runs.

    Attributes:
        baseline: Warm-start label every other one is compared with.
        alpha: Family-wise level of the primary test.
        ratio: Largest time ratio that counts as improved (.85 is 15 % less time).
        final_margin: Relative loss of the final score that is still non-inferior.
        equivalence_ratio: The interval of the ratio inside [1/this, this] is equivalent.
        families: "all" (one family), "warm_start" (one per method) or "task" (one per task).
        bootstrap: Draws of the bootstrap that a single task is aggregated by.
        bootstrap_seed: Its seed.
        controls: Role of a control (one of `CONTROLS`) -> the label that plays it, where not the usual one.
        factorial: Two-by-two designs: triples of labels, the first factor, the second, both together.
        clock: What time is: "virtual" (declared cost), "wall" or "gpu" (measured seconds, on equal hardware).
    """

    baseline: str = "none"
    alpha: float = 0.05
    ratio: float = 0.85
    final_margin: float = 0.002
    equivalence_ratio: float = 1.05
    families: str = "all"
    bootstrap: int = 2000
    bootstrap_seed: int = 0
    controls: Mapping[str, str] = field(default_factory=dict)
    factorial: Sequence[Sequence[str]] = ()
    clock: str = "virtual"

    def __post_init__(self) -> None:
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        try:
            evidence.check(given, "evidence")
            control_labels(**self.controls)
        except InvalidArgumentError as error:
            raise ResultsError(str(error)) from None

    def control(self, role: str) -> str | None:
        """Label that plays a control, None where nothing does."""
        return control_labels(**self.controls).get(role)

    def family_of(self, method: Variation) -> str:
        """Name of the Holm family that a method's comparison belongs to."""
        if self.families == "warm_start":
            return method.warm_start
        return method.task if self.families == "task" else "all"


@dataclass(frozen=True)
class Plan:
    """A run plan.

    Attributes:
        name: Name of the study.
        hash: SHA-256 of the plan as the harness sealed it.
        variations: In the order planned.
        criteria: How comparisons are judged.
        clock: What times are, as axes are labelled.
    """

    name: str
    hash: str
    variations: tuple[Variation, ...]
    criteria: Criteria = field(default_factory=Criteria)
    clock: str = "virtual time [s]"

    def comparisons(self) -> list[tuple[Variation, Variation]]:
        """Every (baseline, method) that shares task and scheduler, in the order of the plan.

        Raises:
            ResultsError: two variations share task, scheduler and warm start, or a method has no baseline.
        """
        by_labels: dict[tuple[str, str, str], Variation] = {}
        for variation in self.variations:
            key = (variation.task, variation.scheduler, variation.warm_start)
            if key in by_labels:
                raise ResultsError(
                    f"plan.json: {by_labels[key].run_id!r} and {variation.run_id!r} share task, "
                    "scheduler and warm_start; give one of them another warm_start label."
                )
            by_labels[key] = variation
        result = []
        for variation in self.variations:
            if variation.warm_start == self.criteria.baseline:
                continue
            baseline = by_labels.get((variation.task, variation.scheduler, self.criteria.baseline))
            if baseline is None:
                raise ResultsError(
                    f"plan.json: {variation.run_id!r} has no baseline: no variation has the same task and "
                    f"scheduler and warm_start {self.criteria.baseline!r}; add it, or name another "
                    "evidence.baseline."
                )
            result.append((baseline, variation))
        return result


def load_plan(results_dir: Path) -> Plan:
    """Read `plan.json` of a results directory.

    Raises:
        ResultsError: the file is missing, is not JSON, or breaks the format.
    """
    return plan_of(read_manifest(results_dir))


def plan_of(manifest: Manifest) -> Plan:
    """Return the plan that a manifest holds.

    Raises:
        ResultsError: Its criteria break a rule.
    """
    criteria = _criteria(manifest.results_dir / FILE, manifest.evidence)
    return Plan(manifest.name, manifest.hash, manifest.variations, criteria, CLOCKS[criteria.clock])


def _criteria(path: Path, raw: Any) -> Criteria:
    known = [entry.name for entry in fields(Criteria)]
    if not isinstance(raw, dict):
        raise ResultsError(f"{path}: evidence must be a mapping, got {type(raw).__name__}.")
    unknown = sorted(set(raw) - set(known))
    if unknown:
        raise ResultsError(
            f"{path}: evidence has unknown keys {', '.join(unknown)}; known are {', '.join(known)}."
        )
    try:
        return Criteria(**raw)
    except (TypeError, AttributeError) as error:
        raise ResultsError(f"{path}: evidence has a value of the wrong type ({error}).") from None

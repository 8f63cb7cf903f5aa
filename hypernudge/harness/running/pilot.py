"""Pilot runs: where the target comes from, before the plan is frozen.

tau is the median over pilot seeds, disjoint from the test seeds, of the baseline's best score at 60 % of the
budget. It is printed, to be written into the configuration; nothing of a pilot enters a study.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.console import tell
from hypernudge.errors import require
from hypernudge.harness.launchers.choose import check_launcher, launcher_of
from hypernudge.harness.planning.plan import Plan
from hypernudge.harness.running.pool import Cells, countdown, run_cells
from hypernudge.results.files import write_text
from hypernudge.results.plan import Variation
from hypernudge.results.printable import counted

AT = 0.6
Say = Callable[[str], object]


class PilotCells(Cells):
    """Pilot cells of one variation, which say how far they are: they may take as long as a study."""

    def __init__(self, variation: Variation, run_dir: Path, seeds: Sequence[int], say: Say) -> None:
        super().__init__(variation, run_dir, seeds)
        self._what, self._say = f"pilot of {variation.run_id}", say
        self._ended, self._begun = 0, time.perf_counter()
        say(f"{self._what}: {counted(len(seeds), 'cell')}, whose scores give the target")

    def done(self, seed: int, record: dict[str, Any] | None) -> None:
        """Take what became of a cell, and say how many there are still."""
        super().done(seed, record)
        self._ended += 1
        total, elapsed = len(self.missing), time.perf_counter() - self._begun
        left = elapsed / self._ended * (total - self._ended)
        self._say(countdown(self._what, self._ended, total, elapsed, left))


def pilot(plan: Plan, seeds: Sequence[int], directory: Path, say: Say = tell) -> Iterator[dict[str, Any]]:
    """Run every baseline variation with pilot seeds; yield its target.

    Args:
        plan: The resolved experiment.
        seeds: Those of the pilot.
        directory: Where its records go.
        say: Is told how far it is, a line at a time.

    Raises:
        InvalidArgumentError: If a pilot seed is also a test seed, or the launcher could run nothing.
    """
    check_launcher(plan)
    require(len(seeds) > 0, "--count", "must be at least one pilot seed", len(seeds), "10 is usual")
    baseline = plan.evidence["baseline"]
    labels = sorted({variation.warm_start for variation in plan.variations})
    rule = f"a pilot needs a variation with the baseline {baseline!r}"
    require(baseline in labels, "warm_start", rule, labels, "add it, or name another evidence.baseline")
    for variation in plan.variations:
        if variation.warm_start != baseline:
            continue
        both = sorted(set(seeds) & set(variation.seeds))
        require(not both, "--seeds", "pilot seeds must not be test seeds", both, "choose others")
        scores = list(_scores(variation, seeds, directory, plan, say))
        yield {
            "run_id": variation.run_id,
            "event": "pilot",
            "target": float(np.median(scores)),
            "at": AT,
            "seeds": list(seeds),
            "best_at": scores,
        }


def _scores(
    variation: Variation, seeds: Sequence[int], directory: Path, plan: Plan, say: Say
) -> Iterator[float]:
    run_dir = directory / variation.run_id
    cells = PilotCells(variation.altered(seeds=list(seeds)), run_dir, seeds, say)
    write_text(run_dir / "config.yaml", plan.as_yaml(cells.variation))  # for jobs of a cluster
    with launcher_of(plan, directory) as launcher:
        run_cells([cells], launcher, plan.attempts)
    records = cells.records
    for seed in seeds:
        require(seed in records, variation.run_id, "every pilot cell must finish", seed, f"see {run_dir}")
        curve = records[seed]["curve"]
        limit = AT * records[seed]["declared"]["budget_seconds"]
        seen = [
            v for t, v in zip(curve["time"], curve["validation"], strict=True) if t <= limit and v is not None
        ]
        worst = records[seed]["declared"]["metric_range"][0]
        ok = len(seen) > 0 or worst is not None
        require(ok, variation.run_id, "every pilot cell must score by then", seed, "raise the budget")
        yield max(seen, default=worst)

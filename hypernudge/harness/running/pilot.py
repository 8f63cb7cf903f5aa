"""Pilot runs: where the target comes from, before the plan is frozen.

tau is the median over pilot seeds, disjoint from the test seeds, of the baseline's best score at 60 % of the
budget. It is printed, to be written into the configuration; nothing of a pilot enters a study.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import require
from hypernudge.harness.launchers.choose import check_launcher, launcher_of
from hypernudge.harness.planning.plan import Plan
from hypernudge.harness.running.pool import Cells, run_cells
from hypernudge.results.files import write_text
from hypernudge.results.plan import Variation

AT = 0.6


def pilot(plan: Plan, seeds: Sequence[int], directory: Path) -> Iterator[dict[str, Any]]:
    """Run every baseline variation with pilot seeds; yield its target.

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
        scores = list(_scores(variation, seeds, directory, plan))
        yield {
            "run_id": variation.run_id,
            "event": "pilot",
            "target": float(np.median(scores)),
            "at": AT,
            "seeds": list(seeds),
            "best_at": scores,
        }


def _scores(variation: Variation, seeds: Sequence[int], directory: Path, plan: Plan) -> Iterator[float]:
    run_dir = directory / variation.run_id
    cells = Cells(variation.altered(seeds=list(seeds)), run_dir, seeds)
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

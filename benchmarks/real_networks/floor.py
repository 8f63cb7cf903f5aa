"""When a scheduler can first have trained a trial for so many units: the limit that no warm start passes.

A trial is trained on only once there are enough worse ones. If every trial were as good as the best one,
their ranks would be chance. So the time to a target that the best reaches in unit `u` is at least, but for
luck, the first moment at which some trial of random rank has `u` units.

    python -m benchmarks.real_networks.floor --max-units 9 --workers 1 --budget 54
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hypernudge.random import stream
from hypernudge.schedulers.asha import ASHA
from hypernudge.schedulers.base import Scheduler
from hypernudge.space import Real, SearchSpace, Value
from hypernudge.task import Split
from hypernudge.tuner import tune


@dataclass
class RandomRanks:
    """A task without training: every unit costs one FLOP, every trial has a random score, always the same."""

    name: str = "random_ranks"
    space: SearchSpace = field(default_factory=lambda: SearchSpace([Real("x", 0.0, 1.0)]))
    metric: str = "score"
    metric_range: tuple[float, float] = (0.0, 1.0)

    def start(self, seed: int) -> float:
        """Return a trial's score."""
        return float(stream(seed, "rank").random())

    def advance(self, state: float, hp: Mapping[str, Value]) -> bool:
        """Do nothing."""
        del state, hp
        return True

    def evaluate(self, state: float, split: Split) -> float:
        """Return the trial's score."""
        del split
        return state

    def unit_flops(self, hp: Mapping[str, Value]) -> float:
        """Return one."""
        del hp
        return 1.0


def first_times(
    scheduler: Scheduler, workers: int, budget: float, orders: int = 100
) -> dict[int, np.ndarray]:
    """Return, by unit, when some trial first has so many, for random orders; ascending.

    Args:
        scheduler: Of the study.
        workers: Of the study.
        budget: Of one worker, in units; what is not reached by then is infinite.
        orders: How many.

    Returns:
        Unit to times `(orders,)`, in units of one worker.
    """
    found = {unit: np.full(orders, np.inf) for unit in range(1, scheduler.max_units + 1)}
    for seed in range(orders):
        study = tune(
            RandomRanks(), scheduler, seed=seed, workers=workers, budget=budget, flops_per_second=1.0
        )
        for report in study.reports:
            for unit in report.units:
                found[unit.unit][seed] = min(found[unit.unit][seed], unit.time)
    return {unit: np.sort(times) for unit, times in found.items()}


def main() -> int:
    """Print, for ASHA, the least and the median first time of every unit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max-units", type=int, default=9)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--budget", type=float, default=54.0, help="of one worker, in units")
    options = parser.parse_args()
    scheduler = ASHA(RandomRanks().space, max_units=options.max_units)
    for unit, times in first_times(scheduler, options.workers, options.budget).items():
        if np.isfinite(np.median(times)):
            print(json.dumps({"unit": unit, "least": times[0], "median": float(np.median(times))}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

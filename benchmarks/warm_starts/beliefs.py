"""What `informed` believes of its starts, and what comes of them: does it tell a scheduler whom to trust?

    HYPERNUDGE_DATA=... python -m benchmarks.warm_starts.beliefs \
        --output benchmarks/results/second_edition/schedules

Whole studies of development tasks under stopping ASHA with a first rung of three units. Within each study:
the standard deviation of the believed ranks, their mean uncertainty, and their rank correlation with the
scores at the third unit; and whether the trial that reaches the target first is one of the first four.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.warm_starts.cells import TARGETS, run
from hypernudge import Informed
from hypernudge.schedulers.asha_stopping import StoppingASHA
from hypernudge.trial import Event, Report, Started
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement.posterior import RANK_DEVIATION, RANK_MEAN
from hypernudge.warmstart.measurement.ranks import normal_scores

FIRST, COUNT, UNITS, EARLY, WORKERS = 500_000, 16, 27, 3, 4


@dataclass
class Seen:
    """What is noted of one study; scores larger-is-better.

    Attributes:
        target: Of the task.
        means: Believed rank of each trial's start.
        deviations: Uncertainty of each.
        early: Score at the third unit, by trial.
        winner: When the target was first reached, and by which trial.
    """

    target: float
    means: list[float] = field(default_factory=list)
    deviations: list[float] = field(default_factory=list)
    early: dict[int, float] = field(default_factory=dict)
    winner: tuple[float, int] = (math.inf, -1)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Started):
            self.means.append(event.nudge.measurements[RANK_MEAN])
            self.deviations.append(event.nudge.measurements[RANK_DEVIATION])
        elif isinstance(event, Report):
            for unit in event.units:
                if unit.unit == EARLY and math.isfinite(unit.validation):
                    self.early[event.job.trial] = unit.validation
                if unit.validation >= self.target:
                    self.winner = min(self.winner, (unit.time, event.job.trial))

    def row(self) -> tuple[float, float, float]:
        """Return spread and mean uncertainty of the beliefs, and their correlation with early scores."""
        trials = sorted(self.early)
        believed, scored = [self.means[trial] for trial in trials], [self.early[trial] for trial in trials]
        ranks = normal_scores(np.array(believed)), normal_scores(np.array(scored))
        return float(np.std(self.means)), float(np.mean(self.deviations)), float(np.corrcoef(*ranks)[0, 1])


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the table")
    parser.add_argument("--count", type=int, default=COUNT, help="studies of each task")
    options = parser.parse_args()
    seeds = range(FIRST, FIRST + options.count)
    lines = [
        "| task | spread of believed ranks | uncertainty of each | rank correlation with the score at unit "
        f"{EARLY} | first at the target: one of the first {WORKERS} |",
        "|---|---|---|---|---|",
    ]
    first, reached = 0, 0
    for task in tuple(TARGETS)[:6]:
        seen = {seed: Seen(TARGETS[task]) for seed in seeds}
        scheduler = lambda space: StoppingASHA(space, UNITS, min_units=EARLY)  # noqa: E731
        run(task, "mid", scheduler, Informed(prior=priors.TABLES), seeds, math.inf, seen)
        spread, uncertainty, correlation = np.array([study.row() for study in seen.values()]).T
        error = 2 * float(correlation.std(ddof=1)) / math.sqrt(len(correlation))
        won = [study.winner[1] for study in seen.values() if study.winner[1] >= 0]
        early = sum(trial < WORKERS for trial in won)
        first, reached = first + early, reached + len(won)
        lines.append(
            f"| {task} | {spread.mean():.2f} | {uncertainty.mean():.2f} "
            f"| {correlation.mean():.2f} ± {error:.2f} | {early} of {len(won)} |"
        )
    lines.append(f"| all | | | | {first} of {reached} |")
    text = "\n".join(lines) + "\n"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "beliefs.md").write_text(text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

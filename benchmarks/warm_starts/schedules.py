r"""Which schedule suits good starts: variants of depth under the second edition of `informed`, paired.

    HYPERNUDGE_DATA=... python -m benchmarks.warm_starts.schedules \
        --output benchmarks/results/second_edition/schedules

Time to one target per task on development tasks and seeds; the harder targets are reached by about half
of the seeds. What is in `schedules.jsonl` is not run again; the table is written anew from it every time.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.warm_starts.cells import TARGETS, Kept, ratio, run
from hypernudge import Informed
from hypernudge.random import Streams
from hypernudge.schedulers.asha import ASHA
from hypernudge.schedulers.asha_stopping import StoppingASHA, _Passed
from hypernudge.schedulers.base import Decision, Resume, RungScheduler, Scheduler, start_or_end
from hypernudge.schedulers.random import RandomSearch
from hypernudge.space import SearchSpace
from hypernudge.trial import Event, History, Report, Started
from hypernudge.warmstart.measurement import prior as priors

FIRST, COUNT, UNITS = 500_000, 16, 27
USUAL = {task: TARGETS[task] for task in tuple(TARGETS)[:6]}
HARDER = {
    "adult_mlp": 0.8545,
    "digits_mlp": 0.9861,
    "letter_mlp": 0.84,
    "shuttle_mlp": 0.9975,
    "spambase_mlp": 0.94,
    "wine_quality_mlp": 0.61,
}
SETTINGS = {"mid": ("mid", USUAL), "mid, harder": ("mid", HARDER), "narrow": ("narrow", TARGETS)}


@dataclass(frozen=True)
class Share(RungScheduler):
    """Stopping ASHA of which the best `1/keep` go on, whatever the distance of its rungs."""

    keep: int = 2

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker."""
        key = ("share", self.max_units, self.keep)
        passed = history.project(key, lambda: _Passed(self.max_units, self.keep, "quantile")).waiting
        if passed:
            trial, rung = passed[0]
            return Resume(trial, self.rungs[self.rungs.index(rung) + 1])
        return start_or_end(self, self.rungs[0], history, streams)


@dataclass(frozen=True)
class FirstDeep(RungScheduler):
    """The trials that start before anything is known go to `deep` units; then stopping ASHA."""

    deep: int = UNITS

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker."""
        key = ("first deep", self.max_units, self.eta)
        passed = history.project(key, lambda: _Passed(self.max_units, self.eta, "quantile")).waiting
        if passed:
            trial, reached = passed[0]
            return Resume(trial, next(rung for rung in self.rungs if rung > reached))
        blind = history.project("blind starts", _Blind).starts
        first = blind is None or len(history.trials) < blind
        return start_or_end(self, self.deep if first else self.rungs[0], history, streams)


@dataclass(frozen=True)
class Patient(RungScheduler):
    """Unit by unit: a trial goes on while its best score is younger than `patience` units and good enough.

    Good enough is not below the `quantile` of what others had reached by the same unit.
    """

    patience: int = UNITS
    quantile: float = 0.0

    def __call__(self, history: History, streams: Streams) -> Decision:
        """Return the decision for one free worker."""
        curves = history.project("curves", _Curves).curves
        for trial in history.trials:
            if trial.status == "paused" and trial.until < self.max_units and self._on(trial.number, curves):
                return Resume(trial.number, trial.until + 1)
        return start_or_end(self, self.min_units, history, streams)

    def _on(self, number: int, curves: dict[int, list[float]]) -> bool:
        own = curves[number]
        units, best = len(own), max(own)
        if units < self.min_units:
            return True
        if units - 1 - own.index(best) >= self.patience:
            return False
        others = [max(curve[:units]) for of, curve in curves.items() if of != number and len(curve) >= units]
        finite = [value for value in others if math.isfinite(value)]
        return not self.quantile or not finite or best >= float(np.quantile(finite, self.quantile))


class _Blind:
    """How many trials had started when the first report came: as many as there are workers."""

    def __init__(self) -> None:
        self.starts: int | None = None
        self._so_far = 0

    def apply(self, event: Event) -> None:
        self._so_far += isinstance(event, Started)
        if isinstance(event, Report) and self.starts is None:
            self.starts = self._so_far


class _Curves:
    """Scores of every trial, unit by unit; of what diverged until then."""

    def __init__(self) -> None:
        self.curves: dict[int, list[float]] = {}

    def apply(self, event: Event) -> None:
        if isinstance(event, Report):
            self.curves.setdefault(event.job.trial, []).extend(unit.validation for unit in event.units)


SCHEDULES: dict[str, Callable[[SearchSpace], Scheduler]] = {
    "stopping ASHA": lambda space: StoppingASHA(space, UNITS),
    "stopping, first rung 3": lambda space: StoppingASHA(space, UNITS, min_units=3),
    "stopping, first rung 9": lambda space: StoppingASHA(space, UNITS, min_units=9),
    "stopping, the best half goes on": lambda space: Share(space, UNITS),
    "stopping, half, first rung 3": lambda space: Share(space, UNITS, min_units=3),
    "random search": lambda space: RandomSearch(space, UNITS),
    "ASHA": lambda space: ASHA(space, UNITS),
    "first starts to the end, then stopping": lambda space: FirstDeep(space, UNITS),
    "first starts to 9, then stopping from 3": lambda space: FirstDeep(space, UNITS, min_units=3, deep=9),
    "patience of 4 units": lambda space: Patient(space, UNITS, patience=4),
    "best third of the curves": lambda space: Patient(space, UNITS, quantile=2 / 3, min_units=5),
    "better half of the curves": lambda space: Patient(space, UNITS, quantile=0.5, min_units=3),
}
BASE = "stopping ASHA"


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of cells and table")
    parser.add_argument("--schedules", nargs="+", default=list(SCHEDULES), help="only these")
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), help="only these")
    args = parser.parse_args()
    kept = Kept(args.output / "schedules.jsonl")
    seeds = range(FIRST, FIRST + COUNT)
    for setting in args.settings:
        space, targets = SETTINGS[setting]
        for schedule in args.schedules:
            for task, target in targets.items():
                key = {"schedule": schedule, "setting": setting, "task": task, "target": target}
                if kept.find(**key, first_seed=FIRST):
                    continue
                made = run(task, space, SCHEDULES[schedule], Informed(prior=priors.TABLES), seeds, target)
                row = kept.add(made, **key)
                sys.stderr.write(f"{schedule}, {setting}, {task}: {sum(row['reached'])} of {COUNT}\n")
    text = table(kept)
    (args.output / "schedules.md").write_text(text)
    sys.stdout.write(text)
    return 0


def table(kept: Kept) -> str:
    """Return geometric-mean times over those of stopping ASHA, with two standard errors over seeds."""
    lines = ["| schedule | " + " | ".join(SETTINGS) + " |", "|---|" + "---|" * len(SETTINGS)]
    for schedule in SCHEDULES:
        found = [_cell(kept, schedule, setting) for setting in SETTINGS]
        if any(found):
            lines.append(f"| {schedule} | " + " | ".join(found) + " |")
    return "\n".join(lines) + "\n"


def _cell(kept: Kept, schedule: str, setting: str) -> str:
    rows, base = (kept.find(schedule=of, setting=setting, first_seed=FIRST) for of in (schedule, BASE))
    found = ratio(rows, base) if len(base) == len(SETTINGS[setting][1]) else None
    if found is None:
        return ""
    return f"{found[0]:.2f}" + (f" ± {found[1]:.2f}" if schedule != BASE else "")


if __name__ == "__main__":
    raise SystemExit(main())

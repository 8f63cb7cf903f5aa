"""When a target is reached, by variant of scheduler and warm start: many seeds on one population, all kept.

A study ends as soon as its time to the target is certain, so a cell costs what it has to. Seeds are paired:
the same seed has the same draws, initialisations and data under every variant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.parts import Lines
from hypernudge.engine.population import PopulationEngine
from hypernudge.harness.cells.build import Prepared, prepare
from hypernudge.harness.cells.cell import engine_of
from hypernudge.harness.planning.resolve import resolve_plan
from hypernudge.registry import build
from hypernudge.schedulers.base import Scheduler
from hypernudge.space import SearchSpace
from hypernudge.trial import Event, Job, Report
from hypernudge.tuner import iter_study
from hypernudge.warmstart.base import WarmStart

CONFIG = Path(__file__).resolve().parents[2] / "config"
UNITS, WORKERS = 150, 4
TARGETS = {
    "adult_mlp": 0.8525,
    "digits_mlp": 0.9806,
    "letter_mlp": 0.825,
    "shuttle_mlp": 0.995,
    "spambase_mlp": 0.9375,
    "wine_quality_mlp": 0.59,
    "digits_mlp_raw": 0.9806,
}
"""One target per task, whatever the space and the scheduler; of development tasks only."""
ADAMW = "adamw"
"""A space in which tasks are trained by AdamW: that of `confirmation/second_edition_adamw.yaml`."""
ADAMW_SPACE = {
    "lr": {"low": 1e-5, "high": 1e-1, "log": True},
    "weight_decay": {"low": 1e-5, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.99},
    "augmentation": {"low": 0.0, "high": 1.0},
    "label_smoothing": {"low": 0.0, "high": 0.3},
}


@dataclass
class _Watch:
    """What is to be known of a study; scores larger-is-better, times in seconds of its clock."""

    target: float
    reached: float | None = None
    best: float = -np.inf
    trials: int = 0
    now: float = 0.0
    begun: dict[int, float] = field(default_factory=dict)  # of what runs

    def __call__(self, event: Event) -> None:
        if isinstance(event, Job):
            self.trials += event.since == 0
            self.begun[event.trial] = self.now
        elif isinstance(event, Report):
            self.now = max(self.now, event.finished)
            self.begun.pop(event.job.trial)
            for unit in event.units:
                self.best = max(self.best, unit.validation) if np.isfinite(unit.validation) else self.best
                if unit.validation >= self.target:
                    self.reached = min(self.reached or np.inf, unit.time)

    @property
    def certain(self) -> bool:
        """Whether nothing that runs can reach the target earlier."""
        reached = self.reached
        return reached is not None and all(begun >= reached for begun in self.begun.values())


def run(
    task: str,
    space: str,
    scheduler: Callable[[SearchSpace], Scheduler] | str,
    warm_start: WarmStart | str,
    seeds: Sequence[int],
    target: float | None = None,
    observers: Mapping[int, Callable[[Event], None]] | None = None,
) -> dict[int, dict[str, Any]]:
    """Return by seed the time to the target in units per worker, the budget's where it was missed.

    Args:
        task: Name of a file in `config/task`.
        space: Name of a space, or `ADAMW`.
        scheduler: What makes one for a space, or the name of one.
        warm_start: Or the name of one, by its defaults.
        seeds: Of the cells.
        target: That of `TARGETS` if absent; infinite for whole studies.
        observers: By seed, what is told every event besides.
    """
    prepared, spec = _prepared(task, space)
    of = prepared.task.space
    prepared = dataclasses.replace(
        prepared,
        scheduler=build("scheduler", {"name": scheduler, "max_units": 27}, space=of)
        if isinstance(scheduler, str)
        else scheduler(of),
        warm_start=build("warm_start", {"name": warm_start}) if isinstance(warm_start, str) else warm_start,
    )
    engines = _engines(spec, prepared, seeds)
    budget = prepared.declared["budget_seconds"]
    watches = {seed: _Watch(TARGETS[task] if target is None else target) for seed in seeds}
    active = {
        seed: iter_study(
            prepared.task,
            prepared.scheduler,
            engines[seed],
            seed=seed,
            budget=budget,
            warm_start=prepared.warm_start,
            callback=_both(watches[seed], None if observers is None else observers[seed]),
        )
        for seed in seeds
    }
    _finish(active, engines, watches)
    unit = budget * WORKERS / UNITS
    return {
        seed: {
            "time": (watch.reached if watch.reached is not None else budget) / unit,
            "reached": watch.reached is not None,
            "trials": watch.trials,
        }
        for seed, watch in watches.items()
    }


def _both(watch: _Watch, observer: Callable[[Event], None] | None) -> Callable[[Event], None]:
    if observer is None:
        return watch

    def tell(event: Event) -> None:
        watch(event)
        observer(event)

    return tell


def _engines(spec: dict[str, Any], prepared: Prepared, seeds: Sequence[int]) -> dict[int, PopulationEngine]:
    first = engine_of(spec, prepared, seeds[0])
    assert isinstance(first, PopulationEngine)  # the specification says so
    first.population.score_test = False
    found = {seed: engine_of(spec, prepared, seed, population=first.population) for seed in seeds}
    return {seed: engine for seed, engine in found.items() if isinstance(engine, PopulationEngine)}


def _finish(
    active: dict[int, Any], engines: Mapping[int, PopulationEngine], watches: Mapping[int, _Watch]
) -> None:
    """Go on with studies until each has ended or its time is certain."""
    population = next(iter(engines.values())).population
    begun: set[int] = set()
    while active:
        for seed, steps in list(active.items()):
            engine = engines[seed]
            try:
                while seed not in begun or engine.ready:
                    begun.add(seed)
                    next(steps)
                    if watches[seed].certain:
                        raise StopIteration
            except StopIteration:
                del active[seed]
                steps.close()
                for trajectory in engine._trajectories.values():
                    population.cancel(trajectory)
        if population.demand:
            population.step()


_KEPT: dict[tuple[str, str], tuple[Prepared, dict[str, Any]]] = {}


def _prepared(task: str, space: str) -> tuple[Prepared, dict[str, Any]]:
    if (task, space) not in _KEPT:
        torch.set_num_threads(1)
        common = {"budget": {"units": UNITS}, "workers": WORKERS, "engine": "population"}
        by_adamw = {"task": {"name": task, "optimizer": "adamw"}, "space": ADAMW_SPACE}
        of = by_adamw if space == ADAMW else {"task": task, "space": space}
        cell = {**of, "target": TARGETS[task], "scheduler": "asha"}
        experiment = {
            "common": {**common, "seeds": {"first": 0, "count": 6}},
            "variations": {"cell": {**cell, "warm_start": "none"}},
            "evidence": {"baseline": "none"},
        }
        spec = resolve_plan(experiment, CONFIG).variations[0].spec
        _KEPT[task, space] = prepare(spec), spec
    return _KEPT[task, space]


class Kept(Lines):
    """Cells on disk, a line for the seeds of a variant on a task: what is there is not run again."""

    def find(self, **key: Any) -> list[dict[str, Any]]:
        """Return the rows that agree with `key`."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in key.items())]

    def add(self, cells: Mapping[int, Mapping[str, Any]], **key: Any) -> dict[str, Any]:
        """Append the cells of a variant and return their row."""
        return self.append(
            {
                **key,
                "first_seed": min(cells),
                "time": [round(cell["time"], 4) for _, cell in sorted(cells.items())],
                "reached": [bool(cell["reached"]) for _, cell in sorted(cells.items())],
            }
        )


def ratio(rows: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Return the geometric mean over tasks of paired ratios of times, and two standard errors of its log.

    The errors are over seeds, the tasks being what they are. None unless both have cells of the same tasks.
    """
    by_task = {row["task"]: row for row in base}
    if not rows or {row["task"] for row in rows} != set(by_task):
        return None
    logs = np.array([np.log(row["time"]) - np.log(by_task[row["task"]]["time"]) for row in rows])
    error = np.sqrt((logs.var(axis=1, ddof=1) / logs.shape[1]).sum()) / len(logs)
    return float(np.exp(logs.mean())), float(2 * error)

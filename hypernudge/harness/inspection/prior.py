"""`hypernudge prior build`: learn a prior from the records of finished studies.

What a study contributes is the rank of each configuration among the study's own, or among all of its task, so
tasks of any metric can be joined. Best are studies that train every configuration equally long (random
search); under successive halving a configuration that was dropped counts as worse, at the next unit, than all
that went on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import require
from hypernudge.harness.cells.described import (
    Facts,
    facts_of,
    noted_probe,
    rebuilt_facts,
    rebuilt_task,
    walk_probe,
)
from hypernudge.harness.cells.provenance import provenance
from hypernudge.harness.inspection.explain import say
from hypernudge.results.digests import digest
from hypernudge.results.plan import Manifest, Variation, read_manifest
from hypernudge.results.records import (
    DamagedRecordError,
    Record,
    cell_path,
    description_of,
    read_record,
)
from hypernudge.space import Config
from hypernudge.task import GradientTask, Task
from hypernudge.warmstart.measurement.features import SCORED, features_at
from hypernudge.warmstart.measurement.prior import HIERARCHICAL, PriorFile, TaskStatistics, load
from hypernudge.warmstart.measurement.probe import shrunk_scale
from hypernudge.warmstart.measurement.ranks import normal_scores

STUDY, TASK = RANKS = "study", "task"
"""Among which configurations a rank is taken: those of one study, or of all studies of a task."""
UNITS = (1, 3, 9)
LEAST = 10  # configurations below which a cell is not worth a regression


def build_prior(
    directories: Sequence[Path],
    add_to: str | None = None,
    units: Sequence[int] = UNITS,
    replace_tasks: bool = False,
    pooling: str = HIERARCHICAL,
    ranks: str = STUDY,
    suffix: str = "",
) -> PriorFile:
    """Return the statistics of the studies in results directories, joined to those of another prior.

    Args:
        directories: Results directories of `hypernudge run`; variations whose warm start changes
            configurations are used too: what is learned from is what was trained.
        add_to: A prior that the new tasks are added to.
        units: Training units at which configurations are ranked; the ranks' normal scores are averaged.
        replace_tasks: Whether a new task may take the place of one of `add_to` with its name and optimizer.
        pooling: How all of them are pooled, those of `add_to` too: one of `POOLINGS`.
        ranks: One of `RANKS`. By task suits studies of one task that start different regions of a space,
            whose ranks within themselves mean different scores; all should train equally long.
        suffix: Of the new tasks' names, for a task that `add_to` has too: its studies then count beside.

    Raises:
        InvalidArgumentError: If a directory holds no experiment, nothing could be learned, or a task of both
            priors may not be replaced.
    """
    require(bool(directories), "directories", "must name at least one", list(directories), "add one")
    given = [str(directory) for directory in directories]
    once = len({directory.resolve() for directory in directories}) == len(given)
    require(once, "directories", "must each be given once, or their cells count twice", given, "drop one")
    require(ranks in RANKS, "ranks", f"must be one of {RANKS}", ranks, f"{STUDY!r} is usual")
    learned: dict[tuple[str, str], list[_Contribution]] = {}  # by task and optimizer
    sources, unknown = [], set[str]()
    for directory in directories:
        manifest = read_manifest(directory)
        used = _learn(manifest, tuple(units), learned, unknown)
        sources.append({"plan": manifest.hash, "name": manifest.name, "cells": used})
    rule = f"must hold finished cells of at least {LEAST} configurations that were trained"
    require(bool(learned), "directories", rule, given, "run them, with a larger budget where they are small")
    if unknown:
        names = ", ".join(sorted(unknown))
        say(f"not learned: {names}; a prior of learning rates knows nothing of them, --features space does")
    found = {(task + suffix, rule): _joined(of, ranks, suffix) for (task, rule), of in learned.items()}
    known = load(add_to).tasks if add_to is not None else ()
    both = sorted({task.task for task in known if (task.task, task.optimizer) in found})
    rule = f"must share no task with the prior it is added to, but both have {', '.join(both)}"
    remedy = "pass --replace to have the new ones in their place, or give the new ones another label"
    require(replace_tasks or not both, "--add-to", rule, add_to, remedy)
    kept = [task for task in known if (task.task, task.optimizer) not in found]
    origin = {
        "studies": sources,
        "units": list(units),
        "ranks": ranks,
        "added_to": add_to,
        **provenance(),
    }
    return PriorFile((*kept, *found.values()), origin, pooling)


@dataclass(frozen=True)
class _Contribution:
    """What a cell tells: features `(n, SIZE)` and scores `(units, n)` of its trials, and their origin."""

    task: str
    family: str
    optimizer: str
    scale: float
    phi: np.ndarray
    scores: np.ndarray


def _learn(
    manifest: Manifest,
    units: tuple[int, ...],
    learned: dict[tuple[str, str], list[_Contribution]],
    unknown: set[str],
) -> int:
    used = 0
    for variation in manifest.variations:
        cells = _Cells(manifest, variation)
        for seed in variation.seeds:
            contribution = cells.contribution(seed, units)
            if contribution is None:
                continue
            used += 1
            learned.setdefault((contribution.task, contribution.optimizer), []).append(contribution)
        unknown |= cells.unknown
    return used


class _Cells:
    """The cells of a variation: read as data, built again from registered names where nothing was noted."""

    def __init__(self, manifest: Manifest, variation: Variation) -> None:
        self._manifest, self._variation = manifest, variation
        self._built: dict[str, Task | None] = {}
        self.unknown: set[str] = set()  # hyper-parameters of which nothing is learned

    def contribution(self, seed: int, units: tuple[int, ...]) -> _Contribution | None:
        """Return what a cell contributes, None if it cannot."""
        path = cell_path(self._manifest.results_dir / self._variation.run_id, seed)
        try:
            record = read_record(path, self._manifest.planned(self._variation, seed))
            if record is None or record["status"] != "completed":
                return None
            trained = [
                index
                for index, trial in enumerate(record["trials"])
                if trial["units"] > 0 or trial["status"] != "stopped"
            ]
            if len(trained) < LEAST:
                return None
            description = description_of(record, path)
            facts = facts_of(description, len(record["trials"])) if description is not None else None
            spec = self._manifest.spec_of(self._variation, record)
            if spec is None:
                say(
                    f"left out: {path}: its manifest holds no configuration; only `hypernudge run` writes one"
                )
                return None
            if facts is None:
                task = self._task(spec)
                facts = None if task is None else rebuilt_facts(record, task)
            if facts is None:
                return None
            scale = self._scale(record, facts, spec)
            if scale is None:
                return None
            learned = _contribution(self._variation.task, record, spec, facts, scale, trained, units)
            self.unknown |= {name for i in trained for name in record["trials"][i]["nudged"]} - {*SCORED}
            return learned
        except DamagedRecordError as error:
            say(f"left out: {error}")
        except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            say(f"left out: record {path}: cannot be learned from: {type(error).__name__}: {error}")
        return None

    def _scale(self, record: Record, facts: Facts, spec: Mapping[str, Any]) -> float | None:
        """Return the probe's result that was noted; walk it again where it was not."""
        noted = noted_probe(record)
        if noted is None:
            noted = facts.probe
        if noted is not None:
            return noted
        task = self._task(spec)
        return walk_probe(record, task) if isinstance(task, GradientTask) else None

    def _task(self, spec: Mapping[str, Any]) -> Task | None:
        """Return the task, built again, or None with a line that says why not; each configuration once."""
        key = digest(spec)
        if key not in self._built:
            self._built[key] = None
            try:
                self._built[key] = rebuilt_task(spec)
            except Exception as error:  # what a configuration names may fail in any way
                remedy = "run its cells again with this version, which notes what a prior needs"
                say(f"left out: {self._variation.run_id}: its task cannot be built: {error}; {remedy}")
        return self._built[key]


def _contribution(
    task: str,
    record: Record,
    spec: Mapping[str, Any],
    facts: Facts,
    scale: float,
    trained: Sequence[int],
    units: tuple[int, ...],
) -> _Contribution:
    trials = [record["trials"][index] for index in trained]
    known = [facts.nudged[index] for index in trained]
    log_rates = [rate for rate in known if rate is not None]
    if len(log_rates) < len(known):
        raise ValueError("a trial has no effective learning rate")
    steps = facts.steps_per_unit * float(spec["scheduler"].get("max_units", max(units)))
    configs = [Config(trial["nudged"]) for trial in trials]
    phi = features_at(log_rates, configs, shrunk_scale(scale, facts.optimizer), steps)
    if not np.isfinite(phi).all():
        raise ValueError("its features are not finite")
    scores = scores_at(record["curve"], [trial["trial"] for trial in trials], units)
    return _Contribution(task, facts.family, facts.optimizer, scale, phi, scores)


def scores_at(curve: dict[str, list[Any]], trials: Sequence[int], units: Sequence[int]) -> np.ndarray:
    """Return trials' scores at units, `(len(units), len(trials))`; minus infinity where there is none."""
    scores = {
        (trial, unit): score
        for trial, unit, score in zip(curve["trial"], curve["unit"], curve["validation"], strict=True)
        if score is not None and np.isfinite(score)
    }
    return np.array([[scores.get((trial, unit), -np.inf) for trial in trials] for unit in units])


def targets(scores: np.ndarray) -> np.ndarray:
    """Return each trial's normal score of its mean normal score over units, `(n,)`.

    Args:
        scores: Those of `scores_at`, `(units, n)`. At a unit that it did not reach, or whose score is not
            finite, a trial ranks below all others; one that nobody reached tells nothing.
    """
    rows = [normal_scores(row) for row in scores if np.isfinite(row).any()]
    return normal_scores(np.mean(rows, axis=0)) if rows else np.zeros(scores.shape[1])


def _joined(contributions: Sequence[_Contribution], ranks: str, suffix: str) -> TaskStatistics:
    """Return what the studies of one task under one rule tell together."""
    first = contributions[0]
    for other in contributions:
        one, two = ((c.family, c.optimizer) for c in (first, other))
        rule = f"must be one task, but it stands for {one} and {two}"
        require(one == two, f"task {first.task!r}", rule, other.family, "give the two different labels")
    phi, counts = np.concatenate([c.phi for c in contributions]), [len(c.phi) for c in contributions]
    scores = [c.scores for c in contributions]
    parts = [np.concatenate(scores, axis=1)] if ranks == TASK else scores
    y = np.concatenate([targets(part) for part in parts])
    scale = float(np.average([c.scale for c in contributions], weights=counts))
    name = first.task + suffix, first.family, first.optimizer
    return TaskStatistics(*name, sum(counts), scale, phi.T @ phi, phi.T @ y)

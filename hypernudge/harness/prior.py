"""`hypernudge prior build`: learn a prior from the records of finished studies.

What a study contributes is the rank of each configuration among the study's own, so tasks of any metric can
be joined. Best are studies that train every configuration equally long (random search); under successive
halving a configuration that was dropped counts as worse, at the next unit, than all that went on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.harness.cell import prepare
from hypernudge.harness.plan import Plan, Variation
from hypernudge.harness.provenance import provenance
from hypernudge.harness.records import cell_path, read_record
from hypernudge.harness.resolve import load_plan
from hypernudge.random import Streams
from hypernudge.space import Config
from hypernudge.task import GradientTask
from hypernudge.trial import History
from hypernudge.warmstart import rates
from hypernudge.warmstart.features import features, steps_of
from hypernudge.warmstart.informed import family_of, normal_scores
from hypernudge.warmstart.prior import PriorFile, TaskStatistics, load
from hypernudge.warmstart.probe import PROBE, Probe, believed

Found = dict[tuple[str, str], TaskStatistics]
"""By task and optimizer."""
UNITS = (1, 3, 9)
LEAST = 10  # configurations below which a cell is not worth a regression


def build_prior(
    directories: Sequence[Path], add_to: str | None = None, units: Sequence[int] = UNITS
) -> PriorFile:
    """Return the statistics of the studies in results directories, joined to those of another prior.

    Args:
        directories: Results directories of `hypernudge run`; variations whose warm start changes
            configurations are used too: what is learned from is what was trained.
        add_to: A prior that the new tasks are added to; a task with the same name and optimizer replaces the
            old one.
        units: Training units at which configurations are ranked; the ranks' normal scores are averaged.

    Raises:
        InvalidArgumentError: If a directory holds no experiment, or nothing could be learned.
    """
    require(bool(directories), "directories", "must name at least one", list(directories), "add one")
    found: Found = {}
    sources = []
    for directory in directories:
        plan = load_plan(directory / "experiment.yaml")
        used = _learn(plan, directory, tuple(units), found)
        sources.append({"plan": plan.hash, "name": plan.name, "cells": used})
    require(bool(found), "directories", "must hold finished cells", [str(d) for d in directories], "run them")
    known = load(add_to).tasks if add_to is not None else ()
    kept = [task for task in known if (task.task, task.optimizer) not in found]
    origin = {"studies": sources, "units": list(units), "added_to": add_to, **provenance()}
    return PriorFile((*kept, *found.values()), origin)


def _learn(plan: Plan, directory: Path, units: tuple[int, ...], found: Found) -> int:
    used = 0
    for variation in plan.variations:
        task = prepare(variation.spec).task
        for seed in variation.seeds:
            record = read_record(cell_path(directory / variation.run_id, seed))
            if record is None or record["status"] != "completed":
                continue
            contribution = _cell(task, variation, seed, record, units)
            if contribution is None:
                continue
            used += 1
            name = contribution.task, contribution.optimizer
            found[name] = _joined(found[name], contribution) if name in found else contribution
    return used


def _cell(
    task: Any, variation: Variation, seed: int, record: dict[str, Any], units: tuple[int, ...]
) -> TaskStatistics | None:
    trials = [trial for trial in record["trials"] if trial["units"] > 0 or trial["status"] != "stopped"]
    if len(trials) < LEAST:
        return None
    scale = _scale(task, seed, record)
    if scale is None:
        return None
    configs = [Config(trial["nudged"]) for trial in trials]
    steps = steps_of(task, variation.spec["scheduler"].get("max_units", max(units)))
    rule = rates.rule_of(task)
    phi = features(task, configs, believed(scale, rule), steps)
    y = targets(record["curve"], [trial["trial"] for trial in trials], units)
    return TaskStatistics(
        variation.labels["task"],
        family_of(task),
        rule,
        len(trials),
        scale,
        phi.T @ phi,
        phi.T @ y,
    )


def targets(curve: dict[str, list[Any]], trials: Sequence[int], units: Sequence[int]) -> np.ndarray:
    """Return each trial's normal score of its mean normal score at `units`, shape `(len(trials),)`.

    At a unit it did not reach, a trial ranks below all that did; a score that is missing or not finite too.
    """
    scores = {
        (trial, unit): score
        for trial, unit, score in zip(curve["trial"], curve["unit"], curve["validation"], strict=True)
        if score is not None and np.isfinite(score)
    }
    at = [[scores.get((trial, unit), -np.inf) for trial in trials] for unit in units]
    rows = [normal_scores(np.array(row)) for row in at if np.isfinite(row).any()]
    return normal_scores(np.mean(rows, axis=0)) if rows else np.zeros(len(trials))


def _scale(task: Any, seed: int, record: dict[str, Any]) -> float | None:
    """Return the probe's result that the study noted; walk it again where it did not."""
    for trial in record["trials"]:
        if PROBE in trial["nudge"]["measurements"]:
            return float(trial["nudge"]["measurements"][PROBE])
    if not isinstance(task, GradientTask):
        return None
    first = Config(record["trials"][0]["sampled"])
    value = Probe()(task, "prior", first, History(), Streams(seed)).value
    return value if np.isfinite(value) else None


def _joined(a: TaskStatistics, b: TaskStatistics) -> TaskStatistics:
    if (a.family, a.optimizer) != (b.family, b.optimizer):
        raise InvalidArgumentError(
            f"task {a.task!r}: must be one task, but it stands for {(a.family, a.optimizer)} and "
            f"{(b.family, b.optimizer)}; give the two different labels"
        )
    n = a.configurations + b.configurations
    scale = (a.scale * a.configurations + b.scale * b.configurations) / n
    return replace(a, configurations=n, scale=scale, a=a.a + b.a, b=a.b + b.b)

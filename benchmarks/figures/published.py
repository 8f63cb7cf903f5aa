"""Comparisons of published studies, as their figures need them: from cells, and from an evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from matplotlib.figure import Figure

from benchmarks.confirmation.report import SPACES, Setting
from benchmarks.evidence.rejudged import Block, judged
from hypernudge.evidence.figures import forest
from hypernudge.evidence.figures.evaluated_study import EvaluatedStudy
from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.verdicts.comparisons import Comparison
from hypernudge.plotting import style


def settings(blocks: Iterable[Block]) -> list[Setting]:
    """Return the comparisons of published blocks, made again from their cells; a later block supersedes.

    The p values are the published ones: published times are rounded, and then tie where they did not.
    """
    found: dict[tuple[str, ...], Setting] = {}
    for block in blocks:
        again = judged(block)
        for row, comparison in zip(again.published, again.new, strict=True):
            if comparison.test.pairs > 1:
                setting = _setting(block, comparison, float(row["p"]))
                found[setting.task, setting.space, setting.scheduler, setting.method] = setting
    return list(found.values())


def _setting(block: Block, of: Comparison, p: float) -> Setting:
    task, _, space = of.method.task.rpartition("_")
    if space not in SPACES:
        task, space = of.method.task, "own"
    bounds = of.final_bounds
    comparison = {
        "pairs": of.test.pairs,
        "time_to_target": {
            "p": p,
            "favours": of.test.favours,
            "both_reached": of.test.both_reached,
            "ratio": _limits(of.effects.ratio),
        },
        "final_score": {
            "relative_difference": _limits(of.final),
            "not_worse": {
                "typical_pair": _limits(bounds.typical),
                "mean": _limits(bounds.mean),
                "worst_pair": bounds.worst,
                "best_pair": bounds.best,
            },
        },
        "overhead": of.overhead,
    }
    return Setting(block.name, task, space, of.method.scheduler, of.method.warm_start, comparison)


def _limits(interval: Interval) -> dict[str, float]:
    return {name: float(value) for name, value in asdict(interval).items()}


def forest_of(evaluation: Path) -> Figure:
    """Return the forest plot of a study whose evaluation is published, and whose cells are not."""
    data = json.loads(evaluation.read_text("utf-8"))
    # What the plot reads of a study, and nothing more.
    comparisons = [
        SimpleNamespace(
            method=SimpleNamespace(task=c["task"], scheduler=c["scheduler"], warm_start=c["warm_start"]),
            seeds=SimpleNamespace(size=c["pairs"]),
            test=SimpleNamespace(pairs=c["pairs"]),
            effects=SimpleNamespace(ratio=_interval(c["time_to_target"]["ratio"])),
            p_holm=c["time_to_target"]["p_holm"],
            verdict=SimpleNamespace(label=c["verdict"]),
        )
        for c in data["comparisons"]
    ]
    criteria = [
        SimpleNamespace(
            warm_start=k["warm_start"],
            name=k["criterion"],
            planned=k["planned"],
            aggregate=_interval(k["aggregate"]),
            judgement=k["judgement"],
        )
        for k in data["criteria"]
    ]
    study = SimpleNamespace(plan=SimpleNamespace(criteria=Criteria()))
    evaluated = SimpleNamespace(comparisons=comparisons, criteria=criteria, study=study)
    with style.context():
        drawings: Iterator[Any] = forest.draw(cast(EvaluatedStudy, evaluated))
        figure: Figure = next(drawings).figure
    return figure


def _interval(of: dict[str, float]) -> Interval:
    return Interval(*(float("nan") if of[name] is None else of[name] for name in ("estimate", "low", "high")))

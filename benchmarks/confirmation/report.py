"""What the blocks of the confirmation study say together.

    python -m benchmarks.confirmation results/confirmation/asha results/confirmation/hyperband \
        --output benchmarks/results/confirmation

Each block has been judged by itself, by its own plan; here their comparisons are pooled: geometric-mean ratio
with a Student interval over data sets and networks (tasks without their space), Holm over all settings of a
method in the scope, and the share of settings that are improved by the same rule as in the plans.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.statistics.intervals import Interval, mean_interval
from hypernudge.evidence.statistics.multiplicity import holm
from hypernudge.evidence.statistics.noninferiority import ScoreBounds
from hypernudge.evidence.verdicts.verdict import Facts, judge

SPACES = ("narrow", "mid", "wide")


@dataclass(frozen=True)
class Setting:
    """One comparison of a block, and where it belongs."""

    block: str
    task: str
    space: str
    scheduler: str
    method: str
    comparison: dict[str, Any]

    @property
    def ratio(self) -> Interval:
        """Geometric-mean ratio of times to target."""
        return _interval(self.comparison["time_to_target"]["ratio"])


def read(directories: Iterable[Path]) -> list[Setting]:
    """Return the comparisons of evaluated blocks; those of fewer than two pairs are left out.

    Where two blocks compare the same warm start on the same task, scheduler and space the one that is named
    later counts: it was run for what has changed since.
    """
    found: dict[tuple[str, ...], Setting] = {}
    for directory in directories:
        evaluation = json.loads((directory / "evaluation.json").read_text())
        for comparison in evaluation["comparisons"]:
            if comparison["pairs"] < 2:
                continue
            task, _, space = comparison["task"].rpartition("_")
            if space not in SPACES:
                task, space = comparison["task"], "own"
            of = comparison["scheduler"], comparison["warm_start"]
            found[task, space, *of] = Setting(directory.name, task, space, *of, comparison)
    return list(found.values())


def judged(settings: Sequence[Setting]) -> tuple[np.ndarray, list[str]]:
    """Return p values after Holm over these settings of one method, and verdicts by the plans' criteria."""
    p = holm([t.comparison["time_to_target"]["p"] for t in settings])
    labels: list[str] = [
        judge(_facts(t.comparison, float(p_holm)), Criteria()).label
        for t, p_holm in zip(settings, p, strict=True)
    ]
    return p, labels


def pooled(settings: Sequence[Setting]) -> dict[str, Any]:
    """Return what settings of one method say together."""
    p, labels = judged(settings)
    by_task: dict[str, list[float]] = {}
    for t in settings:
        by_task.setdefault(t.task, []).append(math.log(t.ratio.estimate))
    ratio = mean_interval(np.array([np.mean(values) for values in by_task.values()])).exp()
    final = [t.comparison["final_score"]["relative_difference"]["estimate"] for t in settings]
    return {
        "tuples": len(settings),
        "tasks": len(by_task),
        "ratio": ratio.estimate,
        "low": ratio.low,
        "high": ratio.high,
        **{label: labels.count(label) for label in ("improved", "harmed", "equivalent", "inconclusive")},
        "significantly_later": sum(
            q < 0.05 and t.comparison["time_to_target"]["favours"] == "baseline"
            for t, q in zip(settings, p, strict=True)
        ),
        "final_difference": float(np.mean(final)),
        "overhead": float(np.mean([t.comparison["overhead"] for t in settings])),
    }


def rows(settings: Sequence[Setting]) -> Iterator[dict[str, Any]]:
    """Yield a row per scope and method: all, mid and wide together, each space; each scheduler in them."""
    schedulers = sorted({t.scheduler for t in settings})
    spaces = [space for space in (*SPACES, "own") if any(t.space == space for t in settings)]
    scopes = [("all", set(schedulers), set(spaces))]
    if {"mid", "wide"} <= set(spaces):
        scopes.append(("mid and wide", set(schedulers), {"mid", "wide"}))
        if len(schedulers) > 1:
            scopes += [(f"{s}, mid and wide", {s}, {"mid", "wide"}) for s in schedulers]
    for space in spaces:
        if len(schedulers) > 1 and len(spaces) > 1:
            scopes.append((space, set(schedulers), {space}))
        scopes += [(f"{s}, {space}", {s}, {space}) for s in schedulers]
    for scope, of_schedulers, of_spaces in scopes:
        for method in dict.fromkeys(t.method for t in settings):
            chosen = [
                t
                for t in settings
                if t.method == method and t.scheduler in of_schedulers and t.space in of_spaces
            ]
            if chosen:
                yield {"scope": scope, "method": method, **pooled(chosen)}


def markdown(found: Iterable[dict[str, Any]]) -> str:
    """Return the rows as a table."""
    lines = [
        "| scope | warm start | settings | ratio [95 %] | improved | harmed | later (Holm) | score | cost |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in found:
        lines.append(
            f"| {r['scope']} | `{r['method']}` | {r['tuples']} | {r['ratio']:.3f} [{r['low']:.3f}, "
            f"{r['high']:.3f}] | {r['improved']} | {r['harmed']} | {r['significantly_later']} | "
            f"{100 * r['final_difference']:+.2f} % | {100 * r['overhead']:.2f} % |"
        )
    return "\n".join(lines) + "\n"


def _facts(c: dict[str, Any], p_holm: float) -> Facts:
    time, final = c["time_to_target"], c["final_score"]["not_worse"]
    return Facts(
        pairs=c["pairs"],
        joint=time["both_reached"],
        best_case_p=0.0,  # what could be shown was weighed before the runs
        p_holm=p_holm,
        favours=time["favours"],
        ratio=_interval(time["ratio"]),
        final=ScoreBounds(
            _interval(final["typical_pair"]),
            _interval(final["mean"]),
            final["worst_pair"],
            final["best_pair"],
        ),
    )


def _interval(found: dict[str, float]) -> Interval:
    return Interval(found["estimate"], found["low"], found["high"])

"""The study of trainings of known length: what was planned, and what came of it.

The plan is written and its digest committed before the first run of the phase `ends`. A pair is a cell (task,
optimizer, share of wrong labels) and a base rate, as a multiple of the right one. The default is run at every
base rate; cosine and Schedule-Free stand at rates tuned for the cell, Prodigy has none.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.episodes_effect import blocks
from benchmarks.episodes_effect.methods import ANNEALED, PEAKS
from benchmarks.episodes_effect.report import Cell, Scores, cells_csv, load
from benchmarks.episodes_effect.tasks import TASKS
from hypernudge.episodes.controllers.step_bounds import DRAWN, MOST, SIGNAL, SMALL, StepBounds
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.results.digests import digest
from hypernudge.results.files import write_text
from hypernudge.results.jsonio import write_json

RIVALS = ("cosine", "schedule_free", "prodigy")
CRITERIA = {
    "margin": 0.5,  # points of test accuracy
    "level": "the lower limit of the 90 % t interval of the mean paired difference is above minus the margin",
    "harm": 1.5,  # points: no pair's mean difference to cosine is below minus this
    "cosine": 0.9,  # share of the pairs that are level
    "schedule_free": 2 / 3,
    "prodigy": 0.5,  # share of the pairs whose interval lies above 0
    "harmed_cell": ["adult_mlp", "adamw", 0.4],  # level with plain training at the right rate
}


def plan(phase: str = "ends") -> dict[str, Any]:
    """Return what is fixed before the runs of a phase, in plain types."""
    return {
        "methods": list(blocks.ENDS),
        "rule": {name: _plain(value) for name, value in sorted(ANNEALED.items())},
        "undecided": "an undecided test grows while updates are small, wherever the multiplier stands",
        "drawn": DRAWN,
        "agreement": {"small": SMALL, "most": MOST, "signal": SIGNAL},
        "peak": PEAKS,
        "tasks": {task.name: [task.batch, task.steps] for task in TASKS.values()},
        "optimizers": list(blocks.OPTIMIZERS),
        "noises": list(blocks.NOISES),
        "ratios": list(blocks.RATIOS),
        "seeds": [blocks.SEEDS[phase].start, blocks.SEEDS[phase].stop],
        "split": blocks.SPLITS[phase],
        "tuning": {name: list(grid) for name, grid in blocks.GRIDS.items()},
        "criteria": CRITERIA,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, StepBounds):
        return value.fingerprint()
    return list(value) if isinstance(value, tuple) else value


def write_plan(destination: Path, planned: Mapping[str, Any] | None = None) -> str:
    """Write `plan.json`, with its digest; return the digest.

    Args:
        destination: Folder.
        planned: What is planned, in plain types; None for this study's `plan()`.

    Raises:
        ValueError: Another plan is there already.
    """
    path = destination / "plan.json"
    planned = plan() if planned is None else dict(planned)
    own = {"digest": digest(planned), "plan": planned}
    if path.exists() and json.loads(path.read_text()) != json.loads(json.dumps(own)):
        raise ValueError(f"{path}: must be the plan of this code, but got another; publish elsewhere")
    write_json(path, own)
    return str(own["digest"])


@dataclass(frozen=True)
class Pair:
    """The default against a rival on one cell at one base rate; differences in points, ours minus theirs."""

    rival: str
    cell: Cell
    ratio: float
    seeds: int
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """One of better, level, open, worse."""
        if self.low > 0:
            return "better"
        if self.low > -CRITERIA["margin"]:  # type: ignore[operator]
            return "level"
        return "worse" if self.high < 0 else "open"


def pairs(scores: Scores) -> list[Pair]:
    """Compare the default with every rival on the pairs for which both are recorded."""
    cells = sorted({key[:3] for key in scores}, key=lambda cell: (list(TASKS).index(cell[0]), cell[1:]))
    found = []
    for rival, cell, ratio in itertools.product((*RIVALS, "default", "plain"), cells, blocks.RATIOS):
        ours = scores.get((*cell, "annealed", ratio))
        theirs = scores.get((*cell, rival, 1.0 if rival in RIVALS else ratio))
        if ours is not None and theirs is not None and len(ours) == len(theirs):
            interval = mean_interval(ours - theirs, level=0.9)
            found.append(Pair(rival, cell, ratio, len(ours), interval.estimate, interval.low, interval.high))
    return found


def tally(found: list[Pair]) -> dict[str, Any]:
    """Count verdicts by rival; with the mean difference, and the worst pair."""
    counts: dict[str, Any] = {}
    for rival in dict.fromkeys(pair.rival for pair in found):
        own = [pair for pair in found if pair.rival == rival]
        worst = min(own, key=lambda pair: pair.difference)
        counts[rival] = {
            "pairs": len(own),
            **{
                name: sum(pair.verdict == name for pair in own)
                for name in ("better", "level", "open", "worse")
            },
            "mean": round(float(np.mean([pair.difference for pair in own])), 3),
            "worst": [*worst.cell, worst.ratio, round(worst.difference, 3)],
        }
    return counts


def judge(found: list[Pair]) -> dict[str, Any]:
    """Count verdicts by rival and say which of the criteria hold on the pairs that there are."""
    counts = tally(found)
    harmed: Any = tuple(CRITERIA["harmed_cell"])  # type: ignore[arg-type]
    at_right = [p for p in found if p.rival == "plain" and p.cell == harmed and p.ratio == 1.0]
    held: dict[str, bool | None] = {}
    for rival in ("cosine", "schedule_free"):
        row = counts.get(rival)
        held[rival] = row and (row["better"] + row["level"]) / row["pairs"] >= CRITERIA[rival]
    row = counts.get("prodigy")
    held["prodigy"] = row and row["better"] / row["pairs"] > CRITERIA["prodigy"]
    row = counts.get("cosine")
    held["harm"] = row and row["worst"][-1] >= -CRITERIA["harm"]  # type: ignore[operator]
    held["harmed_cell"] = at_right[0].verdict in ("better", "level") if at_right else None
    planned = len(TASKS) * len(blocks.OPTIMIZERS) * len(blocks.NOISES) * len(blocks.RATIOS)
    return {"counts": counts, "held": held, "pairs_planned": planned}


def publish(folder: Path, destination: Path) -> dict[str, Any]:
    """Write the comparisons, the table and `summary.json`; return the summary.

    Raises:
        FileNotFoundError: Nothing is recorded yet.
    """
    scores, headers = load(folder, "ends")
    if not scores:
        raise FileNotFoundError(f"{folder} holds no record of the phase ends; run that phase first.")
    found = pairs(scores)
    summary = {
        "plan": write_plan(destination),
        **judge(found),
        "runs": sum(len(values) for values in scores.values()),
        "training_seconds": round(sum(header["seconds"] for header in headers), 1),
        "commits": sorted({str(header["commit"]) for header in headers}),
        "dates": [min(header["date"] for header in headers), max(header["date"] for header in headers)],
        "machine": {key: headers[0][key] for key in ("system", "cpu", "python", "packages", "threads")},
    }
    write_text(destination / "comparisons.csv", comparisons_csv(found))
    write_text(destination / "cells.csv", cells_csv(scores))
    write_text(destination / "tables.md", _tables(scores))
    write_json(destination / "summary.json", summary)
    return summary


def comparisons_csv(found: list[Pair]) -> str:
    """Return every pair's difference, its interval and verdict."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = (
        "rival",
        "task",
        "optimizer",
        "noise",
        "ratio",
        "seeds",
        "difference",
        "low90",
        "high90",
        "verdict",
    )
    writer.writerow(names)
    for pair in found:
        numbers = [f"{value:.3f}" for value in (pair.difference, pair.low, pair.high)]
        writer.writerow([pair.rival, *pair.cell, pair.ratio, pair.seeds, *numbers, pair.verdict])
    return out.getvalue()


def _tables(scores: Scores) -> str:
    """Return mean accuracies: the methods with a base rate at every one, the others at their own."""
    lines = ["# Mean test accuracy (%) by base rate over the right one", ""]
    for cell in dict.fromkeys(key[:3] for key in scores):
        labels = f"{100 * cell[2]:.0f} % wrong labels" if cell[2] else "clean"
        lines += [f"**{cell[0]}, {cell[1]}, {labels}**", ""]
        lines.append("| method | " + " | ".join(f"x{ratio:g}" for ratio in blocks.RATIOS) + " |")
        lines.append("|---" * (len(blocks.RATIOS) + 1) + "|")
        for method in blocks.ENDS:
            means = [scores.get((*cell, method, ratio)) for ratio in blocks.RATIOS]
            if any(mean is not None for mean in means):
                entries = ["" if mean is None else f"{mean.mean():.2f}" for mean in means]
                lines.append(f"| {method} | " + " | ".join(entries) + " |")
        lines.append("")
    return "\n".join(lines)

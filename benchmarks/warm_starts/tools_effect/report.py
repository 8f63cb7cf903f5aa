"""What the runs of a workload show: the long form of `hypernudge compare`, and what that makes of it."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.warm_starts.tools_effect.workload import Clock, Workload
from hypernudge.errors import require
from hypernudge.evidence.report.compare_file import Request, compare_file
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.evidence.verdicts.verdict import LABELS

COMPARISONS = "comparisons.json"
Cells = Mapping[tuple[str, int], Clock]


def write_runs(path: Path, of: Workload, cells: Cells) -> None:
    """Write the improvements of every run."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "variation", "seed", "time", "score"])
        for (method, seed), clock in cells.items():
            best = -math.inf
            for at, score in clock.scores:
                if score > best:  # only the incumbent matters, and the file stays small
                    best = score
                    # Exactly, for a target may be one of the scores.
                    writer.writerow([of.name, method, seed, f"{at:.4f}", repr(float(score))])


def path_of(output: Path, method: str, seed: int) -> Path:
    """Return where the scores of a run are kept."""
    return output / "cells" / f"{method}-{seed}.json"


def plain(earlier: Path, of: Workload, methods: Sequence[str], seeds: Sequence[int], output: Path) -> float:
    """Keep the runs of `methods` that an earlier table has, as runs of this one; return its target.

    Its `runs.csv` holds incumbents, which is all that times and best scores are made of.

    Args:
        earlier: Folder of a table of the same workload.
        of: The workload.
        methods: Those without the line.
        seeds: Of the runs.
        output: Folder of the table to come.

    Raises:
        InvalidArgumentError: It is of another task, or has several targets.
    """
    rows = json.loads((earlier / COMPARISONS).read_text())
    targets, tasks = sorted({row["target"] for row in rows}), sorted({row["task"] for row in rows})
    require(tasks == [of.name], "--plain", f"must be a table of {of.name!r}", tasks, "give another folder")
    require(len(targets) == 1, "--plain", "must have one target", targets, "give another folder")
    kept: dict[Path, list[tuple[float, float]]] = {}
    with (earlier / "runs.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            method, seed = row["variation"], int(row["seed"])
            if method in methods and seed in seeds:
                path = path_of(output, method, seed)
                kept.setdefault(path, []).append((float(row["time"]), float(row["score"])))
    (output / "cells").mkdir(parents=True, exist_ok=True)
    for path, scores in kept.items():
        if not path.is_file():
            path.write_text(json.dumps(scores))
    return float(targets[0])


def comparisons(
    runs: Path, of: Workload, target: float, against: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """Return the comparisons of `against`: baseline -> methods."""
    rows = []
    for baseline, others in against.items():
        request = Request(
            baseline, target, list(others), budget=of.budget, wall_clock=False, clock=f"training [{of.unit}]"
        )
        events: list[dict[str, Any]] = []
        compare_file(runs, request, events.append)
        rows += [event for event in events if event.get("event") == "comparison"]
    return rows


def table(rows: Sequence[dict[str, Any]], of: Workload, cells: Cells, target: float) -> str:
    """Return the runs and their comparisons as Markdown."""
    methods = list(dict.fromkeys(method for method, _ in cells))
    seeds = len(cells) // len(methods)
    lines = [
        f"{of.title}, {seeds} paired seeds, target {target:.4f}, budget {of.budget:g} {of.unit}.",
        "",
        f"| | median time to target [{of.unit}] | reached | best score, median |",
        "|---|---|---|---|",
    ]
    for method in methods:
        own = [clock for (name, _), clock in cells.items() if name == method]
        times = [min((at for at, score in c.scores if score >= target), default=math.inf) for c in own]
        median = float(np.median(times))
        shown = f"{median:.0f}" if math.isfinite(median) else f"over {of.budget:g}"
        best = np.median([clock.best_at(1.0) for clock in own])
        reached = sum(math.isfinite(t) for t in times)
        lines.append(f"| {method} | {shown} | {reached} of {seeds} | {best:.4f} |")
    lines += [
        "",
        "| against | with the warm start | ratio of times to target [95 %] | p (Holm) | verdict |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        ratio, p = row["time_to_target"]["ratio"], row["time_to_target"]["p_holm"]
        interval = f"{ratio['estimate']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
        lines.append(f"| {row['baseline']} | {row['warm_start']} | {interval} | {p:.2g} | {row['verdict']} |")
    return "\n".join(lines) + "\n"


def pooled(folders: Sequence[Path]) -> str:
    """Return what the comparisons of several tasks say together, as Markdown.

    Ratios are geometric means of those of the tasks, with a Student interval over tasks.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for folder in folders:
        for row in json.loads((folder / COMPARISONS).read_text()):
            found.setdefault((row["warm_start"], row["baseline"]), []).append(row)
    lines = [
        f"{len(folders)} tasks.",
        "",
        "| | over | ratio of times to target [95 %] | final score, relative | verdicts |",
        "|---|---|---|---|---|",
    ]
    for (method, baseline), rows in found.items():
        ratio = mean_interval(np.log([row["time_to_target"]["ratio"]["estimate"] for row in rows])).exp()
        final = np.mean([row["final_score"]["relative_difference"]["estimate"] for row in rows])
        labels = [row["verdict"] for row in rows]
        verdicts = ", ".join(f"{labels.count(label)} {label}" for label in LABELS if label in labels)
        shown = f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        lines.append(f"| {method} | {baseline} | {shown} | {100 * final:+.2f} % | {verdicts} |")
    return "\n".join(lines) + "\n"

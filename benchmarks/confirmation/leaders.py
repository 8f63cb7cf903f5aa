"""Who reaches the target of each task first, over plans with the same tasks, targets, seeds and budget.

    python -m benchmarks.confirmation.leaders results/confirmation/second_edition \
        results/confirmation/second_edition_rivals --output benchmarks/results/second_edition

`leaders.csv` has a row for each task, space and method: the geometric mean time to the target in units of
training per worker (a miss counts as the budget), how many seeds reach it, and the limit: the units of
training that the winning configuration itself took. Without another configuration no scheduler is earlier.
`leaders.md` pools them; `leaders.svg` shows the space in which most methods were run.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.confirmation.report import SPACES
from benchmarks.sealed import sealed
from hypernudge.evidence.statistics.intervals import Interval, mean_interval
from hypernudge.plotting import log_axis, style
from hypernudge.results.files import write_text

COLOURS = ("0.55", "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#000000", "#F0E442")
MARKS = "soDv^<>Px"
OWN = "own"  # the space of a plan whose tasks' names end with none


@dataclass(frozen=True)
class Cell:
    """When a seed reached the target.

    Attributes:
        task: Its name, without the space.
        space: Name of the space.
        method: Label of the warm start.
        seed: What pairs it.
        time: Units of training per worker, the budget's where it was missed.
        winner: Units of training of the trial that reached it first; None where none did.
    """

    task: str
    space: str
    method: str
    seed: int
    time: float
    winner: int | None


def cells(directory: Path, renamed: Mapping[str, str] | None = None) -> list[Cell]:
    """Return the sealed cells of a results directory; crashed ones have missed.

    Args:
        directory: Of a study.
        renamed: What methods are called instead, by label: one method may have another in each plan.
    """
    renamed, found = renamed or {}, []
    for variation, seed, record in sealed(directory):
        task, _, space = variation.task.rpartition("_")
        if space not in SPACES:
            task, space = variation.task, OWN
        time, winner = _reached(record, variation.spec["budget"]["units"] / variation.spec["workers"])
        method = renamed.get(variation.warm_start, variation.warm_start)
        found.append(Cell(task, space, method, seed, time, winner))
    return found


def _reached(record: Mapping[str, Any], per_worker: float) -> tuple[float, int | None]:
    declared, curve = record["declared"], record.get("curve") or {"time": []}
    unit = declared["budget_seconds"] / per_worker
    for index, time in enumerate(curve["time"]):
        score = curve["validation"][index]
        if score is not None and score >= declared["target"]:
            return time / unit, int(curve["unit"][index])
    return per_worker, None


def rows(found: Iterable[Cell], baseline: str) -> list[dict[str, Any]]:
    """Return a row for each space, task and method; ratios are over `baseline` on the same seeds."""
    by: dict[tuple[str, str, str], dict[int, Cell]] = {}
    for cell in found:
        by.setdefault((cell.space, cell.task, cell.method), {})[cell.seed] = cell
    result = []
    for (space, task, method), seeds in by.items():
        plain = by.get((space, task, baseline), {})
        paired = sorted(set(seeds) & set(plain))
        if not paired:
            continue
        times = np.array([seeds[seed].time for seed in paired])
        base = np.array([plain[seed].time for seed in paired])
        won = [seeds[seed].winner or seeds[seed].time for seed in paired]  # a miss has no lower limit
        result.append(
            {
                "space": space,
                "task": task,
                "method": method,
                "seeds": len(paired),
                "reached": sum(seeds[seed].winner is not None for seed in paired),
                "time": _mean(times),
                "ratio": _mean(times / base),
                "limit": _mean(np.minimum(won, times) / base),
            }
        )
    return result


def pooled(table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each scope and method, over the tasks that all methods of the scope have.

    `first` counts the tasks on which a method has the lowest mean time, shared firsts for each.
    """
    spaces = [space for space in (*SPACES, OWN) if any(row["space"] == space for row in table)]
    scopes = [(space, {space}) for space in spaces]
    if {"mid", "wide"} <= set(spaces):
        scopes.insert(0, ("mid and wide", {"mid", "wide"}))
    result = []
    for scope, of in scopes:
        inside = [row for row in table if row["space"] in of]
        settings = {(row["space"], row["task"]) for row in inside}
        number = Counter(row["method"] for row in inside)
        methods = [method for method in number if number[method] == len(settings)]
        inside = [row for row in inside if row["method"] in methods]
        best = {
            setting: min(row["time"] for row in inside if (row["space"], row["task"]) == setting)
            for setting in settings
        }
        for method in methods:
            mine = [row for row in inside if row["method"] == method]
            result.append(
                {
                    "scope": scope,
                    "method": method,
                    "settings": len(mine),
                    "ratio": _interval(mine, "ratio"),
                    "limit": _interval(mine, "limit"),
                    "reached": sum(row["reached"] for row in mine) / sum(row["seeds"] for row in mine),
                    "first": sum(row["time"] <= best[row["space"], row["task"]] for row in mine),
                }
            )
    return result


def _interval(mine: Sequence[Mapping[str, Any]], key: str) -> Interval:
    """Return geometric mean and Student interval over tasks, spaces averaged first."""
    by_task: dict[str, list[float]] = {}
    for row in mine:
        by_task.setdefault(row["task"], []).append(float(np.log(row[key])))
    return mean_interval(np.array([np.mean(values) for values in by_task.values()])).exp()


def _mean(values: np.ndarray) -> float:
    return float(np.exp(np.mean(np.log(values))))


def markdown(table: Sequence[Mapping[str, Any]]) -> str:
    """Return the pooled rows, and times by task in every space."""
    lines = [
        "| scope | method | settings | ratio [95 %] | limit | reached | first |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in pooled(table):
        ratio = row["ratio"]
        lines.append(
            f"| {row['scope']} | `{row['method']}` | {row['settings']} | {ratio.estimate:.2f} "
            f"[{ratio.low:.2f}, {ratio.high:.2f}] | {row['limit'].estimate:.2f} | {row['reached']:.0%} | "
            f"{row['first']} |"
        )
    for space in (*SPACES, OWN):
        inside = [row for row in table if row["space"] == space]
        if not inside:
            continue
        methods = list(dict.fromkeys(row["method"] for row in inside))
        lines += [
            "",
            f"Units of training per worker until the target, {space} space (seeds that reach it):",
            "",
        ]
        lines += ["| task | " + " | ".join(f"`{m}`" for m in methods) + " |", "|---|" + "---|" * len(methods)]
        for task in dict.fromkeys(row["task"] for row in inside):
            of = {row["method"]: row for row in inside if row["task"] == task}
            shown = [f"{of[m]['time']:.1f} ({of[m]['reached']})" if m in of else "" for m in methods]
            lines.append(f"| {task} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def draw(table: Sequence[Mapping[str, Any]], space: str) -> Figure:
    """Return the figure: times to the target by task, in one space.

    A scheduler has one mark, hollow without a warm start; a second warm start around it has its own.
    """
    inside = [row for row in table if row["space"] == space]
    tasks = list(dict.fromkeys(row["task"] for row in inside))
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 0.28 * len(tasks) + 1.2), layout="constrained")
        axes = figure.subplots()
        handles = []
        methods = list(dict.fromkeys(row["method"] for row in inside))
        looks: dict[tuple[str, int], int] = {}  # by scheduler and number of the warm start around it
        drawn: Counter[str] = Counter()
        for method in methods:
            mine = [row for row in inside if row["method"] == method]
            y = [tasks.index(row["task"]) for row in mine]
            scheduler, _, warm_start = method.rpartition("-")
            number = 0 if warm_start == "none" else drawn[scheduler]
            drawn[scheduler] += warm_start != "none"
            index = looks.setdefault((scheduler, number), len(looks))
            look: dict[str, Any] = {
                "color": COLOURS[index % len(COLOURS)],
                "marker": MARKS[index % len(MARKS)],
                "fillstyle": "none" if warm_start == "none" else "full",
            }
            handles += axes.plot(
                [row["time"] for row in mine], y, linestyle="", markersize=4.2, label=method, **look
            )
        axes.set_xscale("log")
        log_axis.label(axes.xaxis, (2, 3, 5, 10, 20, 37.5))
        axes.set_yticks(range(len(tasks)), tasks)
        axes.set_ylim(len(tasks) - 0.4, -0.6)
        axes.set_xlabel("time to target [units of training per worker, log scale]")
        style.legend_above(figure, handles)
    return figure


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a `leaders.csv`, as far as the figure needs them."""
    with path.open(newline="") as file:
        return [{**row, "time": float(row["time"])} for row in csv.DictReader(file)]


def save(table: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Draw the space with most rows into `leaders.svg`."""
    space = Counter(row["space"] for row in table).most_common(1)[0][0]
    with style.context():
        write_text(folder / "leaders.svg", style.as_svg(draw(table, space)))


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directories", type=Path, nargs="+", metavar="DIR", help="results directories")
    parser.add_argument("--baseline", default="asha-none", help="method that ratios are over")
    parser.add_argument(
        "--rename", nargs="+", default=(), metavar="OLD=NEW", help="labels that mean one method in all plans"
    )
    parser.add_argument("--output", type=Path, help="write leaders.csv, leaders.md and leaders.svg there")
    options = parser.parse_args()
    renamed = dict(pair.split("=", 1) for pair in options.rename)
    table = rows((cell for path in options.directories for cell in cells(path, renamed)), options.baseline)
    text = markdown(table)
    sys.stdout.write(text)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / "leaders.md").write_text(text)
        written = io.StringIO()
        writer = csv.DictWriter(written, list(table[0]), lineterminator="\n")
        writer.writeheader()
        for row in table:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
        (options.output / "leaders.csv").write_text(written.getvalue())
        save(table, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

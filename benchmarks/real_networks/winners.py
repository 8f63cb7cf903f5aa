"""Where the winners of a study lie, in which unit the target is reached, and what the probe had said.

    python -m benchmarks.real_networks.winners RESULTS_DIR --output benchmarks/results/real_networks

`winners.csv` has a row for each cell. Times are in units of training, rates are `log10` of the effective one;
`limit` is the median moment at which the scheduler can first have trained some trial to the unit in which the
target was reached (see `floor`). `winners.svg` shows scores of plain search by rate (`points.csv`), and what
was probed.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.real_networks.floor import RandomRanks, first_times
from hypernudge.plotting import style
from hypernudge.results.files import write_text
from hypernudge.schedulers.asha import ASHA

UNITS = {1: "0.75", 3: "#56B4E9", 9: "#0072B2"}  # scores of these units are drawn
PLAIN, CHOSEN, ORANGE = "none", "informed", "#D55E00"
Record = Mapping[str, Any]


def records(directory: Path) -> Iterator[Record]:
    """Yield the sealed records of a results directory, run by run, seed by seed."""
    for path in sorted(directory.glob("*/cells/seed-*.json")):
        yield json.loads(path.read_text())


@lru_cache
def limits(max_units: int, workers: int, budget: float) -> dict[int, float]:
    """Return, by unit, the median moment at which ASHA can first have trained some trial so far."""
    times = first_times(ASHA(RandomRanks().space, max_units=max_units), workers, budget)
    return {unit: float(np.median(of_unit)) for unit, of_unit in times.items()}


def row(record: Record, units: float) -> dict[str, Any]:
    """Return the row of a cell; `units` is the budget of all workers."""
    declared, description = record["declared"], record["description"]
    workers = declared["workers"]
    unit_seconds = declared["budget_seconds"] * workers / units
    curve = list(zip(*(record["curve"][key] for key in ("time", "trial", "unit", "validation")), strict=True))
    scored = [(time / unit_seconds, *rest) for time, *rest in curve if rest[-1] is not None]
    rates = description["nudged"]
    reached = next((entry for entry in scored if entry[3] >= declared["target"]), None)
    best = max(scored, key=lambda entry: (entry[3], -entry[0]))
    limit = limits(declared["max_units"], workers, units / workers)
    return {
        "run_id": record["cell"]["run_id"],
        "seed": record["cell"]["seed"],
        "trials": len(record["trials"]),
        "reached_after": reached and round(reached[0], 3),
        "reached_in_unit": reached and reached[2],
        "limit": reached and limit[reached[2]],
        "reached_rate": reached and round(rates[reached[1]], 3),
        "best_score": round(best[3], 5),
        "best_in_unit": best[2],
        "best_rate": round(rates[best[1]], 3),
        "median_rate": round(float(np.median(rates)), 3),
        "probe": description["probe"] and round(description["probe"], 3),
    }


def points(found: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Yield what is drawn: scores of plain search in `UNITS`, and where `informed` starts."""
    for record in found:
        cell, description = record["cell"], record["description"]
        about = {
            "task": cell["task"],
            "metric": record["declared"]["metric"],
            "warm_start": cell["warm_start"],
        }
        if cell["warm_start"] == PLAIN:
            for trial, unit, score in zip(
                *(record["curve"][key] for key in ("trial", "unit", "validation")), strict=True
            ):
                if score is not None and unit in UNITS:
                    rate = round(description["nudged"][trial], 4)
                    yield {**about, "what": "score", "unit": unit, "rate": rate, "score": round(score, 5)}
        elif cell["warm_start"] == CHOSEN:
            for rate in description["nudged"]:
                yield {**about, "what": "start", "unit": None, "rate": round(rate, 4), "score": None}


def probes(cells: Iterable[Mapping[str, Any]], tasks: Iterable[str]) -> dict[str, float]:
    """Return the median of what was probed, by task; a run's id begins as its task does."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        name = cell["run_id"].rpartition("-")[0]
        task = next(task for task in tasks if task.startswith(name))
        if cell["probe"]:
            found.setdefault(task, []).append(float(cell["probe"]))
    return {task: float(np.median(values)) for task, values in found.items()}


def draw(shown: Sequence[Mapping[str, Any]], probed: Mapping[str, float]) -> Figure:
    """Return the figure: a panel a task, scores of plain search by rate, the probe, and what was chosen.

    Args:
        shown: Rows of `points`.
        probed: Result of `probes`.
    """
    tasks = list(dict.fromkeys(point["task"] for point in shown))
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 2.6), layout="constrained")
        for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False).flat, tasks, strict=True):
            of_task = [point for point in shown if point["task"] == task]
            for unit, colour in UNITS.items():
                here = [p for p in of_task if p["what"] == "score" and int(p["unit"]) == unit]
                if here:
                    at = [[float(p["rate"]), float(p["score"])] for p in here]
                    axes.plot(*np.array(at).T, ".", markersize=3, color=colour, label=f"plain, unit {unit}")
            started = [float(p["rate"]) for p in of_task if p["what"] == "start"]
            low, high = axes.get_ylim()
            mark = low - 0.04 * (high - low)
            axes.plot(
                started, [mark] * len(started), "|", color=ORANGE, markersize=5, label=f"{CHOSEN} starts"
            )
            if task in probed:
                axes.axvline(probed[task], color="0.3", linewidth=0.9, label="probe, median")
            axes.set_title(task)
            axes.set_xlabel("log10 of the effective rate")
            axes.set_ylabel(of_task[0]["metric"])
        style.legend_above(figure, axes.get_legend_handles_labels()[0])
    return figure


def redraw(folder: Path) -> Figure:
    """Return the figure of what `main` has written."""
    shown, cells = (read(folder / name) for name in ("points.csv", "winners.csv"))
    return draw(shown, probes(cells, dict.fromkeys(point["task"] for point in shown)))


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, metavar="RESULTS_DIR")
    parser.add_argument("--units", type=float, default=54.0, help="the budget of all workers")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = list(records(options.directory))
    options.output.mkdir(parents=True, exist_ok=True)
    write(options.output / "winners.csv", [row(record, options.units) for record in found])
    write(options.output / "points.csv", list(points(found)))
    write_text(options.output / "winners.svg", style.as_svg(redraw(options.output)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

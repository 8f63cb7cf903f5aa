"""Where the winners of a study lie, in which unit the target is reached, and what the probe had said.

    python -m benchmarks.real_networks.winners RESULTS_DIR [RESULTS_DIR ...] --output FOLDER \
        [--plain asha-none --chosen stopping-informed stopping-language]

`winners.csv` has a row for each cell. Times are in units of training, rates are `log10` of the effective one;
`limit` is the median moment at which the scheduler can first have trained some trial to the unit in which the
target was reached (see `floor`). `winners.svg` shows scores of plain search by rate (`points.csv`), what was
probed, and where the chosen methods start. Cells that several directories share count once.
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
from hypernudge.results.plan import read_manifest
from hypernudge.schedulers.asha import ASHA
from hypernudge.schedulers.asha_stopping import StoppingASHA

UNITS = {1: "0.75", 3: "#56B4E9", 9: "#0072B2"}  # scores of these units are drawn
PLAIN, CHOSEN = "none", ("informed",)
STARTS = ("#D55E00", "#009E73", "#CC79A7")
Record = Mapping[str, Any]


def records(directory: Path) -> Iterator[Record]:
    """Yield the sealed records of a results directory, run by run, seed by seed."""
    for path in sorted(directory.glob("*/cells/seed-*.json")):
        yield json.loads(path.read_text())


def schedulers(directory: Path) -> dict[str, tuple[str, int]]:
    """Return name and first rung of the scheduler of each run."""
    specs = {
        variation.run_id: variation.spec["scheduler"] for variation in read_manifest(directory).variations
    }
    return {run_id: (spec["name"], int(spec.get("min_units", 1))) for run_id, spec in specs.items()}


@lru_cache
def limits(
    max_units: int, workers: int, budget: float, name: str = "asha", min_units: int = 1
) -> dict[int, float]:
    """Return, by unit, the median moment at which a scheduler can first have trained some trial so far."""
    kinds: dict[str, type[ASHA] | type[StoppingASHA]] = {"asha": ASHA, "asha_stopping": StoppingASHA}
    times = first_times(
        kinds[name](RandomRanks().space, max_units=max_units, min_units=min_units), workers, budget
    )
    return {unit: float(np.median(of_unit)) for unit, of_unit in times.items()}


def row(record: Record, units: float, scheduler: tuple[str, int] = ("asha", 1)) -> dict[str, Any]:
    """Return the row of a cell.

    Args:
        record: Of the cell.
        units: The budget of all workers.
        scheduler: Its name and first rung.
    """
    declared, description = record["declared"], record["description"]
    workers = declared["workers"]
    unit_seconds = declared["budget_seconds"] * workers / units
    curve = list(zip(*(record["curve"][key] for key in ("time", "trial", "unit", "validation")), strict=True))
    scored = [(time / unit_seconds, *rest) for time, *rest in curve if rest[-1] is not None]
    rates = description["nudged"]
    reached = next((entry for entry in scored if entry[3] >= declared["target"]), None)
    best = max(scored, key=lambda entry: (entry[3], -entry[0]))
    limit = limits(declared["max_units"], workers, units / workers, *scheduler)
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


def points(
    found: Iterable[Record], plain: str = PLAIN, chosen: Sequence[str] = CHOSEN
) -> Iterator[dict[str, Any]]:
    """Yield what is drawn: scores of plain search in `UNITS`, and where the chosen methods start."""
    for record in found:
        cell, description = record["cell"], record["description"]
        about = {
            "task": cell["task"],
            "metric": record["declared"]["metric"],
            "warm_start": cell["warm_start"],
        }
        if cell["warm_start"] == plain:
            for trial, unit, score in zip(
                *(record["curve"][key] for key in ("trial", "unit", "validation")), strict=True
            ):
                if score is not None and unit in UNITS:
                    rate = round(description["nudged"][trial], 4)
                    yield {**about, "what": "score", "unit": unit, "rate": rate, "score": round(score, 5)}
        elif cell["warm_start"] in chosen:
            for rate in description["nudged"]:
                yield {**about, "what": "start", "unit": None, "rate": round(rate, 4), "score": None}


def probes(cells: Iterable[Mapping[str, Any]], tasks: Iterable[str]) -> dict[str, float]:
    """Return the median of what was probed, by task; a run's id begins as its task does."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        name = cell["run_id"].partition("-")[0]
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
    chosen = list(dict.fromkeys(point["warm_start"] for point in shown if point["what"] == "start"))
    with style.context():
        figure = Figure(figsize=(style.WIDTH, 2.6), layout="constrained")
        for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False).flat, tasks, strict=True):
            of_task = [point for point in shown if point["task"] == task]
            for unit, colour in UNITS.items():
                here = [p for p in of_task if p["what"] == "score" and int(p["unit"]) == unit]
                if here:
                    at = [[float(p["rate"]), float(p["score"])] for p in here]
                    axes.plot(*np.array(at).T, ".", markersize=3, color=colour, label=f"plain, unit {unit}")
            low, high = axes.get_ylim()
            for place, (method, colour) in enumerate(zip(chosen, STARTS, strict=False), 1):
                started = [
                    float(p["rate"]) for p in of_task if p["what"] == "start" and p["warm_start"] == method
                ]
                mark = [low - 0.04 * place * (high - low)] * len(started)
                axes.plot(started, mark, "|", color=colour, markersize=5, label=f"{method} starts")
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
    parser.add_argument("directories", type=Path, nargs="+", metavar="RESULTS_DIR")
    parser.add_argument("--plain", default=PLAIN, help="label of plain search")
    parser.add_argument("--chosen", nargs="+", default=list(CHOSEN), help="labels of methods that are drawn")
    parser.add_argument("--units", type=float, default=54.0, help="the budget of all workers")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    found = {
        (record["cell"]["run_id"], record["cell"]["seed"]): record
        for directory in options.directories
        for record in records(directory)
    }
    known = {run_id: of for directory in options.directories for run_id, of in schedulers(directory).items()}
    options.output.mkdir(parents=True, exist_ok=True)
    rows = [row(record, options.units, known[run_id]) for (run_id, _), record in sorted(found.items())]
    write(options.output / "winners.csv", rows)
    write(options.output / "points.csv", list(points(found.values(), options.plain, options.chosen)))
    with style.context():
        write_text(options.output / "winners.svg", style.as_svg(redraw(options.output)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How far a scheduler scales: 10,000 trials on tabulated curves, on 1, 8, 64 and 512 simulated workers.

    python -m benchmarks.schedulers.scale [--json] [--trials 10000] [--seeds 3] [--output FOLDER]

The target is the validation loss that one in two hundred configurations of the table reaches within 27 units.
Time counts units of training; the scheduler's own time is CPU time, and is not charged.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.data import DATA
from hypernudge.engine.serial import SerialEngine
from hypernudge.random import Streams
from hypernudge.registry import resolve
from hypernudge.schedulers.base import Decision, Scheduler
from hypernudge.tasks.curves.tabulated import Tabulated
from hypernudge.trial import History
from hypernudge.tuner import tune

SCHEDULERS = ("random", "hyperband", "asha", "asha_stopping", "pasha", "bohb")
WORKERS = (1, 8, 64, 512)
MAX_UNITS = 27
CURVES = DATA / "hpo_taskset"


@dataclass
class Timed:
    """A scheduler and the seconds that its decisions took."""

    scheduler: Scheduler
    max_units: int = MAX_UNITS
    seconds: float = 0.0
    decisions: int = 0

    def __call__(self, history: History, streams: Streams) -> Decision:
        begun = time.process_time()  # of this process: other ones may be busy
        decision = self.scheduler(history, streams)
        self.seconds += time.process_time() - begun
        self.decisions += 1
        return decision


def run(task: Tabulated, name: str, workers: int, trials: int, target: float, seed: int) -> dict[str, Any]:
    """Return when the target was reached, when the study ended, and what the decisions cost."""
    scheduler = Timed(resolve("scheduler", name)(task.space, max_units=MAX_UNITS, max_trials=trials))
    engine = SerialEngine(task, Streams(seed).trial_seed, workers, 1.0)
    study = tune(task, scheduler, seed=seed, engine=engine)
    units = [unit for report in study.reports for unit in report.units]
    reached = [unit.time for unit in units if unit.validation >= target]
    return {
        "scheduler": name,
        "workers": workers,
        "seed": seed,
        "trials": len(study.history.trials),
        "units": len(units),
        "time_to_target": min(reached) if reached else None,
        "end": engine.now,
        "busy": len(units) / (engine.now * workers),
        "decision_ms": 1e3 * scheduler.seconds / scheduler.decisions,
        "scheduler_seconds": scheduler.seconds,
    }


def medians(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the median over seeds by scheduler and workers; a target that was not reached is infinite."""
    found = []
    for name in dict.fromkeys(row["scheduler"] for row in rows):
        for workers in WORKERS:
            own = [row for row in rows if (row["scheduler"], row["workers"]) == (name, workers)]
            if own:
                keys = ("units", "end", "busy", "decision_ms", "scheduler_seconds")
                middle: dict[str, Any] = {key: statistics.median(row[key] for row in own) for key in keys}
                reached = statistics.median(row["time_to_target"] or math.inf for row in own)
                middle["time_to_target"] = reached if math.isfinite(reached) else None
                found.append({"scheduler": name, "workers": workers, "seeds": len(own), **middle})
    return found


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time to target and duration by number of workers, as PDF or, where the suffix says so, SVG."""
    from hypernudge.plotting import style
    from hypernudge.results.files import write_text

    with style.context():
        figure = Figure(figsize=(style.WIDTH, 3.0), layout="constrained")
        _draw(figure, rows)
        if path.suffix == ".svg":
            write_text(path, style.as_svg(figure))
        else:
            style.save(figure, path)


def _draw(figure: Figure, rows: list[dict[str, Any]]) -> None:
    axes = figure.subplots(1, 2)
    for axis, key, label in (
        (axes[0], "time_to_target", "time to target [units]"),
        (axes[1], "end", "duration of the study [units]"),
    ):
        for name in dict.fromkeys(row["scheduler"] for row in rows):
            own = [row for row in rows if row["scheduler"] == name and row[key]]
            axis.plot(
                [r["workers"] for r in own], [r[key] for r in own], marker="o", markersize=3, label=name
            )
        axis.set(xscale="log", yscale="log", xlabel="simulated workers", ylabel=label)
        axis.set_xticks(WORKERS, [str(count) for count in WORKERS])
        axis.minorticks_off()
    axes[1].legend(fontsize=7)


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| scheduler | workers | time to target | end | busy | units | ms per decision | its time [s] |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        reached = "-" if r["time_to_target"] is None else f"{r['time_to_target']:.0f}"
        lines.append(
            f"| {r['scheduler']} | {r['workers']} | {reached} | {r['end']:.0f} | {r['busy']:.0%} "
            f"| {r['units']:.0f} | {r['decision_ms']:.3f} | {r['scheduler_seconds']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument(
        "--seeds", type=int, default=3, help="studies of each kind, of which medians are shown"
    )
    parser.add_argument("--curves", type=Path, default=CURVES / "patch32_LSTM128_bs128.npz")
    parser.add_argument("--schedulers", nargs="+", default=list(SCHEDULERS))
    parser.add_argument("--output", type=Path, help="folder for scale.json (kept and added to), .md and .pdf")
    options = parser.parse_args(arguments)
    task = Tabulated(options.curves)
    best = np.nanmin(np.where(np.isfinite(task.valid), task.valid, np.inf)[:, :MAX_UNITS], axis=1)
    target = -float(np.quantile(best, 0.005))
    kept = options.output / "scale.json" if options.output is not None else None
    rows = json.loads(kept.read_text())["rows"] if kept is not None and kept.is_file() else []
    known = {(row["scheduler"], row["workers"], row["seed"]) for row in rows}
    for name in options.schedulers:
        for workers, seed in itertools.product(WORKERS, range(options.seeds)):
            if (name, workers, seed) in known:
                continue
            rows.append(run(task, name, workers, options.trials, target, seed))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps({"target_loss": -target, "rows": rows}, indent=0) + "\n")
    shown = medians(rows)
    if options.output is not None:
        counts = sorted({row["seeds"] for row in shown})
        about = (
            f"{options.trials} trials on {task.name}, target loss {-target:.5f}, times in units; medians of "
        )
        (options.output / "scale.md").write_text(f"{about}{counts} seeds.\n\n{table(shown)}\n")
        for suffix in ("pdf", "svg"):
            draw(shown, options.output / f"scale.{suffix}")
    if options.json:
        print(json.dumps({"target_loss": -target, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

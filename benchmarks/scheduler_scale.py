"""How far a scheduler scales: 10,000 trials on tabulated curves, on 1, 8, 64 and 512 simulated workers.

    python -m benchmarks.scheduler_scale [--json] [--trials 10000] [--output FOLDER]

The target is the validation loss that one in two hundred configurations of the table reaches within 27 units.
Time counts units of training; the scheduler's own time is wall time, and is not charged.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hypernudge.engine.serial import SerialEngine
from hypernudge.random import Streams
from hypernudge.registry import resolve
from hypernudge.schedulers.base import Decision, Scheduler
from hypernudge.tasks.tabulated import Tabulated
from hypernudge.trial import History
from hypernudge.tuner import trial_seed, tune

SCHEDULERS = ("random", "hyperband", "asha", "asha_stopping", "pasha", "bohb")
WORKERS = (1, 8, 64, 512)
MAX_UNITS = 27
SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "hpo_taskset"


@dataclass
class Timed:
    """A scheduler and the seconds that its decisions took."""

    scheduler: Scheduler
    max_units: int = MAX_UNITS
    seconds: float = 0.0
    decisions: int = 0

    def __call__(self, history: History, streams: Streams) -> Decision:
        begun = time.perf_counter()
        decision = self.scheduler(history, streams)
        self.seconds += time.perf_counter() - begun
        self.decisions += 1
        return decision


def run(task: Tabulated, name: str, workers: int, trials: int, target: float) -> dict[str, Any]:
    """Return when the target was reached, when the study ended, and what the decisions cost."""
    scheduler = Timed(resolve("scheduler", name)(task.space, max_units=MAX_UNITS, max_trials=trials))
    engine = SerialEngine(task, trial_seed(Streams(0)), workers, 1.0)
    study = tune(task, scheduler, seed=0, engine=engine)
    units = [unit for report in study.reports for unit in report.units]
    reached = [unit.time for unit in units if unit.validation >= target]
    return {
        "scheduler": name,
        "workers": workers,
        "trials": len(study.history.trials),
        "units": len(units),
        "time_to_target": min(reached) if reached else None,
        "end": engine.now,
        "busy": len(units) / (engine.now * workers),
        "decision_ms": 1e3 * scheduler.seconds / scheduler.decisions,
        "scheduler_seconds": scheduler.seconds,
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw time to target and duration by number of workers."""
    import matplotlib

    matplotlib.use("pdf")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.0), constrained_layout=True)
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
    figure.savefig(path, metadata={"CreationDate": None})


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| scheduler | workers | time to target | end | busy | ms per decision | scheduler time [s] |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        reached = "-" if r["time_to_target"] is None else f"{r['time_to_target']:.0f}"
        lines.append(
            f"| {r['scheduler']} | {r['workers']} | {reached} | {r['end']:.0f} | {r['busy']:.0%} "
            f"| {r['decision_ms']:.3f} | {r['scheduler_seconds']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--curves", type=Path, default=SHARED / "patch32_LSTM128_bs128.npz")
    parser.add_argument("--schedulers", nargs="+", default=list(SCHEDULERS))
    parser.add_argument("--output", type=Path, help="folder for scale.md and scale.pdf")
    options = parser.parse_args(arguments)
    task = Tabulated(options.curves)
    best = np.nanmin(np.where(np.isfinite(task.valid), task.valid, np.inf)[:, :MAX_UNITS], axis=1)
    target = -float(np.quantile(best, 0.005))
    rows = []
    for name in options.schedulers:
        for workers in WORKERS:
            rows.append(run(task, name, workers, options.trials, target))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        text = f"{options.trials} trials on {task.name}, target loss {-target:.5f}, times in units.\n\n"
        (options.output / "scale.md").write_text(text + table(rows) + "\n")
        draw(rows, options.output / "scale.pdf")
    if options.json:
        print(json.dumps({"target_loss": -target, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())

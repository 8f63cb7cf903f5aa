"""Saved runs as runs of a tracker: MLflow (local store) or W&B (offline)."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from hypernudge import console
from hypernudge.errors import InvalidArgumentError
from hypernudge.evidence.exporters import TRACKERS, export_runs
from hypernudge.evidence.exporters.cells import CellRun, Point, flat
from hypernudge.experiments.report.runs import Run, load_runs
from hypernudge.results.digests import digest
from hypernudge.results.jsonio import emit


def tracked(run: Run) -> CellRun:
    """Return a saved run as trackers know runs; its clock is the wall time of its epochs."""
    result = run.result
    ended = datetime.fromisoformat(str(result.provenance["date"])).timestamp()
    summary = {
        "best_val_accuracy": result.best_val_accuracy,
        "final_val_accuracy": result.final_val_accuracy,
        "accuracy_per_tflop": result.accuracy_per_tflop,
        "estimated_flops": result.estimated_flops,
        "wall_clock_seconds": result.wall_clock_seconds,
        "test_accuracy_at_best": result.runtime_metrics.get("test_accuracy_at_best"),
    }
    identity = digest([result.config, result.model_name, result.val_accuracies, result.train_losses])
    return CellRun(
        name=f"{result.task_name}-{run.variant}-{result.seed}",
        group=run.condition,
        digest=identity,
        begun=ended - result.wall_clock_seconds,
        tags={
            "task": result.task_name,
            "scheduler": str(result.config["optimizer"]),
            "variation": run.variant,
            "seed": str(result.seed),
            "digest": identity,
            "run_tag": result.run_tag or "",
        },
        parameters=dict(flat(result.config)),
        points=tuple(_points(run)),
        summary={key: float(value) for key, value in summary.items() if value is not None},
    )


def _points(run: Run) -> Iterator[Point]:
    result, time, best = run.result, 0.0, -math.inf
    for epoch, accuracy in enumerate(result.val_accuracies):
        time, best = time + result.epoch_wall_clock_seconds[epoch], max(best, accuracy)
        loss = result.train_losses[epoch]
        values = {
            "validation": accuracy,
            "incumbent": best,
            "train_loss": math.nan if loss is None else loss,
            "train_accuracy": result.train_accuracies[epoch],
        }
        yield Point(time, values)


@console.forgiving()
def export_command(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `scripts/export_runs.py`; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Copy saved runs into a tracker. Only reads them; never trains."
    )
    parser.add_argument("results", type=Path, nargs="+", help="result files, or folders that hold them")
    parser.add_argument("--to", choices=tuple(TRACKERS), required=True)
    parser.add_argument("--store", required=True, help="sqlite:///FILE or a folder; for W&B a folder")
    parser.add_argument("--study", default="aees", help="name of the experiment or project")
    options = parser.parse_args(arguments)
    runs = load_runs(options.results)
    for line in runs.problems:
        sys.stderr.write(f"left out: {line}\n")

    try:
        whole = export_runs(map(tracked, runs.runs), options.study, options.to, options.store, emit)
    except InvalidArgumentError as error:
        return console.refuse(error)
    return 0 if whole and not runs.problems else 1

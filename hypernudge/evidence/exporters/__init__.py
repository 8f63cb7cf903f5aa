"""Sealed records, copied into an experiment tracker: MLflow (local store) and W&B (offline).

The records stay the source of truth and are only read. A run that could not be written is named, the others
are still written, and exporting again writes what is missing: nothing is lost when a tracker fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from hypernudge.errors import require, unknown_name
from hypernudge.evidence.exporters.cells import CellRun, cell_runs
from hypernudge.evidence.loading.study import load_study
from hypernudge.results.reading import check_output

Event = dict[str, Any]


class Tracker(Protocol):
    """Where runs are written."""

    def known(self) -> set[str]:
        """Return the digests of the runs that are there, complete."""
        ...

    def write(self, run: CellRun) -> None:
        """Write one run; what an earlier attempt left of it is replaced."""
        ...


def _mlflow(study: str, destination: str) -> Tracker:
    from hypernudge.evidence.exporters.mlflow import MlflowTracker

    return MlflowTracker(study, destination)


def _wandb(study: str, destination: str) -> Tracker:
    from hypernudge.evidence.exporters.wandb import WandbTracker

    return WandbTracker(study, Path(destination))


TRACKERS: dict[str, Callable[[str, str], Tracker]] = {"mlflow": _mlflow, "wandb": _wandb}


def export_results(results_dir: Path, to: str, destination: str, emit: Callable[[Event], None]) -> bool:
    """Write every sealed cell of a results directory as one run of a tracker.

    Args:
        results_dir: Holds `plan.json` and the sealed records; only read.
        to: "mlflow" or "wandb".
        destination: For MLflow a store, `sqlite:///FILE` or a folder; for W&B the folder of its offline runs.
        emit: Called with a JSON-able event per run (`exported`, `kept`, `failed`), per problem of the
            records, and with a summary at the end.

    Returns:
        Whether every sealed cell is in the tracker now.

    Raises:
        InvalidArgumentError: An unknown tracker, one that is not installed, or a bad destination.
        ResultsError: There is no readable plan.
    """
    require(results_dir.is_dir(), "DIR", "must be a results directory", str(results_dir), "check the path")
    check_output(Path(destination.removeprefix("sqlite:///")), results_dir, follows=True)
    study = load_study(results_dir)
    for problem in study.problems:
        emit({"event": "problem", "where": problem.where, "rule": problem.rule})
    return export_runs(cell_runs(results_dir, study), study.plan.name, to, destination, emit)


def export_runs(
    runs: Iterable[CellRun], study: str, to: str, destination: str, emit: Callable[[Event], None]
) -> bool:
    """Write runs to a tracker, those that are not there yet; as `export_results`.

    Raises:
        InvalidArgumentError: An unknown tracker, one that is not installed, or a bad destination.
    """
    if to not in TRACKERS:
        raise unknown_name("--to", to, TRACKERS)
    tracker = TRACKERS[to](study, destination)
    known = tracker.known()
    counts = {"exported": 0, "kept": 0, "failed": 0}
    for run in runs:
        event: Event = {"run": run.name}
        if run.digest in known:
            event["event"] = "kept"
        else:
            try:
                tracker.write(run)
                event["event"] = "exported"
            except Exception as error:  # a tracker may fail in any way; the other runs are still written
                event |= {"event": "failed", "reason": f"{type(error).__name__}: {error}"}
        counts[event["event"]] += 1
        emit(event)
    emit({"event": "summary", "to": to, "destination": destination, **counts})
    return counts["failed"] == 0

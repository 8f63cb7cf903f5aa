"""MLflow: one experiment per study, one run per cell, in a local store (SQLite or a folder)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.exporters.cells import CellRun

_TAG = "hypernudge."
_METRICS, _PARAMETERS, _TEXT = 1000, 100, 500  # what one request of MLflow may hold


class MlflowTracker:
    """Writes cells into an MLflow store.

    The clock of a run is the deterministic one: a metric's timestamp is the beginning of the run plus that
    many seconds, to the millisecond; the metric `time` holds them exactly.

    Args:
        study: Name of the experiment.
        destination: `sqlite:///FILE`, or the path of a store folder.

    Raises:
        InvalidArgumentError: MLflow is not installed, or the store lies elsewhere than on this machine.
    """

    def __init__(self, study: str, destination: str) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param
        except ImportError:
            raise InvalidArgumentError(
                "--to: exporting to MLflow needs mlflow, which is not installed; install hypernudge[trackers]"
            ) from None
        local = "://" not in destination or destination.startswith(("sqlite:///", "file://"))
        remedy = "name sqlite:///FILE or a folder"
        require(local, "--store", "must lie on this machine", destination, remedy)
        if not destination.startswith("sqlite:"):
            # Recent versions refuse folders unless told that they are meant; whoever names one means it.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        # The first use of a SQLite store creates its tables, and tells about each of them.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self._metric, self._param = Metric, Param
        self._client: Any = MlflowClient(tracking_uri=destination)
        found = self._client.get_experiment_by_name(study)
        self._experiment = found.experiment_id if found else self._client.create_experiment(study)

    def known(self) -> set[str]:
        """Return the digests of the finished runs."""
        return {
            run.data.tags[f"{_TAG}digest"]
            for run in self._runs()
            if run.info.status == "FINISHED" and f"{_TAG}digest" in run.data.tags
        }

    def write(self, run: CellRun) -> None:
        """Write one run; what an earlier attempt left unfinished of it is deleted."""
        for left in self._runs(f"tags.`{_TAG}digest` = '{run.digest}'"):
            self._client.delete_run(left.info.run_id)
        begun = round(1000 * run.begun)
        tags = {f"{_TAG}{key}": value for key, value in run.tags.items()}
        tags |= {key: run.tags[key] for key in ("task", "scheduler", "variation", "seed")}
        made = self._client.create_run(self._experiment, start_time=begun, tags=tags, run_name=run.name)
        identity = made.info.run_id
        parameters = [self._param(key, str(value)[:_TEXT]) for key, value in run.parameters.items()]
        for part in _parts(parameters, _PARAMETERS):
            self._client.log_batch(identity, params=part)
        for part in _parts(self._metrics(run, begun), _METRICS):
            self._client.log_batch(identity, metrics=part)
        last = begun + round(1000 * run.points[-1].time) if run.points else begun
        self._client.set_terminated(identity, "FINISHED", end_time=last)

    def _metrics(self, run: CellRun, begun: int) -> list[Any]:
        rows = []
        for step, point in enumerate(run.points):
            at = begun + round(1000 * point.time)
            for key, value in {**point.logged, "time": point.time}.items():
                rows.append(self._metric(key, value, at, step))
        rows.extend(self._metric(f"final/{key}", value, begun, 0) for key, value in run.summary.items())
        return rows

    def _runs(self, rule: str = "") -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs([self._experiment], rule, max_results=1000, page_token=token)
            found.extend(page)
            token = page.token
            if not token:
                return found


def _parts(rows: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(rows), size):
        yield list(rows[first : first + size])

"""MLflow: every run is one cell or one of its trials, every value of the metric one score.

Reads the SQLite store and the file store (`mlruns/`) directly, so MLflow need not be installed. The cell is
found by the run's tags and parameters task, variation and seed, or by its name; runs of equal cells are the
trials of that cell.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.common import Run, Score, pick_metric

_NAME_TAG = "mlflow.runName"


def read(source: str, metric: str | None = None) -> Iterator[Run]:
    """Yield one run per MLflow run that has the metric and was not deleted.

    Args:
        source: `sqlite:///mlflow.db`, the path of that file, or an `mlruns` directory.
        metric: Which metric; may be left out where there is one only.

    Raises:
        InvalidArgumentError: The store does not exist or is none, or the metric is unclear.
    """
    path = Path(source.removeprefix("sqlite:///").removeprefix("file://"))
    require(path.exists(), "SOURCE", "must exist", source, "check the path")
    yield from _from_files(path, metric) if path.is_dir() else _from_sqlite(path, metric)


def _from_sqlite(path: Path, metric: str | None) -> Iterator[Run]:
    try:
        # Read only: looking at a store must never migrate or create one.
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as store:
            name = pick_metric(metric, (row[0] for row in store.execute("SELECT DISTINCT key FROM metrics")))
            runs = store.execute(
                "SELECT run_uuid, name, start_time FROM runs WHERE lifecycle_stage = 'active' "
                "ORDER BY start_time"
            ).fetchall()
            for run, title, start in runs:
                attributes = dict(store.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,)))
                attributes |= dict(store.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)))
                values = store.execute(
                    "SELECT timestamp, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
                    "WHERE run_uuid = ? AND key = ? ORDER BY timestamp, step",
                    (run, name),
                ).fetchall()
                if values:
                    yield _run(title or attributes.get(_NAME_TAG, run), run, attributes, start, values)
    except sqlite3.DatabaseError as error:
        raise InvalidArgumentError(
            f"SOURCE: {path} must be an MLflow SQLite store, but: {error}; check the path"
        ) from None


def _from_files(root: Path, metric: str | None) -> Iterator[Run]:
    folders = sorted(meta.parent for meta in root.glob("*/*/meta.yaml") if ".trash" not in meta.parts)
    require(
        bool(folders), "SOURCE", "must hold EXPERIMENT/RUN/meta.yaml", str(root), "name the mlruns folder"
    )
    metrics = {
        file.relative_to(folder / "metrics").as_posix()
        for folder in folders
        for file in (folder / "metrics").rglob("*")
        if file.is_file()
    }
    name = pick_metric(metric, metrics)
    for folder in folders:
        file = folder / "metrics" / name
        meta = _meta(folder / "meta.yaml")
        if not file.is_file() or meta.get("lifecycle_stage", "active") != "active":
            continue
        attributes = {
            entry.name: entry.read_text(encoding="utf-8").strip()
            for kind in ("params", "tags")
            for entry in sorted((folder / kind).glob("*"))
            if entry.is_file()
        }
        values: list[tuple[int, float | None]] = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            parts = line.split()
            try:
                values.append((int(parts[0]), float(parts[1])))
            except (IndexError, ValueError):
                require(False, f"{file}, line {number}", "must be `timestamp value [step]`", line, "check it")
        title = meta.get("run_name") or attributes.get(_NAME_TAG, folder.name)
        yield _run(title, folder.name, attributes, int(meta.get("start_time", values[0][0])), values)


def _meta(path: Path) -> dict[str, str]:
    """Top-level `key: value` lines; MLflow writes nothing deeper that is needed here."""
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip().strip("'\"") for key, colon, value in pairs if colon}


def _run(
    title: str, run: str, attributes: dict[str, str], start: int, values: list[tuple[int, float | None]]
) -> Run:
    """Times are in milliseconds there."""
    scores = tuple(
        Score(f"{run[:8]}.{index}", at / 1000, float("nan") if value is None else value)
        for index, (at, value) in enumerate(values)
    )
    return Run(title, attributes, start / 1000, scores)

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


Value = tuple[int, int, float]
"""Milliseconds, step, value."""


def read(source: str, metric: str | None = None, clock: str | None = None) -> Iterator[Run]:
    """Yield one run per MLflow run that has the metric and was not deleted.

    Args:
        source: `sqlite:///mlflow.db`, the path of that file, or an `mlruns` directory.
        metric: Which metric; may be left out where there is one only.
        clock: A metric that holds the time of each step; the timestamps of the metric where None.

    Raises:
        InvalidArgumentError: The store does not exist or is none, or the metric is unclear.
    """
    path = Path(source.removeprefix("sqlite:///").removeprefix("file://"))
    require(path.exists(), "SOURCE", "must exist", source, "check the path")
    read_store = _from_files if path.is_dir() else _from_sqlite
    yield from read_store(path, metric, clock)


def _from_sqlite(path: Path, metric: str | None, clock: str | None) -> Iterator[Run]:
    try:
        # Read only: looking at a store must never migrate or create one.
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True) as store:
            known = {row[0] for row in store.execute("SELECT DISTINCT key FROM metrics")}
            name = _check(metric, clock, known)
            runs = store.execute(
                "SELECT run_uuid, name, start_time FROM runs WHERE lifecycle_stage = 'active' "
                "ORDER BY start_time"
            ).fetchall()
            for run, title, start in runs:
                attributes = dict(store.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,)))
                attributes |= dict(store.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run,)))
                values = _logged(store, run, name)
                if values:
                    times = None if clock is None else _logged(store, run, clock)
                    yield _run(title or attributes.get(_NAME_TAG, run), run, attributes, start, values, times)
    except sqlite3.DatabaseError as error:
        raise InvalidArgumentError(
            f"SOURCE: {path} must be an MLflow SQLite store, but: {error}; check the path"
        ) from None


def _logged(store: sqlite3.Connection, run: str, key: str) -> list[Value]:
    rows = store.execute(
        "SELECT timestamp, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
        "WHERE run_uuid = ? AND key = ? ORDER BY timestamp, step",
        (run, key),
    )
    return [(at, step, float("nan") if value is None else value) for at, step, value in rows]


def _from_files(root: Path, metric: str | None, clock: str | None) -> Iterator[Run]:
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
    name = _check(metric, clock, metrics)
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
        values = _lines(file)
        times = None if clock is None else _lines(folder / "metrics" / clock)
        title = meta.get("run_name") or attributes.get(_NAME_TAG, folder.name)
        yield _run(title, folder.name, attributes, int(meta.get("start_time", values[0][0])), values, times)


def _lines(file: Path) -> list[Value]:
    values: list[Value] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines() if file.is_file() else (), 1):
        parts = line.split()
        try:
            values.append((int(parts[0]), int(parts[2]) if len(parts) > 2 else number, float(parts[1])))
        except (IndexError, ValueError):
            require(False, f"{file}, line {number}", "must be `timestamp value [step]`", line, "check it")
    return values


def _check(metric: str | None, clock: str | None, known: set[str]) -> str:
    """Return the metric's name, the clock's being checked too."""
    rule = f"must be wall, count or a metric, one of {sorted(known)}"
    require(clock is None or clock in known, "--time", rule, clock, "choose one of them")
    return pick_metric(metric, known - {clock})


def _meta(path: Path) -> dict[str, str]:
    """Top-level `key: value` lines; MLflow writes nothing deeper that is needed here."""
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip().strip("'\"") for key, colon, value in pairs if colon}


def _run(
    title: str,
    run: str,
    attributes: dict[str, str],
    start: int,
    values: list[Value],
    times: list[Value] | None,
) -> Run:
    """Timestamps are in milliseconds there; a clock of one's own has a value for each step."""
    if times is None:
        rows = [(at / 1000, value) for at, _, value in values]
        begun = start / 1000
    else:
        when = {step: time for _, step, time in times}
        complete = all(step in when for _, step, _ in values)
        require(complete, "--time", "must be logged at every step of the metric", title, "choose another")
        rows, begun = [(when[step], value) for _, step, value in values], 0.0
    scores = tuple(Score(f"{run[:8]}.{index}", at, value) for index, (at, value) in enumerate(rows))
    return Run(title, attributes, begun, scores)

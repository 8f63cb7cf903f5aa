"""MLflow: every run is one cell or one of its trials, every value of the metric one score.

Reads the SQLite store and the file store (`mlruns/`) directly, so MLflow need not be installed. The cell is
found by the run's tags and parameters task, variation and seed, or by its name; runs whose tags or parameters
agree in all three are the trials of that cell. A run without the metric is a miss if MLflow says that it
failed; if it was killed, still runs, or finished without it, nobody can tell, and it is left out by name.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.runs import COUNT, Run, Score, forward, line, pick_metric, read_text

_NAME_TAG = "mlflow.runName"
_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}
_LARGEST = 1.7976931348623157e308
"""What the SQL store writes for an infinite value."""

_TOLD = {
    "FINISHED": "for they finished without the metric",
    "KILLED": "for they were killed before the metric",
    "RUNNING": "for they still run, or were cut off, without the metric",
}
_TABLES = {
    "runs": ("run_uuid", "name", "start_time", "lifecycle_stage"),
    "metrics": ("key", "value", "timestamp", "run_uuid", "step", "is_nan"),
    "params": ("key", "value", "run_uuid"),
    "tags": ("key", "value", "run_uuid"),
}

Value = tuple[int, int, float]
"""Milliseconds, step, value."""


@dataclass(frozen=True)
class _Logged:
    """A run as the store has it: times in milliseconds, None where it has none."""

    title: str
    run: str
    attributes: dict[str, str]
    status: str
    start: int | None
    end: int | None
    values: list[Value]
    times: list[Value]


def read(source: str, metric: str | None = None, clock: str = "wall") -> Iterator[Run]:
    """Yield one run per MLflow run that was not deleted.

    Args:
        source: `sqlite:///mlflow.db`, the path of that file, or an `mlruns` directory.
        metric: Which metric; may be left out where there is one only.
        clock: "wall", the timestamps of the metric; "count" where times do not matter; else a metric that
            holds the time of each step.

    Raises:
        InvalidArgumentError: The store does not exist or is none, the metric is unclear, or its times go
            backwards.
    """
    local = "://" not in source or source.startswith(("sqlite:///", "file://"))
    require(local, "SOURCE", "must lie on this machine", source, "name sqlite:///FILE or a folder")
    path = Path(source.removeprefix("sqlite:///").removeprefix("file://"))
    require(path.exists(), "SOURCE", "must exist", source, "check the path")
    named = None if clock in ("wall", COUNT) else clock
    read_store = _from_files if path.is_dir() else _from_sqlite
    for run in read_store(path, metric, named):
        yield _run(run, clock)


def _from_sqlite(path: Path, metric: str | None, clock: str | None) -> Iterator[_Logged]:
    try:
        # Read only: looking at a store must never migrate or create one.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as store:
            found = {
                table: {row[1] for row in store.execute(f"PRAGMA table_info({table})")} for table in _TABLES
            }
            lacking = [f"{t}.{c}" for t, columns in _TABLES.items() for c in columns if c not in found[t]]
            where, remedy = f"SOURCE, {path}", "check the path; `mlflow db upgrade` renews an old one"
            require(not lacking, where, "must be an MLflow store with all columns", lacking[:4], remedy)
            known = {row[0] for row in store.execute("SELECT DISTINCT key FROM metrics")}
            name = _check(metric, clock, known)
            extra = ["status" if "status" in found["runs"] else "''"]
            extra += ["end_time" if "end_time" in found["runs"] else "NULL"]
            runs = store.execute(
                f"SELECT run_uuid, name, start_time, {', '.join(extra)} FROM runs "
                "WHERE lifecycle_stage = 'active' ORDER BY start_time"
            ).fetchall()
            for run, title, start, status, end in runs:
                numbers = isinstance(start, int | None) and isinstance(end, int | None)
                rule = f"times of run {run} must be whole milliseconds"
                require(numbers, "SOURCE", rule, (start, end), "the store is damaged: copy it again")
                pairs = [
                    pair
                    for table in ("params", "tags")
                    for pair in store.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", (run,))
                ]
                attributes = {str(key): str(value) for key, value in pairs if value is not None}
                values = _rows(store, run, name)
                times = _rows(store, run, clock) if clock is not None else []
                named = str(title or attributes.get(_NAME_TAG, run))
                yield _Logged(named, str(run), attributes, str(status), start, end, values, times)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        reason = line(error)
    else:
        return
    raise InvalidArgumentError(
        f"SOURCE: {path} must be an MLflow SQLite store, but: {reason}; check the path"
    ) from None


def _rows(store: sqlite3.Connection, run: str, key: str) -> list[Value]:
    rows = store.execute(
        "SELECT timestamp, step, CASE WHEN is_nan THEN NULL ELSE value END FROM metrics "
        "WHERE run_uuid = ? AND key = ? ORDER BY timestamp, step",
        (run, key),
    )
    values = []
    for at, step, value in rows:
        numbers = isinstance(at, int) and isinstance(step, int) and isinstance(value, int | float | None)
        rule = f"metric {key} of run {run} must hold numbers"
        require(numbers, "SOURCE", rule, (at, step, value), "the store is damaged: copy it again")
        score = math.nan if value is None else float(value)
        values.append((at, step, math.copysign(math.inf, score) if abs(score) >= _LARGEST else score))
    return values


def _from_files(root: Path, metric: str | None, clock: str | None) -> Iterator[_Logged]:
    folders = sorted(
        meta.parent
        for pattern in ("*/*/meta.yaml", "*/meta.yaml")  # `mlruns`, or one experiment of it
        for meta in root.glob(pattern)
        if ".trash" not in meta.parts and _is_run(meta)
    )
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
        meta = _meta(folder / "meta.yaml")
        if meta.get("lifecycle_stage", "active") != "active":
            continue
        attributes = {
            entry.relative_to(folder / kind).as_posix(): read_text(entry).strip()
            for kind in ("params", "tags")
            for entry in sorted((folder / kind).rglob("*"))
            if entry.is_file()
        }
        yield _Logged(
            meta.get("run_name") or attributes.get(_NAME_TAG) or folder.name,
            folder.name,
            attributes,
            _STATUS.get(meta.get("status", ""), meta.get("status", "")),
            _milliseconds(meta, "start_time", folder),
            _milliseconds(meta, "end_time", folder),
            _lines(folder / "metrics" / name),
            _lines(folder / "metrics" / clock) if clock is not None else [],
        )


def _is_run(meta: Path) -> bool:
    # A copy may have lost the empty folder of a run that logged nothing.
    return (meta.parent / "metrics").is_dir() or bool({"run_id", "run_uuid"} & set(_meta(meta)))


def _milliseconds(meta: dict[str, str], key: str, folder: Path) -> int | None:
    text = meta.get(key, "null")
    if text in ("null", "", "~", "None"):
        return None
    whole = text.lstrip("-").isdecimal()
    require(whole, f"{folder / 'meta.yaml'}", f"{key} must be whole milliseconds", text, "copy it again")
    return int(text)


def _lines(file: Path) -> list[Value]:
    values: list[Value] = []
    for place, text in enumerate(read_text(file).splitlines() if file.is_file() else (), 1):
        parts = text.split()
        try:
            values.append((int(parts[0]), int(parts[2]) if len(parts) > 2 else place, float(parts[1])))
        except (IndexError, ValueError):
            require(False, f"{file}, line {place}", "must be `timestamp value [step]`", text, "check it")
    return sorted(values, key=lambda value: value[:2])


def _check(metric: str | None, clock: str | None, known: set[str]) -> str:
    rule = f"must be a metric of {sorted(known)}"
    require(clock is None or clock in known, "--time", rule, clock, "choose one of them")
    return pick_metric(metric, known - {clock} if metric is None else known)


def _meta(path: Path) -> dict[str, str]:
    """Top-level `key: value` lines; MLflow writes nothing deeper that is needed here."""
    pairs = (text.partition(":") for text in read_text(path).splitlines())
    return {key.strip(): value.strip().strip("'\"") for key, colon, value in pairs if colon}


def _run(logged: _Logged, clock: str) -> Run:
    """Timestamps are in milliseconds there; a clock of one's own has a value for each step."""
    if not logged.values:
        begun = 0.0 if logged.start is None else logged.start / 1000
        ended = begun if logged.end is None else logged.end / 1000
        own = clock not in ("wall", COUNT)
        return Run(
            logged.title,
            logged.attributes,
            0.0 if own else begun,
            (),
            ended=max((value for *_, value in logged.times), default=0.0) if own else ended,
            mark=logged.run,
            absent="" if logged.status == "FAILED" else _TOLD.get(logged.status, _TOLD["RUNNING"]),
        )
    if clock in ("wall", COUNT):
        times = [at / 1000 for at, *_ in logged.values]
        _check_steps(logged, clock != COUNT)
        begun = times[0] if logged.start is None else logged.start / 1000
    else:
        times, begun = _own_times(logged, clock), 0.0
    pairs = enumerate(zip(times, (value for *_, value in logged.values), strict=True))
    scores = tuple(Score(f"{logged.run[:8]}.{index}", at, value) for index, (at, value) in pairs)
    return Run(logged.title, logged.attributes, begun, scores, mark=logged.run)


def _check_steps(logged: _Logged, strict: bool) -> None:
    """Refuse timestamps that fall while steps grow; steps that come again are a run taken up again."""
    steps = [step for _, step, _ in logged.values]
    if not strict or len(set(steps)) < len(steps):
        return
    for (at, step, _), (later, after, _) in zip(logged.values, logged.values[1:], strict=False):
        rule = f"timestamps must grow with the steps of {logged.title!r}"
        remedy = "its clock was set back, or steps were logged late: pass --time count or --time METRIC"
        found = f"step {step} at {at}, step {after} at {later} ms"
        require(after > step or later == at, "SOURCE", rule, found, remedy)


def _own_times(logged: _Logged, clock: str) -> list[float]:
    """The time of every score: the value of the clock at its step, the k-th where steps come again."""
    when: dict[int, list[float]] = {}
    for _, step, time in logged.times:
        when.setdefault(step, []).append(time)
    times = []
    for _, step, _ in logged.values:
        there = bool(when.get(step))
        rule = "must be logged at every step of the metric"
        require(there, "--time", rule, f"{logged.title}, step {step}", "choose another")
        times.append(when[step].pop(0))
    remedy = "the run was taken up again and its clock with it: choose another, or pass --time count"
    forward([0.0, *times], f"run {logged.title!r}", f"--time {clock}", remedy, strict=True)
    return times

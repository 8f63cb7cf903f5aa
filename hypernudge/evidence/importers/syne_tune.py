"""Syne Tune: every experiment directory is one cell, every reported result one score.

An experiment holds `results.csv.zip` (or `results.csv`) and `metadata.json`. The clock is the tuner's own,
`st_tuner_time`: simulated seconds where the simulator backend was used, seconds else. It starts again at zero
when a tuner is taken up again; the workers' timestamps then say how much later that was. `tuner.dill` is
never opened.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.runs import (
    COUNT,
    Direction,
    Run,
    Score,
    Tried,
    forward,
    line,
    number,
    parse_json,
    pick_metric,
    read_text,
    typed,
)
from hypernudge.evidence.loading.wording import number_remedy

RESULTS = ("results.csv.zip", "results.csv")
CLOCK = "st_tuner_time"
STAMP = "st_worker_timestamp"
CONFIG = "config_"


def read(source: str, metric: str | None = None, clock: str = "wall") -> Iterator[Run]:
    """Yield one run per experiment below a directory.

    Args:
        source: An experiment directory, or one that holds several.
        metric: Which metric; the one that the metadata names where None.
        clock: "wall", or "count" where times do not matter.

    Raises:
        InvalidArgumentError: No experiment is there, a file is not what Syne Tune writes, or its times go
            backwards and nothing says by how much.
    """
    root = Path(source)
    require(root.is_dir(), "SOURCE", "must be a directory", source, "check the path")
    files: dict[Path, Path] = {}
    for name in RESULTS:
        for file in root.rglob(name):
            files.setdefault(file.parent, file)  # an unpacked copy may lie beside the archive
    folders = {file.parent for file in root.rglob("metadata.json")} | set(files)
    require(bool(files), "SOURCE", f"must hold {' or '.join(RESULTS)}", source, "name the experiment folder")
    for folder in sorted(folders):
        if folder in files:
            yield _run(files[folder], metric, clock)
        else:
            yield Run(folder.name, {}, 0.0, (), absent="for they have metadata but no results")


def _run(file: Path, metric: str | None, clock: str) -> Run:
    metadata = _metadata(file.parent / "metadata.json")
    plain = {key: str(value) for key, value in metadata.items() if isinstance(value, str | int)}
    frame = _table(file)
    named = metadata.get("metric_names")
    named = [str(name) for name in named] if isinstance(named, list) else []
    if not len(frame):  # the tuner ended, and no trial ever reported
        name = metric if metric is not None else named[0] if named else ""
        direction = _direction(metadata, named, name)
        return Run(file.parent.name, plain, 0.0, (), direction, whole=True, mark=str(file))
    for column in (CLOCK, "trial_id"):
        present = column in frame.columns
        require(present, f"{file}", f"must have a column {column}", sorted(frame.columns)[:20], "check it")
    name = pick_metric(metric, frame.columns if metric else named)
    rule = f"must have the column {name}, which its metadata names"
    require(name in frame.columns, f"{file}", rule, sorted(frame.columns)[:20], "pass --metric")
    trials = frame["trial_id"].tolist()
    values, times = _numbers(file, frame, name), _numbers(file, frame, CLOCK)
    notes: tuple[str, ...] = ()
    if clock == COUNT:
        times = [float(place) for place in range(len(times))]
    elif STAMP in frame.columns:
        times, notes = _joined(file, times, _numbers(file, frame, STAMP))
    else:
        remedy = "the tuner was taken up again, and nothing says when: pass --time count"
        for trial in dict.fromkeys(trials):
            own = [time for time, of in zip(times, trials, strict=True) if of == trial]
            forward(own, f"{file}, trial {trial}", CLOCK, remedy, strict=True)
    scores = tuple(
        Score(str(trial), time, value) for trial, time, value in zip(trials, times, values, strict=True)
    )
    return Run(
        file.parent.name,
        plain,
        0.0,
        scores,
        _direction(metadata, named, name),
        whole=True,
        mark=str(file),
        notes=notes,
        tried=_tried(frame, trials, values),
    )


def _tried(frame: pd.DataFrame, trials: list[Any], values: list[float]) -> tuple[Tried, ...]:
    """Return the trials' configurations with their scores, by the number of the report."""
    names = [column for column in frame.columns if column.startswith(CONFIG)]
    configs: dict[str, dict[str, Any]] = {}
    scores: dict[str, dict[int, float]] = {}
    for place, (trial, value) in enumerate(zip(trials, values, strict=True)):
        if str(trial) not in configs:
            row = frame.iloc[place]
            configs[str(trial)] = {name.removeprefix(CONFIG): typed(row[name]) for name in names}
        own = scores.setdefault(str(trial), {})
        own[len(own) + 1] = value
    return tuple(Tried(trial, config, scores[trial]) for trial, config in configs.items())


def _joined(file: Path, times: list[float], stamps: list[float]) -> tuple[list[float], tuple[str, ...]]:
    """Times of a tuner that was taken up again, as if its clock had run on, by the workers' timestamps."""
    joined: list[float] = []
    offset, restarts = 0.0, 0
    remedy = "the tuner was taken up again, and the workers' timestamps do not say when: pass --time count"
    for place, time in enumerate(times):
        if place and time < times[place - 1]:
            gap = stamps[place] - stamps[place - 1]
            rule = f"{CLOCK} must not go backwards, as at row {place + 2}"
            require(gap >= 0, f"{file}", rule, f"{time:g} after {times[place - 1]:g}", remedy)
            offset = joined[-1] + gap - time
            restarts += 1
        joined.append(time + offset)
    what = f"{file.parent.name}: taken up again {restarts} times; what lay between counts as time"
    return forward(joined, f"{file}", CLOCK, remedy, strict=True), (what,) if restarts else ()


def _table(file: Path) -> pd.DataFrame:
    """The results as text, nothing taken for anything else; empty where nothing was ever reported."""
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False)
    except pd.errors.EmptyDataError:
        if file.suffix == ".csv" and not file.read_bytes():
            reason = "it is empty"
        else:
            return pd.DataFrame()  # pandas writes a table without rows as one line break
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        reason = line(error)
    raise InvalidArgumentError(f"SOURCE: {file} must be CSV, but: {reason}; copy it again")


def _numbers(file: Path, frame: pd.DataFrame, column: str) -> list[float]:
    values = []
    for place, text in enumerate(frame[column].tolist(), 2):
        value = number(text) if str(text).strip() else number("nan")
        where = f"{file}, row {place}, column {column}"
        require(value is not None, where, "must be a number", text, number_remedy(str(text)))
        assert value is not None  # for the type checker
        values.append(value)
    return values


def _direction(metadata: dict[str, Any], named: list[str], name: str) -> Direction:
    mode = metadata.get("metric_mode", "unknown")
    if isinstance(mode, list):
        mode = mode[named.index(name)] if name in named and len(mode) == len(named) else "unknown"
    known: dict[str, Direction] = {"min": "minimise", "max": "maximise"}
    return known.get(str(mode), "unknown")


def _metadata(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    loaded = parse_json(read_text(path), str(path), "copy it again")
    return loaded if isinstance(loaded, dict) else {}

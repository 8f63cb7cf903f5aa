"""W&B: exported run histories (CSV or JSONL), and offline runs as they lie on disk.

Offline runs are folders `offline-run-*/run-ID.wandb`; reading them needs W&B installed. Of exports three
shapes are read. (1) One file per run, named after it, with a column `_runtime` or `_timestamp` and the
metric: what `run.history()` or `run.scan_history()` gives. (2) The same rows of many runs in one file, with a
column `name` or `run`. (3) The CSV that a panel of the web page exports: `Relative Time (Process)` (or
another relative time, or `Step`) and one column `<run> - <metric>` per run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.common import Run, Score, pick_metric
from hypernudge.evidence.importers.wandb_offline import offline_run

_CLOCKS = ("_runtime", "_timestamp", "Relative Time (Process)", "Relative Time (Wall)", "Wall Time")
_NAMES = ("name", "run", "Name", "run_name")
_CELL = ("task", "variation", "seed", "benchmark", "dataset", "algorithm", "method", "random_seed")


def read(source: str, metric: str | None = None, clock: str | None = None) -> Iterator[Run]:
    """Yield one run per exported history, or per offline run.

    Args:
        source: A file, or a directory of them; for offline runs also the `wandb` directory that holds them.
        metric: Which metric; may be left out where there is one only.
        clock: Which logged value is the time; the run time that W&B keeps where None.

    Raises:
        InvalidArgumentError: Nothing is there, or a file has no clock or no such metric.
    """
    path = Path(source)
    require(path.exists(), "SOURCE", "must exist", source, "check the path")
    patterns = ("*.csv", "*.jsonl", "*.wandb", "offline-run-*/*.wandb", "run-*/*.wandb")
    files = sorted(file for p in patterns for file in path.glob(p)) if path.is_dir() else [path]
    rule = "must hold .csv or .jsonl exports, or offline runs"
    require(bool(files), "SOURCE", rule, source, "export the histories there")
    for file in files:
        if file.suffix == ".wandb":
            title, config, frame = offline_run(file)
            yield _history(title, config, frame, *_columns(file, frame, metric, clock))
        else:
            yield from _runs(file, metric, clock)


def _columns(file: Path, frame: pd.DataFrame, metric: str | None, clock: str | None) -> tuple[str, str]:
    """Return the names of the clock and of the metric."""
    found = clock or next((name for name in _CLOCKS if name in frame.columns), None)
    rule = f"must have the column {clock}" if clock else f"must have one of the columns {', '.join(_CLOCKS)}"
    there = found is not None and found in frame.columns
    require(there, str(file), rule, list(frame.columns), "export the run's history, or pass --time")
    assert found is not None  # for the type checker
    own = {"_step", "Step", found, *_CLOCKS, *_NAMES, *_CELL}
    numeric = [c for c in frame.select_dtypes("number").columns if c not in own and not c.startswith("_")]
    return found, pick_metric(metric, numeric)


def _runs(file: Path, metric: str | None, named: str | None) -> Iterator[Run]:
    try:
        if file.suffix == ".jsonl":
            frame = pd.read_json(file, lines=True, precise_float=True)
        else:
            frame = pd.read_csv(file, float_precision="round_trip")
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InvalidArgumentError(f"SOURCE: {file} cannot be read: {reason}; export it again") from None
    clock = named or next((name for name in _CLOCKS if name in frame.columns), None)
    wide = [c for c in frame.columns if " - " in c and not c.endswith(("__MIN", "__MAX"))]
    if wide:
        yield from _from_panel(
            file, frame, clock or ("Step" if "Step" in frame.columns else None), wide, metric
        )
        return
    clock, name = _columns(file, frame, metric, named)
    column = next((n for n in _NAMES if n in frame.columns), None)
    groups: Any = frame.groupby(column, sort=False) if column else [(file.stem, frame)]
    for title, rows in groups:
        attributes = {c: str(rows[c].iloc[0]) for c in _CELL if c in rows.columns}
        yield _history(str(title), attributes, rows, clock, name)


def _history(title: str, attributes: dict[str, str], rows: pd.DataFrame, clock: str, name: str) -> Run:
    # Histories have a row per logged step; steps that logged other metrics are empty here.
    kept = rows[rows[name].notna()]
    begun = float(rows[clock].min()) if clock in ("_timestamp", "Wall Time") else 0.0
    if clock == "_timestamp" and "_runtime" in rows.columns:
        begun -= float(rows["_runtime"].min())
    pairs = zip(kept[clock].astype(float), kept[name].astype(float), strict=True)
    scores = tuple(Score(str(index), time, value) for index, (time, value) in enumerate(pairs))
    return Run(title, attributes, begun, scores)


def _from_panel(
    file: Path, frame: pd.DataFrame, clock: str | None, columns: list[str], metric: str | None
) -> Iterator[Run]:
    rule = f"must have Step or one of {', '.join(_CLOCKS[2:])}"
    require(
        clock is not None, str(file), rule, list(frame.columns)[:5], "choose a time axis and export again"
    )
    assert clock is not None  # for the type checker
    name = pick_metric(metric, {column.rsplit(" - ", 1)[1] for column in columns})
    for column in columns:
        run, _, what = column.rpartition(" - ")
        if what == name:
            yield _history(run, {}, frame[[clock, column]].rename(columns={column: name}), clock, name)

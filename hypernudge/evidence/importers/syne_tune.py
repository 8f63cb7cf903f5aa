"""Syne Tune: every experiment directory is one cell, every reported result one score.

An experiment holds `results.csv.zip` (or `results.csv`) and `metadata.json`. The clock is the tuner's own,
`st_tuner_time`: simulated seconds where the simulator backend was used, seconds else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.common import Direction, Run, Score, pick_metric

RESULTS = ("results.csv.zip", "results.csv")
CLOCK = "st_tuner_time"


def read(source: str, metric: str | None = None) -> Iterator[Run]:
    """Yield one run per experiment below a directory.

    Args:
        source: An experiment directory, or one that holds several.
        metric: Which metric; the one that the metadata names where None.

    Raises:
        InvalidArgumentError: No experiment is there, or a file is not what Syne Tune writes.
    """
    root = Path(source)
    require(root.is_dir(), "SOURCE", "must be a directory", source, "check the path")
    files = sorted(file for name in RESULTS for file in root.rglob(name))
    require(bool(files), "SOURCE", f"must hold {' or '.join(RESULTS)}", source, "name the experiment folder")
    for file in files:
        yield _run(file, metric)


def _run(file: Path, metric: str | None) -> Run:
    metadata = _metadata(file.parent / "metadata.json")
    try:
        frame = pd.read_csv(file, float_precision="round_trip")
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InvalidArgumentError(f"SOURCE: {file} must be CSV, but: {reason}; copy it again") from None
    for name in (CLOCK, "trial_id"):
        require(
            name in frame.columns, f"{file}", f"must have a column {name}", list(frame.columns), "check it"
        )
    named = metadata.get("metric_names") or []
    name = pick_metric(metric, frame.columns if metric else named)
    mode = metadata.get("metric_mode", "unknown")
    if isinstance(mode, list):
        mode = mode[named.index(name)] if name in named and len(mode) == len(named) else "unknown"
    direction: Direction = {"min": "minimise", "max": "maximise"}.get(str(mode), "unknown")  # type: ignore[assignment]
    rows = frame[[CLOCK, "trial_id", name]].itertuples(index=False)
    scores = tuple(Score(str(trial), float(time), float(value)) for time, trial, value in rows)
    plain = {key: str(value) for key, value in metadata.items() if isinstance(value, str | int)}
    return Run(file.parent.name, plain, 0.0, scores, direction)


def _metadata(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidArgumentError(f"SOURCE: {path} must be JSON, but: {error}; copy it again") from None
    return loaded if isinstance(loaded, dict) else {}

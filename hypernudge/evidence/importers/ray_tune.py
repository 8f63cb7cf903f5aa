"""Ray Tune: every experiment directory is one cell, every line of a trial's `result.json` one score.

A trial directory holds `result.json` (one JSON object per line, each with `timestamp`, `time_total_s` and
`trial_id`). The experiment begins when its first trial did.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.common import Run, Score, pick_metric

_OWN = {
    *(
        "timestamp",
        "time_total_s",
        "time_this_iter_s",
        "training_iteration",
        "pid",
        "iterations_since_restore",
    ),
    *("time_since_restore", "timesteps_total", "episodes_total", "done", "timesteps_since_restore"),
}

_NEXT = 1e-6
"""Seconds: the least by which a score of a trial follows the one before."""


def read(source: str, metric: str | None = None) -> Iterator[Run]:
    """Yield one run per experiment below a directory.

    Args:
        source: An experiment directory, or one that holds several.
        metric: Which metric; may be left out where the results hold one only.

    Raises:
        InvalidArgumentError: No result is there, a line is no JSON object, or the metric is unclear.
    """
    root = Path(source)
    require(root.is_dir(), "SOURCE", "must be a directory", source, "check the path")
    experiments: dict[Path, list[Path]] = {}
    for file in sorted(root.rglob("result.json")):
        experiments.setdefault(file.parent.parent, []).append(file)
    require(bool(experiments), "SOURCE", "must hold trial folders with result.json", source, "check the path")
    for folder, files in experiments.items():
        yield _run(folder, files, metric)


def _run(folder: Path, files: list[Path], metric: str | None) -> Run:
    lines = [(file.parent.name, line) for file in files for line in _lines(file)]
    known = {
        key
        for _, line in lines
        for key, value in line.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in _OWN
    }
    name = pick_metric(metric, known) if lines else ""
    begun = _begun(lines)
    last: dict[str, float] = {}
    scores, empty = [], 0
    for trial, line in lines:
        # The timestamp is in whole seconds; the trial's own clock has the fraction, but not the waiting.
        second = float(line["timestamp"])
        at = min(max(second, begun[trial] + float(line.get("time_total_s", 0.0))), second + 1.0)
        at = last[trial] = max(at, last.get(trial, -1.0) + _NEXT)
        value = line.get(name)
        if not isinstance(value, int | float):
            empty += 1
            continue
        scores.append(Score(str(line.get("trial_id", trial)), at, float(value)))
    first = min(begun.values(), default=0.0)
    return Run(folder.name, _attributes(folder), first, tuple(scores), unscored=empty)


def _begun(lines: list[tuple[str, dict[str, Any]]]) -> dict[str, float]:
    """When each trial began, as late as its lines allow: whole seconds are rounded down."""
    begun: dict[str, float] = {}
    for trial, line in lines:
        start = float(line["timestamp"]) - float(line.get("time_total_s", 0.0))
        begun[trial] = max(start, begun.get(trial, start))
    return begun


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not text.strip():
            continue
        try:
            # Ray writes NaN as a bare token; a diverged trial is data here.
            line = json.loads(text)
        except ValueError as error:
            raise InvalidArgumentError(
                f"SOURCE: {file}, line {number} must be JSON, but: {error}; remove the broken line"
            ) from None
        ok = isinstance(line, dict) and "timestamp" in line
        require(ok, f"{file}, line {number}", "must be an object with a timestamp", text[:80], "check it")
        yield line


def _attributes(folder: Path) -> dict[str, str]:
    """Optional `cell.json` beside the trials: {"task": ..., "variation": ..., "seed": ...}."""
    path = folder / "cell.json"
    if not path.is_file():
        return {}
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidArgumentError(f"SOURCE: {path} must be JSON, but: {error}; correct it") from None
    return {str(key): str(value) for key, value in loaded.items()} if isinstance(loaded, dict) else {}

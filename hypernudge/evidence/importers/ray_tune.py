"""Ray Tune: every experiment directory is one cell, every line of a trial's `result.json` one score.

A trial directory holds `result.json` (one JSON object per line, each with `timestamp`, `time_total_s` and
`trial_id`). The experiment begins when its first trial did. Ray's other files hold pickled values and are
never opened.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.runs import (
    COUNT,
    Run,
    Score,
    Tried,
    flat_config,
    forward,
    idle_note,
    number,
    parse_json,
    pick_metric,
    read_text,
)

_OWN = {
    *("timestamp", "time_total_s", "time_this_iter_s", "training_iteration", "pid"),
    *("time_since_restore", "iterations_since_restore", "timesteps_since_restore"),
    *("timesteps_total", "episodes_total", "done"),
}

_NEXT = 1e-6
"""Seconds: the least by which a score of a trial follows the one before."""

_TIMES = ("timestamp", "time_total_s", "time_since_restore")


@dataclass(frozen=True)
class _Trial:
    """A trial's directory: its lines, when each was logged (seconds), and when it ran."""

    folder: Path
    lines: list[dict[str, Any]]
    at: list[float]
    spans: list[tuple[float, float]]


def read(source: str, metric: str | None = None, clock: str = "wall") -> Iterator[Run]:
    """Yield one run per experiment below a directory.

    Args:
        source: An experiment directory, or one that holds several.
        metric: Which metric; may be left out where the results hold one only.
        clock: "wall", or "count" where times do not matter.

    Raises:
        InvalidArgumentError: No result is there, a line is no JSON object, the metric is unclear, or the
            clock of a trial goes backwards.
    """
    root = Path(source)
    require(root.is_dir(), "SOURCE", "must be a directory", source, "check the path")
    folders: dict[Path, set[Path]] = {}
    # A trial that fails before its first result leaves only its error behind.
    for name in ("result.json", "error.txt"):
        for file in root.rglob(name):
            if name == "result.json" or (file.parent / "params.json").is_file():
                folders.setdefault(file.parent.parent, set()).add(file.parent)
    rule = "must hold trial folders with result.json"
    require(bool(folders), "SOURCE", rule, source, "name the experiment, or the folder that holds several")
    experiments = {
        folder: [_trial(trial, clock != COUNT) for trial in sorted(trials)]
        for folder, trials in sorted(folders.items())
    }
    lines = [line for trials in experiments.values() for trial in trials for line in trial.lines]
    known = {key for line in lines for key, value in line.items() if key not in _OWN and _is_number(value)}
    if metric is not None and any(metric in line for line in lines):
        known.add(metric)  # though every value of it be text that says "nan"
    name = pick_metric(metric, known) if lines else ""
    for folder, trials in experiments.items():
        yield _run(folder, trials, name)


def _run(folder: Path, trials: list[_Trial], name: str) -> Run:
    scores, empty = [], 0
    owners = Counter(
        label for t in trials for label in {str(line.get("trial_id", t.folder.name)) for line in t.lines}
    )
    for trial in trials:
        empty += not trial.lines
        for line, at in zip(trial.lines, trial.at, strict=True):
            value = number(line.get(name))
            if value is None:
                empty += 1
                continue
            label = str(line.get("trial_id", trial.folder.name))
            # Two tunings under one name give their trials equal identifiers.
            label = label if owners[label] == 1 else trial.folder.name
            scores.append(Score(label, at, value))
    spans = [span for trial in trials for span in trial.spans]
    failed = any((trial.folder / "error.txt").is_file() for trial in trials)
    return Run(
        folder.name,
        _attributes(folder),
        min((begin for begin, _ in spans), default=0.0),
        tuple(scores),
        unscored=empty,
        ended=max((end for _, end in spans), default=None),
        whole=True,
        mark=str(folder),
        absent="" if spans or failed else "for they have neither a result nor an error",
        notes=idle_note(folder.name, spans),
        tried=tuple(_tried(trial, name, owners) for trial in trials),
    )


def _tried(trial: _Trial, name: str, owners: Counter[str]) -> Tried:
    """Return a trial's configuration with its scores by training iteration."""
    scores: dict[int, float] = {}
    for place, line in enumerate(trial.lines, 1):
        value, unit = number(line.get(name)), line.get("training_iteration", place)
        if value is not None and isinstance(unit, int) and not isinstance(unit, bool) and unit >= 1:
            scores[unit] = value
    if (trial.folder / "error.txt").is_file():
        scores[max(scores, default=0) + 1] = math.nan
    config: Any = next((line["config"] for line in trial.lines if isinstance(line.get("config"), dict)), None)
    if config is None and (trial.folder / "params.json").is_file():
        path = trial.folder / "params.json"
        with contextlib.suppress(InvalidArgumentError):  # its scores are whole all the same
            config = parse_json(read_text(path), str(path), "copy it again")
    known = flat_config(config) if isinstance(config, dict) else {}
    label = next((str(line["trial_id"]) for line in trial.lines if "trial_id" in line), trial.folder.name)
    return Tried(label if owners[label] <= 1 else trial.folder.name, known, scores)


def _trial(folder: Path, strict: bool) -> _Trial:
    file = folder / "result.json"
    lines = list(_lines(file)) if file.is_file() else []
    stamps = [float(line["timestamp"]) for line in lines]
    for last, (place, stamp) in zip(stamps, enumerate(stamps[1:], 2), strict=False):
        # Whole seconds are rounded down, and what was logged together may be a second apart.
        rule = f"timestamps must not go backwards, as at line {place}"
        remedy = "its clock was set back, and nobody can tell by how much: pass --time count"
        require(not strict or stamp >= last - 1, str(file), rule, f"{stamp:g} after {last:g}", remedy)
    at, spans = _moments(stamps, [_elapsed(line) for line in lines])
    return _Trial(folder, lines, forward(at, str(file), "timestamps", "", strict=False), spans)


def _elapsed(line: dict[str, Any]) -> float:
    """Seconds that the trial's own clock shows; it may begin anew, or elsewhere, when a trial is restored."""
    value = line.get("time_since_restore", line.get("time_total_s"))
    return 0.0 if value is None else float(value)


def _moments(stamps: list[float], clocks: list[float]) -> tuple[list[float], list[tuple[float, float]]]:
    """When each line was logged, and from when to when the trial ran.

    Timestamps are whole seconds, rounded down; the trial's own clock has the fraction, but not the pauses,
    and starts at anything when the trial is restored (from its own checkpoint, or another's). So the lines
    are cut into stretches in which one beginning explains both, and each stretch has a beginning of its own.
    """
    at: list[float] = []
    spans: list[tuple[float, float]] = []
    first = 0
    low, high = -math.inf, math.inf
    for place in range(len(stamps) + 1):
        if place < len(stamps):
            begin = stamps[place] - clocks[place]
            fits = max(low, begin) < min(high, begin + 1.0)
            if place == first or (fits and clocks[place] >= clocks[place - 1]):
                low, high = max(low, begin), min(high, begin + 1.0)
                continue
        if place == first:
            break
        for stamp, clock in zip(stamps[first:place], clocks[first:place], strict=True):
            moment = min(max(stamp, low + clock), stamp + 1.0)
            at.append(max(moment, at[-1] + _NEXT) if at else moment)
        # A restored clock may show more than this stretch; the trial did not run before its last line.
        spans.append((max(low, spans[-1][1]) if spans else low, at[-1]))
        if place < len(stamps):
            first = place
            low, high = stamps[place] - clocks[place], stamps[place] - clocks[place] + 1.0
    return at, spans


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for place, text in enumerate(read_text(file).splitlines(), 1):
        if not text.strip():
            continue
        where = f"{file}, line {place}"
        # Ray writes NaN as a bare token; a diverged trial is data here.
        line = parse_json(text, where, "remove the broken line")
        ok = isinstance(line, dict) and "timestamp" in line
        require(ok, where, "must be an object with a timestamp", text[:80], "check it")
        for key in _TIMES:
            value = line.get(key)
            good = _is_number(value) and math.isfinite(number(value) or 0.0)
            good = good or (value is None and key != "timestamp")
            require(good, where, f"{key} must be a finite number of seconds", value, "check it")
        yield line


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _attributes(folder: Path) -> dict[str, str]:
    """Optional `cell.json` beside the trials: {"task": ..., "variation": ..., "seed": ...}."""
    path = folder / "cell.json"
    if not path.is_file():
        return {}
    loaded = parse_json(read_text(path), str(path), "correct it")
    require(isinstance(loaded, dict), str(path), "must be a JSON object", loaded, "correct it")
    return {str(key): str(value) for key, value in loaded.items()}

"""Studies that are read from disk: a study's folder, or a record of `hypernudge run`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypernudge.errors import InvalidArgumentError, shown
from hypernudge.results.reading import UnreadableError, read_json
from hypernudge.results.records import Planned, Record, description_of, read_record
from hypernudge.space import Config
from hypernudge.study.about import About
from hypernudge.study.best import BestUnit
from hypernudge.study.events import read_number
from hypernudge.study.header import read_space
from hypernudge.study.log import DamagedStudyError, read_lines
from hypernudge.study.store import BEST, FILE, header_in, read_contents
from hypernudge.trial import Event, History, Job, Nudge, Outcome, Report, Started, UnitResult

if TYPE_CHECKING:
    from hypernudge.study.study import Study


def open_study(path: Path, kind: type[Study]) -> Study:
    """Return the study at a path; see `Study.open`."""
    try:
        path = path / FILE if path.is_dir() else path
        there = path.exists()
    except OSError:  # a name that no file can have
        there = False
    if not there:
        raise InvalidArgumentError(
            "path: must be the folder of a study or the record of a cell, "
            f"but there is no {shown(str(path))}; check it"
        )
    return _kept_study(path, kind) if path.suffix == ".jsonl" else _cell_study(path, kind)


def _kept_study(path: Path, kind: type[Study]) -> Study:
    lines = read_lines(path)
    if not lines.entries:
        raise DamagedStudyError(path, "it has no whole line yet")
    try:
        header = header_in(path, lines)
        arguments, about = header["arguments"], about_in(header)
        assert about.space is not None
        found = read_contents(path, lines, about.space, about.sign)
        assert found is not None  # it has a line
        arguments = found.arguments
        budget, seed = read_number(arguments["budget"]), int(arguments["seed"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedStudyError(path, f"line 1 is no header ({type(error).__name__}: {error})") from None
    best = BestUnit(about.sign, path.parent / BEST)
    history = History.replay(found.events, about.max_units)
    for event in history.events:
        if isinstance(event, Report):
            best.reported(event, replay=True)
    best.find()
    return kind(history, seed, budget, about, path.parent, found.ended, best)


def about_in(header: Mapping[str, Any]) -> About:
    """Return what a study is of, by the first line of its file.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: If it is no header.
    """
    arguments, names = header["arguments"], header["names"]
    return About(
        arguments["task"]["name"],
        arguments["task"].get("metric", "score"),
        read_space(arguments["space"]),
        names["scheduler"],
        names["warm_start"],
        arguments["direction"],
        names["max_units"],
        str(header["created"]),
        str(names.get("family", "")),
    )


def _cell_study(path: Path, kind: type[Study]) -> Study:
    record = _record(path)
    cell, declared = record["cell"], record["declared"]
    about = About(
        cell["task"],
        declared.get("metric", "score"),
        None,
        cell["scheduler"],
        cell["warm_start"],
        max_units=declared.get("max_units"),
    )
    history = History.replay(record_events(record), about.max_units)
    return kind(history, cell["seed"], float(declared["budget_seconds"]), about, ended="budget")


def _record(path: Path) -> Record:
    """Return a sealed record, whichever cell it is of."""
    try:
        cell = read_json(path)["cell"]
        planned = Planned(*(cell[n] for n in ("run_id", "task", "scheduler", "warm_start", "seed")))
    except (UnreadableError, KeyError, TypeError) as error:
        raise InvalidArgumentError(
            f"path: {path} must be the record of a cell, but: {type(error).__name__}: {error}; name "
            "RESULTS/RUN_ID/cells/seed-NNNN.json, or a study's folder"
        ) from None
    record = read_record(path, planned)
    assert record is not None  # it was read above
    description_of(record, path)
    return record


def record_events(record: Record) -> list[Event]:
    """Return the events that a cell's record tells of, in clock order.

    A record has no jobs: they are told from the milestones. When a resumed job began is not in it, and taken
    to be when its first unit did; its cost is unknown (NaN).
    """
    units: dict[int, list[UnitResult]] = {}
    curve = record["curve"]
    names = ("trial", "unit", "time", "validation", "test")
    for trial, unit, time, validation, test in zip(*(curve[name] for name in names), strict=True):
        result = UnitResult(unit, float(time), _score(validation), _score(test))
        units.setdefault(trial, []).append(result)
    errors = {error["trial"]: error["traceback"] for error in record["errors"]}
    ends = float(record["declared"]["budget_seconds"])
    longest = int(record["declared"].get("max_units") or 0)
    sequences = [
        _trial_events(trial, units.get(trial["trial"], []), errors.get(trial["trial"]), ends, longest)
        for trial in sorted(record["trials"], key=lambda trial: trial["trial"])
    ]
    # Each trial's events are in order; between trials the clock decides, reports first: they free workers.
    ordered = sorted(
        (time, rank, number, place, event)
        for number, sequence in enumerate(sequences)
        for place, (time, rank, event) in enumerate(sequence)
    )
    return [event for *_, event in ordered]


def _trial_events(
    trial: dict[str, Any], units: list[UnitResult], error: str | None, ends: float, longest: int
) -> list[tuple[float, int, Event]]:
    number, status, started = trial["trial"], trial["status"], float(trial["started"])
    nudge = _nudge(trial)
    found: list[tuple[float, int, Event]] = [
        (started, 1, Started(number, Config(trial["sampled"]), nudge, started))
    ]
    milestones = sorted(trial["milestones"])
    if status == "stopped":  # by the end of the budget, on the way to a milestone nobody knows
        milestones.append(max(longest, trial["units"] + 1))
    since, clock = 0, started
    for until in milestones:
        part = [unit for unit in units if since < unit.unit <= until]
        last = until == milestones[-1]
        begun = clock if since == 0 or not part else max(clock, _began(part, units))
        outcome: Outcome = "ok"
        if last and status in ("diverged", "failed"):
            outcome = status
        elif last and status == "stopped":
            outcome = "truncated"
        end = ends if outcome == "truncated" else part[-1].time if part else begun
        job = Job(number, nudge.config, since, until, nudge.flops if since == 0 else 0.0)
        report = Report(
            job, outcome, begun, end, tuple(part), math.nan, error=error if outcome == "failed" else None
        )
        found += [(begun, 2, job), (end, 3 if end == begun else 0, report)]
        since, clock = until, end
    return found


def _began(part: list[UnitResult], units: list[UnitResult]) -> float:
    """Return when the first unit of a job began, if all units of the trial cost the same."""
    length = min((b.time - a.time for a, b in itertools.pairwise(units)), default=0.0)
    return part[0].time - length


def _nudge(trial: dict[str, Any]) -> Nudge:
    known = trial.get("nudge") or {}
    names = (
        "policy",
        "changed",
        "flagged",
        "reason",
        "gradient",
        "gradient_norm",
        "z",
        "flops",
        "measurements",
    )
    options = {name: known[name] for name in names if known.get(name) is not None}
    return Nudge(Config(trial["nudged"]), **{"policy": "none", **options})


def _score(value: float | None) -> float:
    return math.nan if value is None else float(value)

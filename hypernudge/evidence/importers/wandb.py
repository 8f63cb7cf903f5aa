"""W&B: exported run histories (CSV or JSONL), and offline runs as they lie on disk.

Offline runs are folders `offline-run-*/run-ID.wandb`; reading them needs W&B installed. Of exports three
shapes are read. (1) One file per run, named after it, with a column `_runtime` or `_timestamp` and the
metric: what `run.history()` or `run.scan_history()` gives. (2) The same rows of many runs in one file, with a
column `name` or `run`. (3) The CSV that a panel of the web page exports: `Relative Time (Process)` (or
another relative time, or `Step`) and one column `<run> - <metric>` per run.

Names of runs need not be unique there. Runs of one name are told apart by a column `id`, by what the columns
task, variation and seed say, or by steps that begin again; else they are refused. An empty field says that
nothing was logged at that step; NaN says that the run diverged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from hypernudge.errors import require
from hypernudge.evidence.importers.naming import ALIASES
from hypernudge.evidence.importers.runs import COUNT, SHOWN, Run, Score, forward, pick_metric
from hypernudge.evidence.importers.wandb_offline import offline_runs
from hypernudge.evidence.importers.wandb_tables import Table, is_empty, read_table
from hypernudge.results.printable import abridged

_CLOCKS = ("_runtime", "_timestamp", "Relative Time (Process)", "Relative Time (Wall)", "Wall Time")
_SINCE_EPOCH = ("_timestamp", "Wall Time")
_STEPS = ("_step", "Step")
_NAMES = ("name", "run", "Name", "run_name", "display_name")
_IDS = ("id", "ID", "run_id", "Run ID", "_run_id", "run_path")
_CELL = (*ALIASES, *(alias for aliases in ALIASES.values() for alias in aliases), "scheduler")
_SUFFIXES = (".csv", ".jsonl", ".wandb")

_AGAIN = (
    "the run was taken up again, or several have one name: export `_step`, `_timestamp` and `id` as well, "
    "or pass --time count"
)


class _History:
    """Rows of one run, in a table that may hold others.

    Args:
        title: Its name.
        attributes: What its columns or its configuration say of the cell.
        table: The table.
        rows: Which rows of it, in their order.
        mark: What tells it from others of its name.
        crashed: Whether it is known to have ended in an error; None where nothing says how it ended.
    """

    def __init__(
        self,
        title: str,
        attributes: dict[str, str],
        table: Table,
        rows: Sequence[int],
        mark: str,
        crashed: bool | None = None,
    ) -> None:
        self.title, self.attributes, self.table, self.rows = title, attributes, table, list(rows)
        self.mark, self.crashed = mark, crashed


def read(source: str, metric: str | None = None, clock: str = "wall") -> Iterator[Run]:
    """Yield one run per exported history, or per offline run.

    Args:
        source: A file, or a directory of them; for offline runs also the `wandb` directory that holds them.
        metric: Which metric; may be left out where there is one only.
        clock: "wall", the run time that W&B keeps; "count" where times do not matter; else which logged
            value is the time.

    Raises:
        InvalidArgumentError: Nothing is there, a file has no clock or no such metric, runs of one name cannot
            be told apart, or times go backwards.
    """
    path = Path(source)
    require(path.exists(), "SOURCE", "must exist", source, "check the path")
    patterns = ("*.csv", "*.jsonl", "*.wandb", "offline-run-*/*.wandb", "run-*/*.wandb")
    files = sorted(file for p in patterns for file in path.glob(p)) if path.is_dir() else [path]
    rule = "must hold .csv or .jsonl exports, or offline runs"
    require(bool(files), "SOURCE", rule, source, "export the histories there")
    for file in files:
        known = file.suffix.lower() in _SUFFIXES
        require(known, "SOURCE", f"must end in one of {_SUFFIXES}", file.name, "export CSV or JSONL")
    tables = [read_table(file) for file in files if file.suffix.lower() != ".wandb"]
    panels = [table for table in tables if _panel(table)]
    histories = [h for table in tables if not _panel(table) for h in _split(table)]
    for run in offline_runs([file for file in files if file.suffix.lower() == ".wandb"]):
        rows = range(len(run.table.rows))
        histories.append(_History(run.title, run.config, run.table, rows, run.identity, run.crashed))
    if histories:
        named = None if clock in ("wall", COUNT) else clock
        every = {name for history in histories for name in history.table.names}
        rule = f"must be a logged value, such as {abridged(sorted(every), SHOWN)}"
        require(named is None or named in every, "--time", rule, named, "choose one of them")
        # One that is there is taken, though every value of it be NaN.
        name = (
            metric
            if metric in every and metric is not None
            else pick_metric(metric, _metrics(histories, named))
        )
        for history in histories:
            yield _run(history, name, clock)
    for table in panels:
        yield from _from_panel(table, metric, clock)


def _metrics(histories: list[_History], clock: str | None) -> set[str]:
    """Names of what may be a metric: numbers that are neither the clock nor part of the cell."""
    own = {*_STEPS, *_CLOCKS, *_NAMES, *_IDS, *_CELL, clock}
    tables = {id(history.table): history.table for history in histories}
    numeric = {name for table in tables.values() for name in table.numeric()}
    return {name for name in numeric if name not in own and not name.startswith("_")}


def _split(table: Table) -> Iterator[_History]:
    """The runs of a table: by their names and identifiers, and by steps that begin again."""
    who = [place for place, name in enumerate(table.names) if name in (*_NAMES, *_IDS)]
    title = next((table.place(name) for name in _NAMES if name in table.names), None)
    if title is None:
        title = next((table.place(name) for name in _IDS if name in table.names), None)
    groups: dict[tuple[str, ...], list[int]] = {}
    if not table.rows:
        groups[()] = []
    for row, values in enumerate(table.rows):
        key = tuple("" if is_empty(values[place]) else str(values[place]) for place in who)
        groups.setdefault(key, []).append(row)
    stem = Path(table.where).stem
    for key, rows in groups.items():
        for part in _by_cell(table, rows):
            named = stem if title is None or not rows else str(table.rows[rows[0]][title])
            for index, own in enumerate(_by_step(table, part, named)):
                first = table.lines[own[0]] if own else 1
                mark = ", ".join([*(k for k in key if k and k != named), f"{table.where}, row {first}"])
                mark = mark if index or key else table.where
                yield _History(named, _attributes(table, own), table, own, mark)


def _by_cell(table: Table, rows: list[int]) -> list[list[int]]:
    """Rows of one name, apart where the columns of the cell differ."""
    places = [place for place, name in enumerate(table.names) if name in _CELL]
    groups: dict[tuple[str, ...], list[int]] = {}
    said = {
        place: {str(table.rows[r][place]) for r in rows if not is_empty(table.rows[r][place])}
        for place in places
    }
    varying = [place for place in places if len(said[place]) > 1]
    for row in rows:
        for place in varying:
            where = f"{table.where}, row {table.lines[row]}, column {table.names[place]}"
            remedy = "several runs have one name: fill it in, or export an id"
            require(not is_empty(table.rows[row][place]), where, "must not be empty", "", remedy)
        groups.setdefault(tuple(str(table.rows[row][place]) for place in varying), []).append(row)
    return list(groups.values()) or [[]]


def _by_step(table: Table, rows: list[int], title: str) -> list[list[int]]:
    """Rows of one name and cell, cut where the steps begin again: there another run begins."""
    step = next((name for name in _STEPS if name in table.names), None)
    if step is None or not rows:
        return [rows]
    steps = table.numbers(table.place(step), rows)
    parts: list[list[int]] = [[]]
    last = -math.inf
    for row, value in zip(rows, steps, strict=True):
        if value is None:
            parts[-1].append(row)
            continue
        rule = f"a step of {title!r} must be there once"
        remedy = "several runs have that name and their rows are mixed: export a column `id`"
        require(value != last, f"{table.where}, row {table.lines[row]}, column {step}", rule, value, remedy)
        if value < last:
            parts.append([])
        parts[-1].append(row)
        last = value
    return parts


def _attributes(table: Table, rows: Sequence[int]) -> dict[str, str]:
    found = {}
    for place, name in enumerate(table.names):
        if name in _CELL:
            values = [table.rows[row][place] for row in rows if not is_empty(table.rows[row][place])]
            if values:
                found[name] = str(values[0])
    return found


def _run(history: _History, name: str, clock: str) -> Run:
    table = history.table
    there = name in table.names
    given = table.numbers(table.place(name), history.rows) if there else [None] * len(history.rows)
    begun, times, notes = _times(history, clock)
    logged = [(time, value) for time, value in zip(times, given, strict=True) if value is not None]
    untold = history.crashed is False or (history.crashed is None and not history.rows)
    absent = "for they never logged the metric, and nothing says that they failed"
    scores = tuple(Score(str(index), time, value) for index, (time, value) in enumerate(logged))
    return Run(
        history.title,
        history.attributes,
        begun,
        scores,
        ended=max(times, default=None),
        mark=history.mark,
        absent=absent if untold and not logged else "",
        notes=notes,
    )


def _times(history: _History, clock: str) -> tuple[float, list[float], tuple[str, ...]]:
    """When the run began, the time of every row, and what to say about it."""
    table, rows = history.table, history.rows
    if clock == COUNT or not rows:
        return 0.0, [float(place) for place in range(len(rows))], ()
    where = f"run {history.title!r} ({history.mark})"
    found = clock if clock != "wall" else next((name for name in _CLOCKS if name in table.names), None)
    rule = "must have one of the columns " + (clock if clock != "wall" else ", ".join(_CLOCKS))
    remedy = "export the run's history, or pass --time"
    require(found is not None and found in table.names, table.where, rule, table.names[:20], remedy)
    assert found is not None  # for the type checker
    times = _filled(table, rows, found, where)
    stamps = "_timestamp" if found == "_runtime" and "_timestamp" in table.names else None
    # Steps that run on say that it is one run; without them it may be several of one name.
    stamps = stamps if any(name in table.names for name in _STEPS) else None
    notes: tuple[str, ...] = ()
    if stamps is not None and any(later < time for time, later in itertools.pairwise(times)):
        begin = times[0]
        times = _filled(table, rows, stamps, where)
        times = [time - times[0] + begin for time in times]
        found = stamps
        notes = (f"{history.title}: taken up again; what lay between counts as time",)
    times = forward(times, where, found, _AGAIN, strict=True)
    begun = times[0] if found in _SINCE_EPOCH and not notes else 0.0
    if found == "_timestamp" and not notes and "_runtime" in table.names:
        begun -= min(t for t in table.numbers(table.place("_runtime"), rows) if t is not None)
    require(begun > 0 or times[0] >= 0, where, f"{found} must not be negative", times[0], _AGAIN)
    return begun, times, notes


def _filled(table: Table, rows: Sequence[int], name: str, where: str) -> list[float]:
    """The clock in every row; where a step did not log it, as before."""
    values = table.numbers(table.place(name), rows, dates=name in _SINCE_EPOCH)
    first = next((value for value in values if value is not None), None)
    require(first is not None, where, f"must have values of {name}", 0, "pass --time, or --time count")
    assert first is not None  # for the type checker
    filled, last = [], first
    for value in values:
        last = last if value is None else value
        filled.append(last)
    return filled


def _panel(table: Table) -> bool:
    return any(" - " in name for name in table.names)


def _from_panel(table: Table, metric: str | None, clock: str) -> Iterator[Run]:
    named = clock not in ("wall", COUNT)
    axis = clock if named else next((n for n in (*_CLOCKS, *_STEPS) if n in table.names), None)
    rule = f"must have {clock}" if named else f"must have Step or one of {', '.join(_CLOCKS[2:])}"
    remedy = "choose a time axis and export again"
    require(axis is not None and axis in table.names, table.where, rule, table.names[:5], remedy)
    assert axis is not None  # for the type checker
    require(bool(table.rows), table.where, "must hold at least one row", 0, "export the panel again")
    wide = [
        (place, *name.rpartition(" - ")[::2])
        for place, name in enumerate(table.names)
        if " - " in name and not name.endswith(("__MIN", "__MAX"))
    ]
    name = pick_metric(metric, {what for *_, what in wide})
    every = range(len(table.rows))
    times = forward(
        _filled(table, every, axis, table.where), table.where, axis, "sort the rows", strict=clock != COUNT
    )
    for place, title, what in wide:
        if what == name:
            values = zip(times, table.numbers(place, every), strict=True)
            logged = [(time, value) for time, value in values if value is not None]
            begun = times[0] if axis in _SINCE_EPOCH else 0.0
            if axis in _SINCE_EPOCH and logged:
                begun = logged[0][0]
            scores = tuple(Score(str(index), time, value) for index, (time, value) in enumerate(logged))
            mark = f"column {place + 1} of {table.where}"
            yield Run(title, {}, begun, scores, ended=times[-1], mark=mark)

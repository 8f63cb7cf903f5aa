"""From the runs of another tool to the long form that `hypernudge compare` reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from hypernudge.errors import InvalidArgumentError, require
from hypernudge.evidence.importers.naming import Naming, assign
from hypernudge.evidence.importers.runs import SHOWN, Direction, Run
from hypernudge.evidence.loading.csvtext import csv_text
from hypernudge.evidence.loading.longform_files import CONFIG, SUFFIXES
from hypernudge.results.files import replacing, write_text
from hypernudge.results.printable import abridged

Clock = Literal["wall", "count"]

_COLUMNS = ["task", "variation", "seed", "trial", "time", "score", "scheduler"]
_SKEW = 1.0
"""Seconds by which the clocks of two machines may differ: a score may seem that much older than its run."""


def long_form(
    runs: Iterable[Run], naming: Naming, clock: Clock = "wall", configurations: bool = False
) -> tuple[pd.DataFrame, str]:
    """Return the long form, and what was found: notes, one a line, and one line of counts.

    The time of a cell counts from the earliest of its runs. An attribute `scheduler` tells cells apart as
    well, and becomes a column where any run has one. A cell without a finite score stays: as a miss, by a
    row without score at the last moment that is known of it.

    Args:
        runs: What an importer read.
        naming: How cells are found.
        clock: "wall", seconds since the cell began, or "count", the number of scores so far.
        configurations: Whether each hyper-parameter becomes a column `config.NAME`.

    Raises:
        InvalidArgumentError: There is no run, nobody tells the configurations that are asked for, a cell
            cannot be told, two runs are one, a score is older than its run, or metrics disagree on direction.
    """
    read = list(runs)
    cells, notes = assign(read, naming)
    kept = [run for run in read if not run.absent]
    notes += [note for run in kept for note in run.notes]
    directions: set[Direction] = {run.direction for run in kept}
    rule = "all runs must agree on its direction"
    require(len(directions) <= 1, "--metric", rule, sorted(directions), "import them apart")
    rows, missed, count = [], [], 0
    tried: list[Mapping[str, Any]] = []
    for (task, variation, seed, scheduler), members in cells.items():
        begun = min(run.begun for run in members)
        # Several runs of one cell are its trials, unless they tell trials apart themselves.
        scores = sorted(
            (
                (
                    s.at - begun if clock == "count" else _since(begun, s.at, run),
                    f"{run.name}/{s.trial}" if len(members) > 1 else s.trial,
                    s.value,
                )
                for run in members
                for s in run.scores
            ),
            key=lambda score: score[0],
        )
        known = {
            f"{run.name}/{of.trial}" if len(members) > 1 else of.trial: of.config
            for run in members
            for of in run.tried
        }
        count += len(scores)
        if not any(math.isfinite(value) for *_, value in scores):
            missed.append(" ".join(part for part in (task, scheduler, variation, str(seed)) if part))
        if not scores:
            last = max(begun if run.ended is None else run.ended for run in members)
            scores = [(max(last - begun, 0.0), "", math.nan)]
        for place, (time, trial, value) in enumerate(scores, 1):
            when = time if clock == "wall" else float(place)
            rows.append((task, variation, seed, trial, when, value, scheduler))
            tried.append(known.get(trial, {}))
    require(bool(rows), "SOURCE", "must hold at least one score", 0, "check --metric and the source")
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    if not frame["scheduler"].any():
        frame = frame.drop(columns="scheduler")
    if configurations:
        names = list(dict.fromkeys(name for config in tried for name in config))
        rule = "needs hyper-parameters, which Optuna, Ray Tune and Syne Tune record"
        require(bool(names), "--configurations", rule, "none", "leave it out")
        for name in names:
            frame[CONFIG + name] = [_cell(config.get(name, "")) for config in tried]
    if missed:
        notes.append(
            f"{len(missed)} cells have no finite score and stay, as misses: {abridged(missed, SHOWN)}"
        )
    unscored = sum(run.unscored for run in kept)
    dropped = f"; {unscored} trials without a score left out" if unscored else ""
    smaller = "; smaller is better: compare with --minimise" if directions == {"minimise"} else ""
    said = "".join(f"note: {note}\n" for note in notes)
    return frame, f"{said}{count} scores of {len(cells)} cells{dropped}{smaller}"


def _cell(value: Any) -> Any:
    """Return a hyper-parameter's value as a table can hold it: what is no number as text."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _since(begun: float, at: float, run: Run) -> float:
    """Seconds since the cell began."""
    time = at - begun
    rule = f"a score of {run.name!r} must not be older than the run"
    remedy = "the clocks of two machines differ, or the run was taken up again: pass --time count"
    require(math.isfinite(time) and time >= -_SKEW, "SOURCE", rule, f"{time:g} s", remedy)
    return max(time, 0.0)


def write_long_form(frame: pd.DataFrame, path: Path) -> None:
    """Write CSV, JSONL or Parquet, by suffix; never over a file that exists.

    Raises:
        InvalidArgumentError: Another suffix, or the file exists.
    """
    check_output(path)
    suffix = path.suffix.lower()
    if suffix == ".csv":
        write_text(path, csv_text(frame))
    elif suffix == ".jsonl":
        write_text(path, frame.to_json(orient="records", lines=True, double_precision=15))
    else:
        with replacing(path) as file:
            frame.to_parquet(file, index=False)


def check_output(path: Path) -> None:
    """Refuse, before anything is read, a file that cannot be written.

    Raises:
        InvalidArgumentError: Another suffix, the file exists, or Parquet cannot be written here.
    """
    suffix = path.suffix.lower()
    require(suffix in SUFFIXES, "--output", f"must end in one of {SUFFIXES}", path.name, "rename it")
    taken = path.exists() or path.is_symlink()
    require(not taken, "--output", "must not exist yet", str(path), "choose another name")
    above = next((part for part in path.parents if part.exists()), None)
    folder = above is None or above.is_dir()
    require(folder, "--output", f"must lie in a directory, and {above} is none", str(path), "choose another")
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise InvalidArgumentError(
                "--output: writing Parquet needs pyarrow, which is not installed; "
                "install hypernudge[parquet], or write CSV"
            ) from None

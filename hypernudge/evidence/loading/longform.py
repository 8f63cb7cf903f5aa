"""Anybody's results in long form: read, checked, and refused or flagged with row and column.

One row is one score of one run. Five columns are required, three may be there:

    task,variation,seed,time,score        [trial, scheduler, hardware]
    digits,baseline,0,12.5,0.81
    digits,baseline,0,25.1,0.93
    digits,mine,0,9.8,0.84

Rows of one cell (task, scheduler, variation, seed) stand in the order of their times. A row number is what an
editor shows: the header of a CSV is row 1, the first line of a JSONL file is row 1.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hypernudge.errors import require
from hypernudge.evidence.loading.issue import Issue
from hypernudge.evidence.loading.longform_files import REQUIRED, RawRows, check_once, read_rows
from hypernudge.evidence.loading.wording import is_text, number_remedy

CELL = ["task", "scheduler", "variation", "seed"]
_LISTED = 5


@dataclass(frozen=True)
class LongForm:
    """Checked results.

    Attributes:
        frame: Columns task, scheduler, variation (categories), seed (int), time, score (float) and `row`, the
            line of the file; ordered as the file.
        flags: What was kept in spite of a doubt.
    """

    frame: pd.DataFrame
    flags: tuple[Issue, ...]


def read_long_form(path: Path, *, wall_clock: bool = True) -> LongForm:
    """Read and check a CSV, Parquet or JSONL file.

    Args:
        path: The file; its suffix decides the format.
        wall_clock: Whether `time` is measured in seconds; then all rows of a task must stem from one kind of
            hardware. False for a deterministic clock (FLOPs, samples, epochs).

    Raises:
        InvalidArgumentError: The file or a column is missing, or a row breaks a rule; the message names row
            and column.
    """
    return check_long_form(read_rows(path), wall_clock=wall_clock)


def check_long_form(raw: RawRows | pd.DataFrame, *, wall_clock: bool = True) -> LongForm:
    """Check all rows at once; the tests hold it to a walk row by row.

    Args:
        raw: Rows of a file, or a frame, whose first row is row 1; at least the columns of `REQUIRED`, unknown
            ones are ignored.
        wall_clock: As in `read_long_form`.

    Raises:
        InvalidArgumentError: With row and column, for a missing column, an empty label, a seed that is no
            whole number, a time that is negative, not finite or goes backwards within its cell, a score that
            is no number, a duplicated entry, or mixed hardware on the wall clock.
    """
    if isinstance(raw, pd.DataFrame):
        raw = RawRows(raw, np.arange(1, len(raw) + 1, dtype=np.int64))
    given = raw.frame
    require(len(given) > 0, "FILE", "must hold at least one row", 0, "export the results again")
    names = [str(name) for name in given.columns]
    missing = [name for name in REQUIRED if name not in names]
    remedy = f"add {', '.join(missing)}, or rename what holds it"
    require(not missing, "FILE", f"columns {', '.join(REQUIRED)} must be there", sorted(names), remedy)
    check_once(names, "FILE")
    given = given.reset_index(drop=True)
    frame = pd.DataFrame({"row": raw.lines})
    for name in ("task", "variation", "scheduler", "trial", "hardware"):
        if name in names and given[name].dtype == object:
            nested = given[name].map(lambda value: not isinstance(value, Hashable)).to_numpy(dtype=bool)
            _refuse(nested, frame["row"], name, "must be one name", given[name], "write text or a number")
    for name in ("task", "variation", "scheduler"):
        frame[name] = _labels(given[name], name, frame["row"]) if name in names else _nothing(len(given))
    frame["seed"] = _seeds(given["seed"], frame["row"])
    frame["time"] = _times(given["time"], frame["row"])
    frame["score"], flags = _scores(given["score"], frame["row"])
    trial = pd.factorize(given["trial"])[0] if "trial" in names else None
    _check_order(frame, trial)
    flags += _hardware(given, frame, wall_clock)
    return LongForm(frame, (*raw.problems, *flags))


def _refuse(
    bad: NDArray[np.bool_], rows: pd.Series, column: str, rule: str, values: pd.Series, remedy: str
) -> None:
    """Raise for the first bad row, saying how many there are."""
    if not bad.any():
        return
    first = int(np.argmax(bad))
    count = int(bad.sum())
    more = f" (and {count - 1} more rows)" if count > 1 else ""
    value = values.iloc[first]
    value = value.item() if isinstance(value, np.generic) else value
    require(False, f"row {rows.iloc[first]}, column {column}{more}", rule, value, remedy)


def _labels(values: pd.Series, name: str, rows: pd.Series) -> pd.Series:
    """Names as categories: a million of them in a few megabytes, and grouping by integers."""
    given = values if isinstance(values.dtype, pd.CategoricalDtype) else values.astype("category")
    names = given.cat.categories.astype(str).str.strip()
    categories, place = np.unique(names.to_numpy(dtype=str), return_inverse=True)
    codes = given.cat.codes.to_numpy()
    bad = codes < 0
    if "" in categories:
        bad = bad | (names.to_numpy(dtype=str)[codes] == "")
    _refuse(bad, rows, name, "must not be empty", values, "name it")
    broken = np.array([not is_text(category) for category in categories], dtype=bool)
    if broken.any():
        _refuse(broken[place[codes]], rows, name, "must be a name, in UTF-8", values, "rename it")
    return pd.Series(pd.Categorical.from_codes(place[codes], categories=pd.Index(categories, dtype=object)))


def _nothing(count: int) -> pd.Series:
    return pd.Series(pd.Categorical.from_codes(np.zeros(count, dtype=np.int8), categories=pd.Index([""])))


def _numbers(values: pd.Series, name: str, rows: pd.Series) -> NDArray[np.float64]:
    kinds = pd.api.types
    if kinds.is_bool_dtype(values.dtype) or kinds.is_datetime64_any_dtype(values.dtype):
        remedy = "write it as a number (times: seconds since the cell began)"
        _refuse(np.ones(len(values), dtype=bool), rows, name, "must be a number", values, remedy)
    try:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    except (TypeError, OverflowError):  # lists, mappings, digits without end
        numbers = pd.to_numeric(values.astype(str), errors="coerce").to_numpy(dtype=np.float64)
    text = np.isnan(numbers)
    if text.any():
        bad = text & ~_says_nan(values)
        if bad.any():
            remedy = number_remedy(str(values.iloc[int(np.argmax(bad))]), name)
            _refuse(bad, rows, name, "must be a number", values, remedy)
    return numbers


def _says_nan(values: pd.Series) -> NDArray[np.bool_]:
    missing: NDArray[np.bool_] = values.isna().to_numpy()
    if values.dtype == object:
        missing = (
            missing | values.astype(str).str.strip().str.lower().isin(["nan", "null", "none", ""]).to_numpy()
        )
    return missing


def _seeds(values: pd.Series, rows: pd.Series) -> NDArray[np.int64]:
    numbers = _numbers(values, "seed", rows)
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)) & (numbers >= 0) & (numbers < 2**53))
    rule = "must be a whole number >= 0 and below 2^53"
    _refuse(bad, rows, "seed", rule, values, "runs are paired by it: write it")
    return numbers.astype(np.int64)


def _times(values: pd.Series, rows: pd.Series) -> NDArray[np.float64]:
    numbers = _numbers(values, "time", rows)
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(numbers) & (numbers >= 0))
    _refuse(bad, rows, "time", "must be finite and >= 0", values, "time since the cell began")
    return numbers


def _scores(values: pd.Series, rows: pd.Series) -> tuple[NDArray[np.float64], list[Issue]]:
    numbers = _numbers(values, "score", rows)
    unusable = ~np.isfinite(numbers)
    if not unusable.any():
        return numbers, []
    _refuse(
        unusable & bool(unusable.all()),
        rows,
        "score",
        "some score must be a number",
        values,
        "check the export",
    )
    listed = ", ".join(str(row) for row in rows[unusable].iloc[:_LISTED])
    count = int(unusable.sum())
    where = f"row {listed}{', ...' if count > _LISTED else ''}, column score"
    rule = f"{count} of {numbers.size} scores are NaN or infinite"
    flag = Issue(where, rule, "kept as diverged: such a score never becomes the best so far")
    return np.where(unusable, np.nan, numbers), [flag]


def _check_order(frame: pd.DataFrame, trial: NDArray[Any] | None) -> None:
    cell = frame.groupby(CELL, sort=False, observed=True).ngroup().to_numpy()
    order = np.argsort(cell, kind="stable")
    time, of = frame["time"].to_numpy()[order], cell[order]
    same = of[1:] == of[:-1]
    keys: dict[str, Any] = {"cell": cell, "time": frame["time"].to_numpy()}
    if trial is not None:
        keys["trial"] = trial
    twice = pd.DataFrame(keys).duplicated().to_numpy()
    if twice.any():
        at = int(np.argmax(twice))
        equal = np.all([np.asarray(key) == np.asarray(key)[at] for key in keys.values()], axis=0)
        first = frame["row"].iloc[int(np.argmax(equal))]
        remedy = (
            "drop one of them"
            if trial is not None
            else "drop one, or add a column `trial` that tells them apart"
        )
        more = int(twice.sum()) - 1
        require(
            False,
            f"row {frame['row'].iloc[at]}, columns {', '.join(keys)}",
            f"an entry must be there once, it repeats row {first}"
            + (f" (and {more} more rows repeat others)" if more else ""),
            _name(frame, at),
            remedy,
        )
    backwards = np.zeros(len(frame), dtype=bool)
    backwards[order[1:][same & (time[1:] < time[:-1])]] = True
    if backwards.any():
        at = int(np.argmax(backwards))
        require(
            False,
            f"row {frame['row'].iloc[at]}, column time",
            f"time must not go backwards within {_name(frame, at)}",
            float(frame["time"].iloc[at]),
            "sort its rows by time, remove what a restart repeated, or give a second run its own seed",
        )


def _name(frame: pd.DataFrame, at: int) -> str:
    row = frame.iloc[at]
    parts = [row["task"], row["scheduler"], row["variation"], f"seed {row['seed']}"]
    return ", ".join(str(part) for part in parts if str(part))


def _hardware(raw: pd.DataFrame, frame: pd.DataFrame, wall_clock: bool) -> list[Issue]:
    if not wall_clock:
        return []
    if "hardware" not in raw.columns:
        rule = "is missing: nobody can tell whether all times stem from one machine"
        return [Issue("column hardware", rule, "compared as if they did")]
    kind, task = pd.factorize(raw["hardware"])[0], frame["task"].cat.codes.to_numpy()
    _, begins, of = np.unique(task, return_index=True, return_inverse=True)
    _refuse(
        kind != kind[begins[of]],
        frame["row"],
        "hardware",
        "wall-clock times of a task must stem from one kind of hardware",
        raw["hardware"],
        "compare each kind apart, or pass --clock declared if time counts work instead of seconds",
    )
    return []

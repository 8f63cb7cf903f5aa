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

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hypernudge.errors import InvalidArgumentError, require

REQUIRED = ("task", "variation", "seed", "time", "score")
OPTIONAL = ("trial", "scheduler", "hardware")
CELL = ["task", "scheduler", "variation", "seed"]
SUFFIXES = (".csv", ".parquet", ".jsonl")
_LISTED = 5


@dataclass(frozen=True)
class Flag:
    """Something that is kept, but that a reader of the verdict must know.

    Attributes:
        where: Row and column, or cell, concerned.
        rule: What is wrong.
        consequence: What was done about it.
    """

    where: str
    rule: str
    consequence: str


@dataclass(frozen=True)
class LongForm:
    """Checked results.

    Attributes:
        frame: Columns task, scheduler, variation (strings), seed (int), time, score (float) and `row`, the
            line of the file; ordered as the file.
        flags: What was kept in spite of a doubt.
    """

    frame: pd.DataFrame
    flags: tuple[Flag, ...]


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
    require(path.is_file(), "FILE", "must exist", str(path), "check the path")
    suffix = path.suffix.lower()
    require(suffix in SUFFIXES, "FILE", f"must end in one of {SUFFIXES}", path.name, "convert or rename it")
    if suffix == ".csv":
        frame, first = _read_csv(path), 2
    elif suffix == ".jsonl":
        frame, first = _read_jsonl(path), 1
    else:
        frame, first = _read_parquet(path), 1
    return check_long_form(frame, first_row=first, wall_clock=wall_clock)


def check_long_form(raw: pd.DataFrame, *, first_row: int = 1, wall_clock: bool = True) -> LongForm:
    """Check a frame, all rows at once; the tests hold it to a walk row by row.

    Args:
        raw: At least the columns of `REQUIRED`; unknown ones are ignored.
        first_row: What to call the first row in messages.
        wall_clock: As in `read_long_form`.

    Raises:
        InvalidArgumentError: With row and column, for a missing column, an empty label, a seed that is no
            whole number, a time that is negative, not finite or goes backwards within its cell, a score that
            is no number, a duplicated entry, or mixed hardware on the wall clock.
    """
    missing = [name for name in REQUIRED if name not in raw.columns]
    remedy = f"the file has {sorted(map(str, raw.columns))}; rename its columns"
    require(not missing, "FILE", f"columns {', '.join(REQUIRED)} must be there", missing, remedy)
    require(len(raw) > 0, "FILE", "must hold at least one row", 0, "export the results again")
    raw = raw.reset_index(drop=True)
    frame = pd.DataFrame({"row": np.arange(first_row, first_row + len(raw))})
    for name in ("task", "variation"):
        frame[name] = _labels(raw[name], name, frame["row"])
    frame["scheduler"] = (
        _labels(raw["scheduler"], "scheduler", frame["row"]) if "scheduler" in raw.columns else ""
    )
    frame["scheduler"] = frame["scheduler"].astype("category")
    frame["seed"] = _seeds(raw["seed"], frame["row"])
    frame["time"] = _times(raw["time"], frame["row"])
    frame["score"], flags = _scores(raw["score"], frame["row"])
    trial = raw["trial"].astype(str).to_numpy() if "trial" in raw.columns else None
    _check_order(frame, trial)
    flags += _hardware(raw, frame, wall_clock)
    return LongForm(frame, tuple(flags))


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, skip_blank_lines=False, encoding="utf-8", float_precision="round_trip")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(
            f"FILE: {path.name} must be comma-separated UTF-8 with a header, but: {_line(error)}; correct it"
        ) from None


def _read_jsonl(path: Path) -> pd.DataFrame:
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                reason = _line(error)
                raise InvalidArgumentError(
                    f"FILE, row {number}: must be JSON, but: {reason}; fix it"
                ) from None
            ok = isinstance(row, dict)
            require(ok, f"FILE, row {number}", "must be a JSON object", row, "write one object per line")
            rows.append(row)
    return pd.DataFrame(rows)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow.parquet
    except ImportError:
        raise InvalidArgumentError(
            "FILE: reading Parquet needs pyarrow, which is not installed; "
            "install hypernudge[parquet], or convert the file to CSV"
        ) from None
    try:
        frame: pd.DataFrame = pyarrow.parquet.read_table(path).to_pandas()
    except (pyarrow.ArrowInvalid, OSError) as error:
        reason = _line(error)
        raise InvalidArgumentError(
            f"FILE: {path.name} must be Parquet, but: {reason}; write it again"
        ) from None
    return frame


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


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
    bad = values.isna().to_numpy() | (values.astype(str).str.strip() == "").to_numpy()
    _refuse(bad, rows, name, "must not be empty", values, "name it")
    # Categories: a million labels in a few megabytes, and grouping by integers.
    return values.astype(str).astype("category")


def _numbers(values: pd.Series, name: str, rows: pd.Series) -> NDArray[np.float64]:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    text = np.isnan(numbers) & ~_says_nan(values)
    _refuse(text, rows, name, "must be a number", values, "correct it")
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
        bad = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)) & (numbers >= 0))
    _refuse(bad, rows, "seed", "must be a whole number >= 0", values, "runs are paired by it: write it")
    return numbers.astype(np.int64)


def _times(values: pd.Series, rows: pd.Series) -> NDArray[np.float64]:
    numbers = _numbers(values, "time", rows)
    with np.errstate(invalid="ignore"):
        bad = ~(np.isfinite(numbers) & (numbers >= 0))
    _refuse(bad, rows, "time", "must be finite and >= 0", values, "time since the cell began")
    return numbers


def _scores(values: pd.Series, rows: pd.Series) -> tuple[NDArray[np.float64], list[Flag]]:
    numbers = _numbers(values, "score", rows)
    unusable = ~np.isfinite(numbers)
    if not unusable.any():
        return numbers, []
    listed = ", ".join(str(row) for row in rows[unusable].iloc[:_LISTED])
    count = int(unusable.sum())
    where = f"row {listed}{', ...' if count > _LISTED else ''}, column score"
    rule = f"{count} of {numbers.size} scores are NaN or infinite"
    flag = Flag(where, rule, "kept as diverged: such a score never becomes the best so far")
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
        first = frame[(cell == cell[at]) & (frame["time"] == frame["time"].iloc[at])]["row"].iloc[0]
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
            "sort its rows by time, or remove what a restart repeated",
        )


def _name(frame: pd.DataFrame, at: int) -> str:
    row = frame.iloc[at]
    parts = [row["task"], row["scheduler"], row["variation"], f"seed {row['seed']}"]
    return ", ".join(str(part) for part in parts if str(part))


def _hardware(raw: pd.DataFrame, frame: pd.DataFrame, wall_clock: bool) -> list[Flag]:
    if not wall_clock:
        return []
    if "hardware" not in raw.columns:
        rule = "no column hardware: nobody can tell whether all times stem from one machine"
        return [Flag("column hardware", rule, "compared as if they did")]
    hardware = raw["hardware"].fillna("").astype(str)
    mixed = hardware.groupby(frame["task"].to_numpy(), observed=True).transform("first") != hardware
    _refuse(
        mixed.to_numpy(),
        frame["row"],
        "hardware",
        "wall-clock times of a task must stem from one kind of hardware",
        hardware,
        "compare each kind apart, or pass --clock declared if time counts work instead of seconds",
    )
    return []

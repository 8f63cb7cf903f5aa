"""CSV for people: text that no spreadsheet takes for a formula; numbers stay numbers, with all digits."""

from __future__ import annotations

import pandas as pd

from hypernudge.results.printable import for_csv, from_csv


def csv_text(frame: pd.DataFrame) -> str:
    """Return a frame as CSV, text guarded; `unguarded` undoes it, column by column."""
    guarded = {
        name: frame[name].astype(object).map(_guarded)
        for name in frame.columns
        if not pd.api.types.is_numeric_dtype(frame[name])
    }
    return str(frame.assign(**guarded).to_csv(index=False, lineterminator="\n"))


def _guarded(value: object) -> object:
    return for_csv(value) if isinstance(value, str) else value


def unguarded(column: pd.Series) -> pd.Series:
    """Return a categorical column of text as it was before it was guarded."""
    names = [str(name) for name in column.cat.categories]
    if all(from_csv(name) == name for name in names):
        return column
    return column.map(from_csv).astype("category")

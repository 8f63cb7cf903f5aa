"""Files of a table: CSV (full precision), Markdown and LaTeX (rounded).

LaTeX has the columns that fit a page; CSV and Markdown have them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from hypernudge.evidence.loading.csvtext import csv_text
from hypernudge.evidence.report.tables import Table
from hypernudge.results.files import write_text
from hypernudge.results.printable import for_latex, for_markdown

PAGE = 10
"""Columns that fit a page beside each other."""

BESIDE_A_PAGE = (
    *("planned", "median ratio", "p", "AUC diff", "AUC p", "AUC Holm p", "memory ratio", "wall ratio"),
    *("final diff % typical", "final diff % worst", "final not worse p", "crashed", "T q25 [s]", "T q75 [s]"),
    *("trials", "diverged %", "nudged %", "not met", "open", "aggregate of"),
)
"""Columns that LaTeX does without, where it has others of the same table."""


def write_table(table: Table, directory: Path) -> list[Path]:
    """Write CSV, Markdown and LaTeX of the same frame; returns the three paths."""
    texts = {
        "csv": csv_text(table.frame),
        "md": to_markdown(table.frame),
        "tex": to_latex(for_page(table.frame)),
    }
    paths = []
    for suffix, text in texts.items():
        path = directory / f"{table.name}.{suffix}"
        write_text(path, text)
        paths.append(path)
    return paths


def to_markdown(frame: pd.DataFrame) -> str:
    """A pipe table; numbers right-aligned and rounded."""
    numeric = _numeric(frame)
    rule = ["---:" if number else "---" for number in numeric]
    head = [str(name).replace("|", r"\|") for name in frame.columns]
    cells = [
        [text if number else for_markdown(text) for text, number in zip(row, numeric, strict=True)]
        for row in rounded(frame)
    ]
    return "".join("| " + " | ".join(row) + " |\n" for row in [head, rule, *cells])


def for_page(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of a table that fit a printed page: each estimate with its interval in one column.

    A table of few columns keeps them all.
    """
    columns: dict[str, Any] = {}
    texts = pd.DataFrame(rounded(frame), columns=list(frame.columns), index=frame.index)
    left_out = {f"{name} {end}" for name in frame.columns for end in ("low", "high")}
    if len(frame.columns) > PAGE:
        left_out |= {*BESIDE_A_PAGE, *(str(name) for name in texts if (texts[name] == "").all())}
        if "final diff %" in texts and (texts["final diff %"] != "").all():
            left_out.add("final diff")  # the same, in other units
    for name in frame.columns:
        if name in left_out:
            continue
        if name == "reached base":
            both = zip(texts[name], texts["reached method"], strict=True)
            columns["reached"] = [f"{base} to {method}" for base, method in both]
            left_out.add("reached method")
        elif f"{name} low" in frame.columns:
            low, high = texts[f"{name} low"], texts[f"{name} high"]
            limits = [f" [{a}, {b}]" if a and b else "" for a, b in zip(low, high, strict=True)]
            columns[name] = [a + b for a, b in zip(texts[name], limits, strict=True)]
        else:
            columns[name] = frame[name]
    return pd.DataFrame(columns, index=frame.index)


def to_latex(frame: pd.DataFrame) -> str:
    """A booktabs `tabular` without float or caption, for `input` in a paper."""
    alignment = "".join("r" if numeric else "l" for numeric in _numeric(frame))
    header, *rows = ([for_latex(str(c)) for c in row] for row in [list(frame.columns), *rounded(frame)])
    lines = [f"\\begin{{tabular}}{{{alignment}}}", "\\toprule", " & ".join(header) + r" \\", "\\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _numeric(frame: pd.DataFrame) -> list[bool]:
    return [pd.api.types.is_numeric_dtype(frame[column]) for column in frame.columns]


def rounded(frame: pd.DataFrame) -> list[list[str]]:
    """Every cell as text, with the digits that its column deserves; empty where undefined."""
    return [
        [_cell(name, value) for name, value in zip(frame.columns, row, strict=True)]
        for row in frame.to_numpy()
    ]


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if not isinstance(value, float):
        return str(value)
    if name == "p" or name.endswith(" p"):
        return "<0.0001" if value < 1e-4 else f"{value:.4f}"
    if name.endswith("[s]"):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    text = (
        f"{value:.4f}"
        if name in ("validation", "final diff", "test", "AUC", "AUC diff", "target")
        else f"{value:.3f}"
    )
    # A rounded -0.000 would suggest a direction.
    return text.removeprefix("-") if float(text) == 0 else text

"""A comparison as plain text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypernudge.evidence.verdicts.verdict import LABELS
from hypernudge.results.printable import printable

Event = dict[str, Any]


def comparison_text(events: Sequence[Event]) -> str:
    """Flags, one row per comparison, one line per verdict; read from the events, never computed again."""
    of = {
        kind: [e for e in events if e["event"] == kind]
        for kind in ("problem", "comparison", "figure", "verdict")
    }
    lines = [f"note: {p['where']}: {p['rule']}; {p['consequence']}" for p in of["problem"]]
    head = ("task", "method", "pairs", "reached", "time ratio [95 %]", "Holm p", "final", "worst pair")
    rows = [[*head, "verdict"]]
    for c in of["comparison"]:
        time = c["time_to_target"]
        rows.append(
            [
                " / ".join(part for part in (c["task"], c["scheduler"]) if part),
                c["warm_start"],
                f"{c['pairs']}/{c['planned_pairs']}",
                f"{c['reached_baseline']} -> {c['reached_method']}",
                interval(time["ratio"]),
                f"{time['p_holm']:.4f}",
                percent(c["final_score"]["relative_difference"]["estimate"]),
                percent(c["final_score"]["not_worse"]["worst_pair"]),
                c["verdict"],
            ]
        )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    for c in of["comparison"]:
        where = " / ".join(part for part in (c["task"], c["scheduler"], c["warm_start"]) if part)
        lines += [f"note: {where}: {note}" for note in c["notes"]]
    for v in of["verdict"]:
        what = f"{v['verdict'].upper()}, time ratio {interval(v['ratio'])}"
        if v["tuples"] > 1:
            counts = ", ".join(f"{v[label]} {label}" for label in LABELS if v[label])
            what += f"; of {v['tuples']} settings {counts}"
        lines.append(f"{v['method']} against {v['baseline']}: {what} ({v['reason']})")
    lines += [f"figure {f['file']}: {f['shows']}" for f in of["figure"]]
    lines.append("The criteria were not declared before these runs: treat the verdict as exploratory.")
    return "\n".join(printable(line) for line in lines) + "\n"


def interval(value: dict[str, float | None]) -> str:
    """`0.81 [0.70, 0.93]`, as far as it is defined."""
    if value["estimate"] is None:
        return "-"
    if value["low"] is None or value["high"] is None:
        return f"{value['estimate']:.2f} [-]"
    return f"{value['estimate']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def percent(value: float | None) -> str:
    """A share as a signed percentage."""
    return "-" if value is None else f"{100 * value:+.2f} %"

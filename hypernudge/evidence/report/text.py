"""A comparison, or the evaluation of a study, as plain text for a terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hypernudge.evidence.report.bill import bill_line
from hypernudge.evidence.statistics.noninferiority import percent
from hypernudge.evidence.verdicts.verdict import LABELS
from hypernudge.results.printable import counted, printable

Event = dict[str, Any]

_FILES = ("table", "figure", "report")


def comparison_text(events: Sequence[Event]) -> str:
    """Flags, one row per comparison, one line per verdict; read from the events, never computed again."""
    of = _by_kind(events)
    lines = [*_flags(of["problem"]), *_table(of["comparison"]), *_notes(of["comparison"])]
    for v in of["verdict"]:
        what = f"{v['verdict'].upper()}, time ratio {interval(v['ratio'])}"
        if v["tuples"] > 1:
            counts = ", ".join(f"{v[label]} {label}" for label in LABELS if v[label])
            what += f"; of {v['tuples']} settings {counts}"
        lines.append(f"{v['method']} against {v['baseline']}: {what} ({v['reason']})")
    lines += [f"{f['event']} {f['file']}: {f['shows']}" for k in _FILES for f in of[k]]
    lines.append("The criteria were not declared before these runs: treat the verdict as exploratory.")
    return _printable(lines)


def evaluation_text(evaluation: Mapping[str, Any]) -> str:
    """The verdicts on a study: flags, one row per comparison, one line per method.

    Args:
        evaluation: What `evaluation.json` holds.
    """
    compared, criteria = evaluation["comparisons"], evaluation["criteria"]
    lines = [*_flags(evaluation["problems"]), *_notes(compared)]
    for kind in ("table", "figure"):
        if evaluation[f"{kind}s"]:
            lines.append(f"{counted(len(evaluation[f'{kind}s']), kind)} in {kind}s/")
    lines += _table(compared) if compared else ["no method is compared with a baseline"]
    for method in dict.fromkeys(k["warm_start"] for k in criteria):
        own = [k for k in criteria if k["warm_start"] == method]
        baseline = next(c["baseline"] for c in compared if c["warm_start"] == method)
        judged = "; ".join(
            f"{k['criterion'].replace('_', ' ')} {k['judgement']} ({k['met']} of {k['planned']})" for k in own
        )
        lines.append(f"{method} against {baseline}: {judged}")
    cost = bill_line(s["bill"] for s in evaluation["summaries"] if "bill" in s)
    lines += [cost] if cost else []
    if evaluation["status"] == "incomplete":
        lines.append(f"INCOMPLETE: {counted(evaluation['cells']['missing'], 'cell')} missing")
    return _printable(lines)


def _by_kind(events: Sequence[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event["event"]].append(event)
    return found


def _printable(lines: Iterable[str]) -> str:
    return "\n".join(printable(line) for line in lines) + "\n"


def _flags(problems: Iterable[Event]) -> list[str]:
    return [f"note: {p['where']}: {p['rule']}; {p['consequence']}" for p in problems]


def _notes(compared: Iterable[Event]) -> Iterator[str]:
    for c in compared:
        where = " / ".join(part for part in (c["task"], c["scheduler"], c["warm_start"]) if part)
        yield from (f"note: {where}: {note}" for note in c["notes"])


def _table(compared: Iterable[Event]) -> Iterator[str]:
    """One row per comparison."""
    head = ("task", "method", "pairs", "reached", "time ratio [95 %]", "Holm p", "final", "worst pair")
    rows = [[*head, "verdict"]]
    for c in compared:
        time = c["time_to_target"]
        rows.append(
            [
                " / ".join(part for part in (c["task"], c["scheduler"]) if part),
                c["warm_start"],
                f"{c['pairs']}/{c['planned_pairs']}",
                f"{c['reached_baseline']} -> {c['reached_method']}",
                interval(time["ratio"]),
                "<0.0001" if time["p_holm"] < 1e-4 else f"{time['p_holm']:.4f}",
                _difference(c["final_score"], c["final_score"]["relative_difference"]["estimate"]),
                _difference(c["final_score"], c["final_score"]["not_worse"]["worst_pair"]),
                c["verdict"],
            ]
        )
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def interval(value: dict[str, float | None]) -> str:
    """`0.81 [0.70, 0.93]`, as far as it is defined."""
    if value["estimate"] is None:
        return "-"
    if value["low"] is None or value["high"] is None:
        return f"{value['estimate']:.2f} [-]"
    return f"{value['estimate']:.2f} [{value['low']:.2f}, {value['high']:.2f}]"


def _difference(final: Mapping[str, Any], share: float | None) -> str:
    """A difference of the final score, as `Relative.shown` writes it."""
    if share is None:
        return "-"
    return f"{share * final['relative_to']['score']:+.3g} abs." if final["near_zero"] else percent(share)

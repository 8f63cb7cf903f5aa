"""The published comparisons, judged by the rule for the final score that they were judged by, and by today's.

    python -m benchmarks.evidence.published --output benchmarks/results/evidence

The published cells (time, whether reached, final score, share of cost of every seed) make a study again, and
its ratios are held against those published. Both rules judge it with the published p values, for published
times are rounded and then tie where they did not. The old rule was Student's one-sided interval of the mean
difference, relative to the baseline's mean. Files of scores over time are compared as they are.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.evidence.rejudged import RESULTS, blocks, criteria_rows, judged, rows, tool_rows
from hypernudge.evidence.report.formats import to_markdown
from hypernudge.evidence.verdicts.verdict import LABELS
from hypernudge.results.files import write_text


def summary(found: Sequence[dict[str, Any]], criteria: Sequence[dict[str, Any]]) -> str:
    """Markdown: counts per block, every comparison and every criterion whose judgement changes."""
    counts: list[dict[str, Any]] = []
    for name in dict.fromkeys(row["block"] for row in found):
        own = [row for row in found if row["block"] == name]
        old, new = (Counter(row[which] for row in own) for which in ("published", "new"))
        counts.append(
            {
                "block": name,
                "comparisons": len(own),
                **{label: f"{old[label]} -> {new[label]}" for label in LABELS if old[label] or new[label]},
                "not worse": f"{sum(r['not worse, old'] for r in own)} -> "
                f"{sum(r['not worse, new'] for r in own)}",
            }
        )
    whole = pd.DataFrame(counts).fillna("0 -> 0")
    differ = [row for row in found if row["published"] != row["new"]]
    shift = [row for row in found if row["not worse, old"] != row["not worse, new"]]
    same = sum(row["published"] == row["old"] for row in found)
    changed = [row for row in criteria if row["published"] != row["new"]]
    numbers = ("Student %", "typical %", "mean %", "worst %")
    parts = [
        "# Published verdicts by the old and the new rule for the final score",
        "",
        f"Made by `python -m benchmarks.evidence.published` from the published cells: {len(found)} "
        f"comparisons. Made again, {sum(r['same ratio'] for r in found)} have the published ratio, and the "
        f"old rule gives the published verdict in {same}.",
        "",
        to_markdown(whole),
        f"Verdicts that differ: {len(differ)}.",
        "",
    ]
    columns = ["block", "task", "scheduler", "method", "ratio", "Holm p", *numbers, "published", "new"]
    if differ:
        parts.append(to_markdown(pd.DataFrame(differ)[columns]))
    parts += [
        f"Final scores that are shown to be not worse by one rule only: {len(shift)}. Bounds in percent: "
        "Student's, typical pair, mean; then the worst pair.",
        "",
    ]
    if shift:
        columns = ["block", "task", "scheduler", "method", *numbers, "not worse, old", "not worse, new"]
        parts.append(to_markdown(pd.DataFrame(shift)[columns]))
    parts += [
        f"Judgements of the criteria of time and final score that differ: {len(changed)} of {len(criteria)}.",
        "",
    ]
    if changed:
        parts.append(to_markdown(pd.DataFrame(changed)))
    return "\n".join(parts)


def main() -> int:
    """Judge again, print the summary, write it and the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evidence.published", description=__doc__)
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="also write verdicts.csv and verdicts.md"
    )
    options = parser.parse_args()
    both = [(judged(block), block.folder) for block in blocks()]
    found = [row for block, _ in both for row in rows(block)]
    first = RESULTS / "tools_effect" / "first_edition"  # what came later was judged by the new rule
    for folder in (first, first / "architecture"):
        found += tool_rows(folder)
    criteria = [row for block, folder in both for row in criteria_rows(block, folder)]
    text = summary(found, criteria)
    sys.stdout.write(text)
    if options.output is not None:
        write_text(options.output / "verdicts.md", text)
        write_text(options.output / "verdicts.csv", _csv(found))
        write_text(options.output / "verdicts_criteria.csv", _csv(criteria))
    sys.stdout.write(json.dumps({"comparisons": len(found), "criteria": len(criteria)}) + "\n")
    return 0


def _csv(found: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
    writer.writeheader()
    for row in found:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())

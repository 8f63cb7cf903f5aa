"""What the records say: paired tests, tables, one figure.

All tests are on the 30 seeds of a cell, which method and rival share. A cell is a task, an optimizer and a
share of wrong labels. Differences are in points of test accuracy.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.episodes_effect import blocks
from benchmarks.episodes_effect.tasks import TASKS
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.evidence.statistics.multiplicity import holm
from hypernudge.evidence.statistics.paired import difference_test
from hypernudge.results.files import write_text
from hypernudge.results.jsonio import write_json

MARGIN = 0.5
ALPHA = 0.05

Cell = tuple[str, str, float]
Key = tuple[str, str, float, str, float]
Scores = dict[Key, NDArray[np.float64]]


@dataclass(frozen=True)
class Comparison:
    """The default against a rival on one cell.

    Attributes:
        family: What the p values are corrected over.
        cell: Task, optimizer, share of wrong labels.
        ratio: Rate as a multiple of the right one.
        rival: The other method.
        difference: Mean difference in points, the default minus the rival.
        low: Lower limit of the 90 % interval, whose being inside the margin is the equivalence test at .05.
        high: Upper limit.
        p: Two-sided signed-rank p.
        adjusted: After Holm's correction within the family.
    """

    family: str
    cell: Cell
    ratio: float
    rival: str
    difference: float
    low: float
    high: float
    p: float
    adjusted: float

    @property
    def verdict(self) -> str:
        """One of better, worse, equivalent, open; a difference that is shown comes first."""
        if self.adjusted < ALPHA:
            return "better" if self.difference > 0 else "worse"
        return "equivalent" if self.low > -MARGIN and self.high < MARGIN else "open"


def load(folder: Path, phase: str) -> tuple[Scores, list[dict[str, Any]]]:
    """Return the test accuracies by key, in the order of the seeds, and the headers of the blocks."""
    scores: Scores = {}
    headers = []
    for path in sorted(folder.glob(f"{phase}-*.jsonl")):
        added, members = blocks.read(path)
        headers += added
        header = added[0]
        cell = (header["task"], header["optimizer"], header["noise"])
        for ratio in dict.fromkeys(member["ratio"] for member in members):
            chosen = sorted((m for m in members if m["ratio"] == ratio), key=lambda m: int(m["seed"]))
            scores[(*cell, header["method"], ratio)] = np.array([member["test"] for member in chosen])
    return scores, headers


def compare(scores: Scores, method: str = "default") -> list[Comparison]:
    """Compare `method` with every rival, Holm within each family."""
    found: list[Comparison] = []
    order = list(TASKS)
    cells = sorted({key[:3] for key in scores}, key=lambda cell: (order.index(cell[0]), cell[1:]))

    def family(
        name: str, rival: str, ratios: Callable[[float], bool], rival_ratio: float | None = None
    ) -> None:
        rows = []
        for cell, ratio in itertools.product(cells, blocks.RATIOS):
            ours = scores.get((*cell, method, ratio))
            theirs = scores.get((*cell, rival, ratio if rival_ratio is None else rival_ratio))
            if ratios(ratio) and ours is not None and theirs is not None and len(ours) == len(theirs):
                rows.append((cell, ratio, ours - theirs))
        adjusted = holm([difference_test(difference).p_value for *_, difference in rows])
        for (cell, ratio, difference), corrected in zip(rows, adjusted, strict=True):
            interval = mean_interval(difference, level=0.9)
            p = difference_test(difference).p_value
            limits = (interval.estimate, interval.low, interval.high)
            found.append(Comparison(name, cell, ratio, rival, *limits, p, float(corrected)))

    for rival in ("plain", "random_walk", "random_arms", "compat", "bandit", "alignment"):
        family(f"wrong rate, against {rival}", rival, lambda ratio: ratio != 1.0)
        family(f"right rate, against {rival}", rival, lambda ratio: ratio == 1.0)
    for rival in ("cosine", "schedule_free", "prodigy"):
        family(f"right rate, against {rival} at its own", rival, lambda ratio: ratio == 1.0, 1.0)
    return [comparison for comparison in found if comparison.rival != method]


def tally(comparisons: Iterable[Comparison]) -> dict[str, dict[str, int]]:
    """Count the verdicts of each family."""
    counts: dict[str, dict[str, int]] = {}
    for comparison in comparisons:
        row = counts.setdefault(comparison.family, {"better": 0, "equivalent": 0, "open": 0, "worse": 0})
        row[comparison.verdict] += 1
    return counts


def publish(folder: Path, destination: Path) -> dict[str, Any]:
    """Write tables (CSV and Markdown), `summary.json` and the figure; return the summary."""
    from benchmarks.episodes_effect.figure import draw

    scores, headers = load(folder, "confirm")
    if not scores:
        raise FileNotFoundError(f"{folder} holds no record of the phase confirm; run that phase first.")
    comparisons = compare(scores)
    tuned = {header["method"] for header in load(folder, "tune")[1]}
    summary = {
        "verdicts": tally(comparisons),
        "blocks": len(
            {tuple(header[k] for k in ("task", "optimizer", "noise", "method")) for header in headers}
        ),
        "runs": sum(len(values) for values in scores.values()),
        "training_seconds": round(sum(header["seconds"] for header in headers), 1),
        "tuned_methods": sorted(tuned),
        "commits": sorted({str(header["commit"]) for header in headers}),
        "dates": [min(header["date"] for header in headers), max(header["date"] for header in headers)],
        "machine": {key: headers[0][key] for key in ("system", "cpu", "python", "packages", "threads")},
    }
    rates = {(h["task"], h["optimizer"], h["noise"]): _right_rates(folder, h) for h in headers}
    write_text(destination / "cells.csv", cells_csv(scores))
    write_text(destination / "comparisons.csv", _comparisons_csv(comparisons))
    write_text(destination / "tables.md", _tables(scores, comparisons, rates))
    write_json(destination / "summary.json", summary)
    draw(scores, destination)
    return summary


def redraw(folder: Path, destination: Path | None = None) -> None:
    """Draw the figure anew from the accuracies in `folder / "cells.csv"`, there if nothing else is said."""
    from benchmarks.episodes_effect.figure import draw

    scores: Scores = {}
    with (folder / "cells.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            key = (row["task"], row["optimizer"], float(row["noise"]), row["method"], float(row["ratio"]))
            scores[key] = np.array([float(value) for value in row["accuracies"].split()])
    draw(scores, destination or folder)


def _right_rates(folder: Path, header: dict[str, Any]) -> dict[str, float]:
    block = blocks.Block("tune", header["task"], header["optimizer"], header["noise"], "plain")
    return {method: blocks.right_rate(folder, block, method) for method in blocks.TUNED}


def cells_csv(scores: Scores) -> str:
    """Return every accuracy, a row for each method, cell and rate."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["task", "optimizer", "noise", "method", "ratio", "mean", "sd", "accuracies"])
    for (*cell, method, ratio), values in scores.items():
        text = " ".join(f"{value:.2f}" for value in values)
        writer.writerow([*cell, method, ratio, f"{values.mean():.3f}", f"{values.std(ddof=1):.3f}", text])
    return out.getvalue()


def _comparisons_csv(comparisons: Sequence[Comparison]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [
        "family",
        "task",
        "optimizer",
        "noise",
        "ratio",
        "rival",
        "difference",
        "low90",
        "high90",
        "p",
        "holm_p",
    ]
    writer.writerow([*names, "verdict"])
    for c in comparisons:
        numbers = [f"{c.difference:.3f}", f"{c.low:.3f}", f"{c.high:.3f}", f"{c.p:.3g}", f"{c.adjusted:.3g}"]
        writer.writerow([c.family, *c.cell, c.ratio, c.rival, *numbers, c.verdict])
    return out.getvalue()


def _tables(scores: Scores, comparisons: Sequence[Comparison], rates: dict[Cell, dict[str, float]]) -> str:
    lines = ["# Verdicts", "", "| family | better | equivalent | open | worse |", "|---|---|---|---|---|"]
    for name, row in tally(comparisons).items():
        lines.append(f"| {name} | {row['better']} | {row['equivalent']} | {row['open']} | {row['worse']} |")
    lines += ["", "# Mean test accuracy (%), 30 seeds", ""]
    for cell in dict.fromkeys(key[:3] for key in scores):
        right = ", ".join(f"{method} {rate:.2g}" for method, rate in rates[cell].items())
        lines += [f"**{_title(cell)}** (right rates: {right})", ""]
        ratios = sorted({key[4] for key in scores if key[:3] == cell})
        lines.append("| method | " + " | ".join(f"x{ratio:g}" for ratio in ratios) + " |")
        lines.append("|---" * (len(ratios) + 1) + "|")
        for method in [name for name in blocks.CONFIRMED if any(k[:4] == (*cell, name) for k in scores)]:
            means = [scores.get((*cell, method, ratio)) for ratio in ratios]
            entries = ["" if mean is None else f"{mean.mean():.2f}" for mean in means]
            lines.append(f"| {method} | " + " | ".join(entries) + " |")
        lines.append("")
    return "\n".join(lines)


def _title(cell: Cell) -> str:
    task, optimizer, noise = cell
    labels = f"{100 * noise:.0f} % wrong labels" if noise else "clean"
    return f"{task}, {optimizer}, {labels}"

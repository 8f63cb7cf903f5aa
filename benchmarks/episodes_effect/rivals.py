"""The default for a training of known length against rivals that also need no rate: plan and report.

The rivals are methods of the phase `fourth`, on its seeds and split. Those that find a rate by themselves,
and those whose rate comes from a finder, have one training a cell and seed; the default is run from every
base rate, and each of these is a pair.
"""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.episodes_effect import blocks, ends
from benchmarks.episodes_effect.finders import UNFOUND
from benchmarks.episodes_effect.methods import METHODS
from benchmarks.episodes_effect.report import Cell, cells_csv, load
from benchmarks.episodes_effect.tasks import TASKS
from hypernudge.evidence.statistics.intervals import mean_interval
from hypernudge.results.files import write_text
from hypernudge.results.jsonio import write_json

PHASE = "fourth"
BySeed = dict[tuple[Cell, str, float], dict[int, float]]
MOST = 0.5  # "better in most": the share of the pairs whose interval lies above 0


def plan() -> dict[str, Any]:
    """Return what is fixed before the runs, in plain types."""
    seeds = blocks.SEEDS[PHASE]
    return {
        "methods": {
            name: {"seeds": len(seeds[: METHODS[name].seeds]), "finder": METHODS[name].finder}
            for name in blocks.RIVALS
        },
        "against": "annealed",
        "unfound": UNFOUND,
        "better_in_most": MOST,
        "study": ends.plan(PHASE),
    }


def published(cells: Path) -> BySeed:
    """Read the accuracies of a `cells.csv` of this study, two digits each, back to the seeds they are of."""
    by_seed: BySeed = {}
    with cells.open(newline="") as lines:
        for row in csv.DictReader(lines):
            cell = (row["task"], row["optimizer"], float(row["noise"]))
            scores = [float(score) for score in row["accuracies"].split()]
            # The first of the phase's seeds, in their order: a method may have fewer.
            key = (cell, row["method"], float(row["ratio"]))
            by_seed[key] = dict(zip(blocks.SEEDS[PHASE], scores, strict=False))
    return by_seed


def pairs(folder: Path, beside: Path | None = None) -> list[ends.Pair]:
    """Compare the default with each rival, on the seeds that both have.

    Args:
        folder: Records.
        beside: A published `cells.csv`, for what is not recorded.
    """
    by_seed: BySeed = {} if beside is None else published(beside)
    for path in sorted(folder.glob(f"{PHASE}-*.jsonl")):
        (header, *_), members = blocks.read(path)
        cell = (header["task"], header["optimizer"], header["noise"])
        for key in [key for key in by_seed if key[:2] == (cell, header["method"])]:
            del by_seed[key]
        for member in members:
            scores = by_seed.setdefault((cell, header["method"], member["ratio"]), {})
            scores[member["seed"]] = member["test"]
    cells = sorted({cell for cell, *_ in by_seed}, key=lambda cell: (list(TASKS).index(cell[0]), cell[1:]))
    found = []
    for rival, cell, ratio in itertools.product(blocks.RIVALS, cells, blocks.RATIOS):
        ours, theirs = by_seed.get((cell, "annealed", ratio), {}), by_seed.get((cell, rival, 1.0), {})
        seeds = sorted(ours.keys() & theirs.keys())
        if len(seeds) > 1:
            interval = mean_interval(np.array([ours[seed] - theirs[seed] for seed in seeds]), level=0.9)
            limits = (interval.estimate, interval.low, interval.high)
            found.append(ends.Pair(rival, cell, ratio, len(seeds), *limits))
    return found


def unfound(folder: Path) -> dict[str, int]:
    """Count the members of each finder's method for which it found no rate."""
    counts: dict[str, int] = {}
    for path in sorted(folder.glob(f"{PHASE}-*.jsonl")):
        (header, *_), members = blocks.read(path)
        if METHODS[header["method"]].finder is not None:
            missing = sum(member["found"] is None for member in members)
            counts[header["method"]] = counts.get(header["method"], 0) + missing
    return counts


def publish(folder: Path, destination: Path, beside: Path | None = None) -> dict[str, Any]:
    """Write the comparisons, every accuracy that is recorded and `summary.json`; return the summary.

    Args:
        folder: Records.
        destination: Where the files are written.
        beside: A published `cells.csv`: what is not recorded is read from it.

    Raises:
        FileNotFoundError: Nothing of a rival is recorded yet.
    """
    scores, headers = load(folder, PHASE)
    found = pairs(folder, beside)
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no rival beside the default; run the phase {PHASE} for both."
        )
    wanted = ("annealed", *blocks.RIVALS)
    headers = [header for header in headers if header["method"] in wanted]
    counts = ends.tally(found)
    summary = {
        "plan": ends.write_plan(destination, plan()),
        "counts": counts,
        "better_in_most": {name: row["better"] / row["pairs"] > MOST for name, row in counts.items()},
        "nothing_found": unfound(folder),
        "training_seconds": round(sum(header["seconds"] for header in headers), 1),
        "commits": {
            kind: sorted({str(h["commit"]) for h in headers if (h["method"] == "annealed") == own})
            for kind, own in (("annealed", True), ("rivals", False))
        },
        "dates": [min(header["date"] for header in headers), max(header["date"] for header in headers)],
        "machine": {key: headers[-1][key] for key in ("system", "cpu", "python", "packages", "threads")},
    }
    write_text(destination / "comparisons.csv", ends.comparisons_csv(found))
    chosen = {key: values for key, values in scores.items() if key[3] in wanted}
    write_text(destination / "cells.csv", cells_csv(chosen))
    write_json(destination / "summary.json", summary)
    return summary

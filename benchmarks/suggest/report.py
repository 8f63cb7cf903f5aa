"""The summary: how far from the best rate of the grid each method's suggestion trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Row = dict[str, Any]
NEAR = 3.0  # factor between two rates within which they are called near
AS_GOOD = 1.05  # a loss up to so many times the least is called as good


def summary(rows: Sequence[Row]) -> Row:
    """Return by task and by method what suggestions were worth; a task counts by its seeds' median.

    The best rate is the grid's. A suggestion that trains better than all of the grid has a ratio below 1. One
    that diverged, or is missing, has the ratio infinity. Of a distance there are two: from the best rate, and
    from the span of rates that are as good. Where a task has no grid under a seed, the mean of its
    grids under the others takes its place; a task without any is left out.
    """
    gridded = {row["task"] for row in rows if row["method"] == "grid"}
    rows = [row for row in rows if row["task"] in gridded]
    tasks, names = _unique(row["task"] for row in rows), _unique(row["method"] for row in rows)
    names = [name for name in names if name != "grid"]
    table = []
    for task in tasks:
        entry: Row = {"task": task, "best_rate": [], "good": []}
        entry |= {name: {"rate": [], "loss_ratio": [], "distance": []} for name in names}
        ours = [row for row in rows if row["task"] == task]
        for seed in _unique(row["seed"] for row in ours):
            _add(entry, [row for row in ours if row["seed"] == seed], _grid(ours, seed), names)
        table.append(entry)
    return {"tasks": table, "methods": {name: _method(table, name, rows) for name in names}}


def _grid(rows: Sequence[Row], seed: int) -> dict[float, float]:
    """Return the loss by rate under a seed; where its grid is not whole, the mean of the others."""
    by_seed: dict[int, dict[float, float]] = {}
    for row in rows:
        if row["method"] == "grid":
            by_seed.setdefault(row["seed"], {})[row["rate"]] = _loss(row)
    most = max(map(len, by_seed.values()))
    whole = {number: grid for number, grid in by_seed.items() if len(grid) == most}
    if seed in whole:
        return whole[seed]
    first = next(iter(whole.values()))
    return {rate: float(np.mean([grid[rate] for grid in whole.values()])) for rate in first}


def _add(entry: Row, rows: Sequence[Row], grid: dict[float, float], names: Sequence[str]) -> None:
    best = min(grid, key=lambda rate: grid[rate])
    good = [rate for rate, loss in grid.items() if loss <= AS_GOOD * grid[best]]
    entry["best_rate"].append(best)
    entry["good"].append([min(good), max(good)])
    for row in rows:
        if row["method"] not in names:
            continue
        rate = row["rate"]
        found = entry[row["method"]]
        found["rate"].append(rate)
        found["loss_ratio"].append(_loss(row) / grid[best])
        away = [abs(math.log10(rate / end)) for end in (best, *good)] if rate else [math.inf]
        inside = rate and min(good) <= rate <= max(good)
        found["distance"].append([away[0], 0.0 if inside else min(away)])
        if "low" in row:
            found.setdefault("covered", []).append(bool(row["low"] <= best <= row["high"]))
            found.setdefault("width", []).append(math.log10(row["high"] / row["low"]))


def _method(table: Sequence[Row], name: str, rows: Sequence[Row]) -> Row:
    table = [entry for entry in table if entry[name]["rate"]]
    ratios = [float(np.median(entry[name]["loss_ratio"])) for entry in table]
    near = math.log10(NEAR) + 1e-9
    runs = [pair for entry in table for pair in entry[name]["distance"]]
    losses = [ratio for entry in table for ratio in entry[name]["loss_ratio"]]
    found: Row = {
        "tasks": len(table),
        "near_best": sum(bool(np.median([d[0] for d in entry[name]["distance"]]) <= near) for entry in table),
        "near_good": sum(bool(np.median([d[1] for d in entry[name]["distance"]]) <= near) for entry in table),
        "runs": len(runs),
        "runs_near_best": sum(d[0] <= near for d in runs),
        "runs_near_good": sum(d[1] <= near for d in runs),
        "loss_ratio_median": _number(float(np.median(ratios))),
        "loss_ratio_worst": _number(max(ratios)),
        "runs_above_1.1": sum(ratio > 1.1 for ratio in losses),
        "runs_above_2": sum(ratio > 2.0 for ratio in losses),
        "failures": sum(not math.isfinite(ratio) for ratio in losses),
        "cpu_s": round(sum(row.get("cpu_s", 0.0) for row in rows if row["method"] == name), 1),
    }
    covered = [value for entry in table for value in entry[name].get("covered", [])]
    if covered:
        found["interval_covers_best"] = f"{sum(covered)}/{len(covered)}"
        widths = [value for entry in table for value in entry[name]["width"]]
        found["interval_decades"] = round(float(np.median(widths)), 2)
    return found


def table(found: Row) -> str:
    """Return the summary as two Markdown tables."""
    methods = found["methods"]
    lines = [
        "| method | within a factor of 3 of the best rate | of a rate as good | loss ratio, median | worst "
        "| runs above 1.1 | above 2 | failed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in methods.items():
        lines.append(
            f"| {name} | {row['near_best']} of {row['tasks']} | {row['near_good']} of {row['tasks']} "
            f"| {_shown(row['loss_ratio_median'])} | {_shown(row['loss_ratio_worst'])} "
            f"| {row['runs_above_1.1']} of {row['runs']} | {row['runs_above_2']} | {row['failures']} |"
        )
    names = list(methods)
    lines += ["", "| task | best | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for entry in found["tasks"]:
        cells = [_cell(entry[name]) for name in names]
        best = ", ".join(f"{rate:.1g}" for rate in entry["best_rate"])
        lines.append(f"| {entry['task']} | {best} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(found: Row) -> str:
    if not found["rate"]:
        return ""
    rates = ", ".join("none" if rate is None else f"{rate:.1g}" for rate in found["rate"])
    return f"{rates} ({', '.join(_shown(ratio) for ratio in found['loss_ratio'])})"


def _shown(ratio: float | None) -> str:
    return "diverged" if ratio is None or not math.isfinite(ratio) else f"{ratio:.2f}"


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def _loss(row: Row) -> float:
    return math.inf if row["held_out"] is None else float(row["held_out"])


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))

"""What a study has cost: operations, seconds of cores and of GPUs, memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # a run that shows its verdicts would wait for pandas
    import pandas as pd

    from hypernudge.evidence.loading.study import StudyResults
    from hypernudge.results.plan import Variation

Bill = dict[str, Any]


def bill_of(study: StudyResults, variation: Variation) -> Bill:
    """Return what the cells of a variation have cost; None where nothing was measured.

    `cluster` is what the accounting of a cluster says of the jobs that ran them, turns that were lost
    included; the rest was measured by the workers that finished the cells.
    """
    cells = study.cells[study.cells["run_id"] == variation.run_id]
    cells = cells[cells["status"] != "missing"]
    jobs = [usage for run_id, usage in study.jobs if run_id == variation.run_id]
    sums = ("seconds", "core_seconds", "allocated_core_seconds", "gpu_seconds", "turns")
    cluster = {name: sum(getattr(job, name) for job in jobs) for name in sums}
    peak = max((job.peak_memory_bytes for job in jobs), default=0)
    return {
        "cells": len(cells),
        "training_flops": float(cells["training_flops"].sum()),
        "warm_start_flops": float(cells["warm_start_flops"].sum()),
        "total_flops": float(cells["total_flops"].sum()),
        **_seconds(cells),
        **{name: _total(cells[name]) for name in ("core_seconds", "gpu_seconds", "lost_seconds")},
        "peak_memory_bytes": _peak(cells["peak_memory_bytes"]),
        "peak_gpu_bytes": _peak(cells["peak_gpu_bytes"]),
        "cluster": {"jobs": len(jobs), **cluster, "peak_memory_bytes": peak} if jobs else None,
    }


def bill_line(bills: Iterable[Mapping[str, Any]]) -> str:
    """Return what a study has cost, on one line; empty where nothing was measured."""
    bills = [bill for bill in bills if bill["core_seconds"] is not None]
    if not bills:
        return ""
    parts = [f"{sum(bill['total_flops'] for bill in bills):.3g} FLOPs"]
    parts.append(f"{_hours(bill['core_seconds'] for bill in bills)} core hours")
    if any(bill["gpu_seconds"] for bill in bills):
        parts.append(f"{_hours(bill['gpu_seconds'] or 0.0 for bill in bills)} GPU hours")
    started = [bill for bill in bills if bill["warm_start_flops"] and bill["cell_seconds"]]
    clusters = [bill["cluster"] for bill in bills if bill["cluster"]]
    if clusters:
        core, gpu = (_hours(c[name] for c in clusters) for name in ("allocated_core_seconds", "gpu_seconds"))
        parts.append(f"by the cluster's accounting {core} core hours and {gpu} GPU hours allocated")
    if started:
        flops, seconds = (
            100 * sum(bill[part] for bill in started) / sum(bill[whole] for bill in started)
            for part, whole in (("warm_start_flops", "total_flops"), ("warm_start_seconds", "cell_seconds"))
        )
        parts.append(f"warm starts {flops:.2g} % of FLOPs and {seconds:.2g} % of seconds where they act")
    return f"cost: {', '.join(parts)}"


def _seconds(cells: pd.DataFrame) -> dict[str, float | None]:
    """Return the seconds of warm starts and of the cells that say both; None where none does."""
    names = ["warm_start_seconds", "cell_seconds"]
    known = cells[cells[names].notna().all(axis=1)]
    return {name: _total(known[name]) for name in names}


def _hours(seconds: Iterable[float]) -> str:
    return f"{sum(seconds) / 3600:.3g}"


def _total(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.sum()) if len(known) else None


def _peak(values: pd.Series) -> float | None:
    known = values.dropna().to_numpy(dtype=np.float64)
    return float(known.max()) if known.size else None

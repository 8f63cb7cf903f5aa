"""A million rows: 100 tasks x 50 variations x 200 seeds, all 4,900 comparisons, in one process."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hypernudge.evidence.report.compare_file import Request, compare_file
from hypernudge.random import stream


def table(tasks: int, variations: int, seeds: int) -> pd.DataFrame:
    """One row per cell: when it had its best score, and what that was; a third of the cells miss .5."""
    rng = stream(0, "speed")
    count = tasks * variations * seeds
    names = [
        pd.Categorical.from_codes(codes, categories=pd.Index([f"{kind}{k:03d}" for k in range(size)]))
        for codes, kind, size in (
            (np.repeat(np.arange(tasks), variations * seeds), "task", tasks),
            (np.tile(np.repeat(np.arange(variations), seeds), tasks), "method", variations),
        )
    ]
    return pd.DataFrame(
        {
            "task": names[0],
            "variation": names[1],
            "seed": np.tile(np.arange(seeds), tasks * variations),
            # Grid times, so that ties take the slow path of the exact test.
            "time": np.ceil(50 * np.exp(0.4 * rng.normal(size=count))),
            "score": np.round(0.55 + 0.1 * rng.normal(size=count), 4),
        }
    )


def million_rows(tasks: int = 100, variations: int = 50, seeds: int = 200) -> dict[str, Any]:
    """Seconds from the CSV on disk to all verdicts, and peak memory of this process in GiB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        table(tasks, variations, seeds).to_csv(path, index=False)
        events = 0

        def count(event: dict[str, Any]) -> None:
            nonlocal events
            events += event["event"] == "comparison"

        begun = time.perf_counter()
        request = Request(baseline="method000", target=0.5, budget=300.0, wall_clock=False)
        compare_file(path, request, count)
        seconds = time.perf_counter() - begun
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    rows = tasks * variations * seeds
    return {"rows": rows, "comparisons": events, "seconds": round(seconds, 2), "peak_gib": round(peak, 3)}

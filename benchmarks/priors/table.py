"""The records of a past as one small table, from which `hypernudge prior build` makes the same prior.

python -m benchmarks.priors.table results/prior_xgboost --output benchmarks/results/priors/xgboost_past.csv
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.sealed import sealed
from hypernudge.harness.cells.described import facts_of
from hypernudge.results.records import cell_path, description_of

UNITS = (1, 3, 9, 27)  # at which trials are ranked


def rows_of(results: Path) -> Iterator[dict[str, Any]]:
    """Yield a row per score of the finished cells of a results directory, in long form."""
    for variation, seed, record in sealed(results):
        if record["status"] != "completed":
            continue
        description = description_of(record, cell_path(results / variation.run_id, seed))
        facts = None if description is None else facts_of(description, len(record["trials"]))
        family = variation.task if facts is None else facts.family
        configs = {trial["trial"]: trial["nudged"] for trial in record["trials"]}
        curve = record["curve"]
        units = zip(curve["trial"], curve["unit"], curve["validation"], strict=True)
        scores = {(trial, unit): value for trial, unit, value in units}
        place = 0
        for trial, config in configs.items():
            for unit in UNITS:
                if (trial, unit) not in scores:
                    continue
                place += 1
                value = scores[trial, unit]
                yield {
                    **{"task": variation.task, "family": family, "variation": "random", "seed": seed},
                    **{"trial": trial, "time": place, "unit": unit},
                    "score": "" if value is None else f"{value:.6g}",
                    **{f"config.{name}": _short(given) for name, given in config.items()},
                }


def _short(value: Any) -> Any:
    return f"{value:.5g}" if isinstance(value, float) else value


def main() -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path, metavar="DIR", help="of `hypernudge run`")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE")
    options = parser.parse_args()
    frame = pd.DataFrame(rows_of(options.results))
    frame.to_csv(options.output, index=False, lineterminator="\n")
    sys.stderr.write(f"{options.output}: {len(frame)} scores of {frame['task'].nunique()} tasks\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

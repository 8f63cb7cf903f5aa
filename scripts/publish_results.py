"""Copy the small, citable part of a results directory into the repository.

    python scripts/publish_results.py results/full benchmarks/results/full_experiment \
        --command "uv run python -m src.main --full-experiment --results-dir results/full"

Copies `evaluation.json`, `experiment.yaml` and the tables, and writes `provenance.json`: the command, the
plan's hash, commit, packages, hardware and the date of the evaluation. Records and figures stay where they
are, except the figures named with `--figure`, which are converted to SVG (needs `pdftocairo`, of poppler).
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="results directory")
    parser.add_argument("destination", type=Path, help="folder in the repository")
    parser.add_argument("--command", required=True, help="the command that made the results")
    parser.add_argument("--figure", action="append", default=[], help="name of a figure to convert to SVG")
    options = parser.parse_args()
    options.destination.mkdir(parents=True, exist_ok=True)
    for name in ("evaluation.json", "experiment.yaml"):
        shutil.copy(options.results / name, options.destination / name)
    for table in sorted((options.results / "tables").iterdir()):
        shutil.copy(table, options.destination / table.name)
    for name in options.figure:
        svg = options.destination / f"{name}.svg"
        subprocess.run(
            ["pdftocairo", "-svg", str(options.results / "figures" / f"{name}.pdf"), str(svg)], check=True
        )
    (options.destination / "provenance.json").write_text(
        json.dumps(_provenance(options.results, options.command), indent=2) + "\n"
    )
    return 0


def _provenance(results: Path, command: str) -> dict[str, object]:
    runs = [json.loads(path.read_text()) for path in sorted(results.glob("*/results.json"))]
    distinct = []
    for run in runs:
        if run["provenance"] not in distinct:
            distinct.append(run["provenance"])
    finished = (results / "evaluation.json").stat().st_mtime
    wall = 0.0
    for path in results.glob("*/cells/seed-*.json"):
        spent = json.loads(path.read_text())["wall"]
        wall += spent["total_seconds"] / spent.get("cells_together", 1)
    return {
        "command": command,
        "plan": json.loads((results / "plan.json").read_text())["hash"],
        "date": datetime.datetime.fromtimestamp(finished, datetime.UTC).date().isoformat(),
        "cell_seconds": round(wall, 1),
        "provenance": distinct,
    }


if __name__ == "__main__":
    sys.exit(main())

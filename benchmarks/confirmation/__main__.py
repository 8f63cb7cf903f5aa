"""Pool evaluated blocks of the confirmation study, and keep what is small of them."""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import sys
from pathlib import Path

from benchmarks.confirmation import figure, report
from benchmarks.sealed import sealed
from hypernudge.harness.running.variation_run import outcome


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=report.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "directories",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="evaluated results directories; a later one supersedes",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="write pooled.csv, pooled.md, two figures and each block's cells there",
    )
    parser.add_argument(
        "--drawn",
        nargs="+",
        default=["informed", "probe_band", "curvature_band", "fixed_band", "literal"],
        metavar="WARM_START",
        help="panels of the figure",
    )
    options = parser.parse_args()
    settings = report.read(options.directories)
    found = list(report.rows(settings))
    text = report.markdown(found)
    sys.stdout.write(text)
    if options.output is None:
        return 0
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "pooled.md").write_text(text)
    (options.output / "pooled.csv").write_text(_csv(found))
    drawn = [method for method in options.drawn if any(t.method == method for t in settings)]
    figure.save(settings, drawn, options.output)
    for directory in options.directories:
        with gzip.GzipFile(options.output / f"{directory.name}_cells.csv.gz", "wb", mtime=0) as file:
            file.write(_csv(cells(directory)).encode())
    return 0


def cells(directory: Path) -> list[dict[str, object]]:
    """Return the outcome of each sealed cell, run by run; of a study that ended early what is there."""
    found = sorted(sealed(directory), key=lambda cell: cell[0].run_id)
    return [
        {"run_id": variation.run_id, "seed": seed, **outcome(record)} for variation, seed, record in found
    ]


def _csv(found: list[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found[0]), lineterminator="\n")
    writer.writeheader()
    for row in found:
        writer.writerow({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()})
    return text.getvalue()


if __name__ == "__main__":
    sys.exit(main())

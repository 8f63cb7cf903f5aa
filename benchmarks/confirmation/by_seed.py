r"""Run a declared plan seed by seed, some variations on one seed before the next: whole pairs first.

    HYPERNUDGE_DATA=... python -m benchmarks.confirmation.by_seed RESULTS_DIR \
        [--minutes 60] [--only RUN_ID ...] [--seeds 7]

`hypernudge run` computes a variation after the other: a study that ends early would compare nothing. No seed
is begun that would, by the mean of those before, end after `--minutes`; nothing of a result is printed.
`hypernudge run` goes on with what is there, and judges it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hypernudge.harness.cells.cell import run_cell
from hypernudge.results.plan import Variation, read_manifest
from hypernudge.results.records import cell_path


def run(
    results: Path, minutes: float = float("inf"), only: Sequence[str] = (), seeds: int | None = None
) -> int:
    """Run what is missing, each cell in a process of its own; return of how many seeds all is there.

    Args:
        results: Directory with a plan.
        minutes: No seed is begun that would end later.
        only: Run ids, all if empty.
        seeds: How many of the plan's first ones.

    Raises:
        InvalidArgumentError: The directory holds no plan, or not those run ids.
        RuntimeError: A cell left no record.
    """
    manifest = read_manifest(results)
    variations = [manifest[run_id] for run_id in only] or list(manifest.variations)
    begun, computed, whole = time.monotonic(), 0, 0
    for seed in variations[0].seeds[:seeds]:
        missing = [v for v in variations if not cell_path(results / v.run_id, seed).exists()]
        spent = (time.monotonic() - begun) / 60
        if missing and spent + spent / max(computed, 1) > minutes:
            break
        for variation in missing:
            _in_a_child(variation, seed, results / variation.run_id)
        computed, whole = computed + bool(missing), whole + 1
        sys.stderr.write(f"seed {seed}: {len(missing)} cells, {(time.monotonic() - begun) / 60:.1f} min\n")
    return whole


def _in_a_child(variation: Variation, seed: int, folder: Path) -> None:
    child = multiprocessing.get_context("fork").Process(target=_cell, args=(variation, seed, folder))
    child.start()
    child.join()
    if child.exitcode or not cell_path(folder, seed).exists():
        raise RuntimeError(f"{variation.run_id}, seed {seed}: no record, exit code {child.exitcode}")


def _cell(variation: Variation, seed: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    run_cell(variation, seed, folder)


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, metavar="RESULTS_DIR", help="with a plan in it")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="begin no seed that would end later"
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="RUN_ID", help="these variations")
    parser.add_argument("--seeds", type=int, help="the first of them")
    options = parser.parse_args()
    whole = run(options.results, options.minutes, options.only, options.seeds)
    sys.stdout.write(f"{whole} seeds are there\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

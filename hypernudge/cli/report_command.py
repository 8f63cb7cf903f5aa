"""The evaluation as a command: reads saved results only, prints JSON lines, writes tables and figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hypernudge import console
from hypernudge.evidence.report.evaluate import evaluate
from hypernudge.harness.running.launch import die_with_parent
from hypernudge.harness.running.train import emit
from hypernudge.results.printable import printable


@console.forgiving()
def main(arguments: Sequence[str] | None = None, program: str = "evaluate") -> int:
    """Evaluate a results directory; return the exit code: 0 if nothing was missing or unreadable."""
    parser = argparse.ArgumentParser(prog=program, description="Evaluate saved results; train nothing.")
    parser.add_argument(
        "directory", nargs="?", type=Path, metavar="DIR", help="directory that holds plan.json"
    )
    parser.add_argument("--results-dir", type=Path, metavar="DIR", help="the same, as an option")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write one self-contained HTML report")
    parser.add_argument(
        "--notebook", type=Path, metavar="FILE", help="also write a notebook that regenerates everything"
    )
    options = parser.parse_args(arguments)
    given = [place for place in (options.directory, options.results_dir) if place is not None]
    if len(given) != 1:
        parser.error("needs one results directory: DIR, or --results-dir DIR")
    (results_dir,) = given
    die_with_parent()
    try:
        evaluation = evaluate(results_dir, emit, html=options.html)
        if options.notebook is not None:
            from hypernudge.evidence.report.notebook import write_notebook

            write_notebook(results_dir, options.notebook)
            emit({"event": "notebook", "file": str(options.notebook), "shows": "all of it, from the records"})
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {printable(' '.join(str(error).split()))}\n")
        return 2
    return 0 if evaluation.status == "complete" else 1

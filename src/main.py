"""Run every variation of an experiment as a subprocess, one after the other, then the evaluation."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hypernudge import console
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.running.interruption import leave, orderly

CONFIG = Path(__file__).resolve().parent.parent / "config"


@console.forgiving()
def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 only if every variation and the evaluation ran; 130 after Ctrl-C, 143 after SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m src.main", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--smoke-test", dest="config", action="store_const", const="smoke_test", help="light, under a minute"
    )
    which.add_argument(
        "--full-experiment", dest="config", action="store_const", const="full_experiment", help="the study"
    )
    parser.add_argument("--results-dir", required=True, type=Path, help="where everything is written")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="for example common.budget.units=60"
    )
    options = parser.parse_args(arguments)
    return orderly(partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    from hypernudge.harness.running.run import run_experiment  # takes long, and Ctrl-C is listened to by now

    try:
        return run_experiment(
            CONFIG / f"{options.config}.yaml",
            options.results_dir,
            options.overrides,
            [sys.executable, "-m", "src.train"],
            [sys.executable, "-m", "src.evaluate"],
        )
    except (InvalidArgumentError, OSError) as error:
        return console.refuse(error)


if __name__ == "__main__":
    leave(main())

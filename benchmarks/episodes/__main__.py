"""What episodes cost: training steps with and without them, interleaved in one process.

All variants train the same parameters with the same optimizer state, in an order that rotates from round to
round, so that drift of the machine, memory placement and cache state hit them alike. On the small model
every variant takes whole steps. On the large ones a round computes the gradients once, and each variant
then does everything else of a step on a copy of them: forward and backward passes do not depend on the
variant, and their jitter would drown a difference of half a percent. Either way the overhead is the
difference of the fifth percentiles of variant and plain over that of whole plain steps (in brackets: of the
first to the tenth). On a CPU processor time is counted, not the clock on the wall: others may be at
work on the machine. Another package is timed in a rotation of its own.

The default is measured as it begins (every step probed), as it is from 8,000 steps on, and while a training
of known length is annealed.

    uv run python -m benchmarks.episodes [--json] [--quick] [--device cuda] [--models mlp_26k ...]

Prints the table of all cells and the table by model, as the pages show them, then one JSON object. With
`--output FILE` a cell is kept once it is measured: the same command goes on after the last one, and the
tables are over all cells of the file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.episodes.measure import ROUNDS, measure_cell
from benchmarks.episodes.tables import Cells, by_model, every_cell
from benchmarks.episodes.variants import OPTIMIZERS
from benchmarks.parts import Parts
from hypernudge.errors import InvalidArgumentError
from hypernudge.harness.cells.provenance import provenance


def cells_of(parts: Parts) -> Cells:
    """Return the cells that are kept, in the order of the tables."""
    names = itertools.product(ROUNDS, OPTIMIZERS)
    return {name: parts.values[", ".join(name)] for name in names if ", ".join(name) in parts.values}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing; print the tables and a last line with all of it as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="nothing but the JSON on stdout")
    parser.add_argument("--quick", action="store_true", help="few rounds, under a minute")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", choices=list(ROUNDS), default=list(ROUNDS))
    parser.add_argument("--optimizers", nargs="+", choices=list(OPTIMIZERS), default=list(OPTIMIZERS))
    parser.add_argument("--output", type=Path, help="file of cells that were measured (JSON)")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    settings: dict[str, Any] = {
        "benchmark": "episodes",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": options.threads,
        "quick": options.quick,
    }
    try:
        parts = Parts(options.output, settings)
    except InvalidArgumentError as error:
        parser.error(str(error))
    for model, optimizer in itertools.product(options.models, options.optimizers):
        rounds = ROUNDS[model][0 if options.quick else 1]
        cell = parts.of(f"{model}, {optimizer}", partial(measure_cell, model, optimizer, rounds, device))
        sys.stderr.write(f"{model}, {optimizer}: {cell['overhead_percent']}\n")
    cells = cells_of(parts)
    if not options.json:
        sys.stdout.write(f"{every_cell(cells)}\n\n{by_model(cells)}\n\n")
    overheads: dict[str, dict[str, Any]] = {}
    for (model, optimizer), cell in cells.items():
        overheads.setdefault(model, {})[optimizer] = cell["overhead_percent"]
    result = {
        "overhead_percent": overheads,
        "cells": {", ".join(name): cell for name, cell in cells.items()},
        "settings": settings,
        "command": shlex.join(["python", "-m", "benchmarks.episodes", *(arguments or sys.argv[1:])]),
        "begun": parts.begun,
        "provenance": provenance(),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

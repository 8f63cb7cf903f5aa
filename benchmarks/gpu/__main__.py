"""What only a GPU can show, in one command of at most eight minutes, or part by part.

    python -m benchmarks.gpu tests|population|cost|episodes|resnet|all [--json] --output DIR

Every part writes DIR/PART.json as soon as it is done; one that fails says why there, and the others run. The
data of `resnet` (CIFAR-10) are looked for in $HYPERNUDGE_DATA; without them it is skipped. `--device cpu`
takes the same paths on a CPU, `--tiny` with sizes for a test.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import cost, episodes, population, resnet, suite
from benchmarks.gpu.timing import taken
from hypernudge.errors import InvalidArgumentError
from hypernudge.results.files import write_text
from hypernudge.tasks.module.devices import device_of

Part = Callable[[torch.device, float, bool], dict[str, Any]]
PARTS: dict[str, tuple[Part, float]] = {
    "tests": (suite.measure, 130.0),
    "population": (population.measure, 60.0),
    "cost": (cost.measure, 50.0),
    "episodes": (episodes.measure, 40.0),
    "resnet": (resnet.measure, 150.0),
}
"""What measures each part, and its seconds; 50 of the eight minutes are for imports and the first kernels."""


def main(argv: list[str] | None = None) -> int:
    """Command-line entry point; 1 if a part failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="+", choices=[*PARTS, "all"], metavar="PART", help=", ".join([*PARTS, "all"])
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for PART.json")
    parser.add_argument("--json", action="store_true", help="each result as a line of JSON on stdout")
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cuda, mps or cpu")
    parser.add_argument("--seconds", type=float, help="for each part, in place of its own limit")
    parser.add_argument("--tiny", action="store_true", help="sizes for a test, not for a measurement")
    options = parser.parse_args(argv)
    try:
        device = device_of(options.device)
    except InvalidArgumentError as error:
        parser.error(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    chosen = list(PARTS) if "all" in options.parts else list(dict.fromkeys(options.parts))
    failed = False
    for name in chosen:
        measure, limit = PARTS[name]
        result = measured(measure, device, options.seconds or limit, options.tiny)
        failed |= "error" in result
        whole = {"part": name, **result, "tiny": options.tiny, **taken(device)}
        write_text(options.output / f"{name}.json", json.dumps(whole, indent=1, default=str) + "\n")
        print(json.dumps(whole, default=str) if options.json else _line(name, result), flush=True)
    return int(failed)


def measured(measure: Part, device: torch.device, limit: float, tiny: bool) -> dict[str, Any]:
    """Return the result of a part and its seconds, or why there is none."""
    begun = time.perf_counter()
    found: dict[str, Any]
    try:
        found = {"result": measure(device, limit, tiny)}
    except InvalidArgumentError as error:  # data that are not there
        found = {"skipped": str(error)}
    except Exception as error:  # the other parts are worth having
        found = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return {**found, "seconds": round(time.perf_counter() - begun, 1)}


def _line(name: str, result: dict[str, Any]) -> str:
    said = result.get("error") or result.get("skipped") or "done"
    return f"{name}: {said} ({result['seconds']} s)"


if __name__ == "__main__":
    sys.exit(main())

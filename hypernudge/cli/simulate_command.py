"""The command `hypernudge simulate`, formerly `replay`: a scheduler on known learning curves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hypernudge.errors import require, require_between, require_whole
from hypernudge.registry import build, check_name


def add_command(commands: Any) -> None:
    """Add `simulate` to the command line."""
    parser = commands.add_parser(
        "simulate", aliases=["replay"], help="run a scheduler on known learning curves"
    )
    parser.add_argument(
        "--scheduler", required=True, metavar="NAME", help="registry name or module:attribute"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--curves", type=Path, metavar="FILE", help="npz with hp, hp_names and valid")
    source.add_argument(
        "--lcbench", type=Path, metavar="DIR", help="YAHPO's lcbench folder (extra surrogates)"
    )
    parser.add_argument("--instance", default="3945", help="OpenML task of --lcbench (default 3945)")
    parser.add_argument("--workers", type=int, default=1, help="simulated workers (default 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-units", type=int, help="units of the longest training (default: the curves')")
    parser.add_argument(
        "--budget", type=float, help="units in all (default: --max-units times 20 or twice the workers)"
    )
    parser.add_argument(
        "--sampler", metavar="NAME", help="what proposes configurations: uniform, kde, gp or module:attribute"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="options",
        help="scheduler option, as YAML",
    )
    parser.add_argument("--json", action="store_true", help="JSON lines")
    parser.set_defaults(run=command)


def command(options: argparse.Namespace) -> int:
    """Carry out `simulate`."""
    import yaml

    from hypernudge.harness.inspection.simulate import simulate
    from hypernudge.harness.planning.experiment_schema import MAX_UNITS, MAX_WORKERS
    from hypernudge.harness.running.train import emit
    from hypernudge.tasks.curves.lcbench import LCBench
    from hypernudge.tasks.curves.tabulated import Tabulated

    given = {}
    for assignment in options.options:
        key, separator, value = assignment.partition("=")
        require(separator == "=", "--set", "must have the form KEY=VALUE", assignment, "add the value")
        require(key not in given, "--set", "must set an option once", key, "remove one of the two")
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            require(False, "--set", "values must be YAML", assignment, "quote it")
    if options.curves is not None:
        task: Tabulated | LCBench = Tabulated(options.curves)
    else:
        task = LCBench(options.lcbench, options.instance)
    longest = task.max_units if options.max_units is None else options.max_units
    rule = f"must be in [1, {task.max_units}], the length of the curves"
    require(1 <= longest <= task.max_units, "--max-units", rule, longest, "lower it")
    require_whole("--workers", options.workers, 1, MAX_WORKERS)
    require_whole("--seed", options.seed, 0)
    # Many workers share the budget: each should be able to finish a training.
    enough = longest * max(20.0, 2.0 * options.workers)
    units = enough if options.budget is None else options.budget
    require_between("--budget", units, 0, MAX_UNITS, ends=False)
    check_name("scheduler", options.scheduler, "--scheduler")
    for option, instead in (("max_units", "--max-units"), ("space", "the file")):
        require(option not in given, "--set", f"must leave {option} to {instead}", given, "remove it")
    spec = {"name": options.scheduler, "max_units": longest, **given}
    if options.sampler is not None:
        spec["sampler"] = check_name("sampler", options.sampler, "--sampler")
    scheduler = build("scheduler", spec, space=task.space)
    show = emit if options.json else _show
    simulate(task, scheduler, options.workers, options.seed, units, show)
    return 0


def _show(event: dict[str, Any]) -> None:
    time = f"{event['time']:10.2f}  "
    if event["event"] == "decision":
        text = f"{event['action']:7}trial {event['trial']:<5} to unit {event['until']}"
    elif event["event"] == "incumbent":
        text = f"best   {event['score']:.6g}, trial {event['trial']} after unit {event['unit']}"
    else:
        best = "none" if event["score"] is None else f"{event['score']:.6g}"
        spent = f"{event['trials']} trials, {event['units']} units of {event['task']}"
        text = f"end    best {best}, {spent}"
    sys.stdout.write(time + text + "\n")

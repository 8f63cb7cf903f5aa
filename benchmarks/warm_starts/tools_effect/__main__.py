"""The informed warm start inside Optuna, Ray Tune, Syne Tune and NePS, on an ordinary training.

    python -m benchmarks.warm_starts.tools_effect --output benchmarks/results/tools_effect

A 64-32-10 network on digits, SGD, five hyper-parameters, up to 27 epochs a trial; with `--architecture` also
width, depth and activation, of which the prior knows nothing. The clock counts epochs of training, one trial
at a time, and charges a warm start with the epochs that its FLOPs would have bought.
Targets come from pilot seeds of plain Optuna TPE. The prior has not seen digits (`exclude_families`).
Methods that end in `_horizon` tell it that trainings take 27 epochs at most; the others leave it to guess
(Syne Tune and NePS say it by themselves). What is in `cells` of the output's folder is not run again: NePS,
which needs an environment of its own, can be run there, and the table made here. `--plain` reads the runs
without the line from an earlier table's folder, and its target; pilots are not run then.

    python -m benchmarks.warm_starts.tools_effect --task xgboost --table uci/adult uci/protein --rows 2000 \
        --output results/tools_effect_xgboost

XGBoost on tables, eight hyper-parameters, up to 81 rounds a trial; the clock counts rounds. Beside the warm
start, `optuna_tpe_enqueued` begins with the winner of each earlier task that the prior knows (or of the
results directory `--past`), in random order, as a user would do without it (`study.enqueue_trial`). The
table's own past is left out of both. Each table has a folder; `pooled.md` says what they show together.

Writes the runs in the long form of `hypernudge compare`, and what that makes of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.warm_starts.tools_effect import digits, report
from benchmarks.warm_starts.tools_effect.neps_runs import neps_hyperband
from benchmarks.warm_starts.tools_effect.optuna_runs import Run, optuna
from benchmarks.warm_starts.tools_effect.ray_runs import ray
from benchmarks.warm_starts.tools_effect.syne_tune_runs import syne_tune
from benchmarks.warm_starts.tools_effect.workload import Clock, Workload
from hypernudge.harness.cells.provenance import provenance
from hypernudge.warmstart.measurement import prior as priors

FIRST, PILOT, PILOTS, AT = 300_000, 400_000, 10, 0.6
METHODS: dict[str, Callable[[Workload], Run]] = {
    "optuna_tpe": lambda of: optuna(of, halving=False),
    "optuna_tpe_enqueued": lambda of: optuna(of, halving=False, enqueued=of.past),
    "optuna_tpe_informed": lambda of: optuna(of, of.policy(None), halving=False),
    "optuna_tpe_informed_horizon": lambda of: optuna(of, of.policy(of.steps), halving=False),
    "optuna_hyperband": lambda of: optuna(of, halving=True),
    "optuna_hyperband_informed": lambda of: optuna(of, of.policy(None), halving=True),
    "optuna_hyperband_informed_horizon": lambda of: optuna(of, of.policy(of.steps), halving=True),
    "ray_asha": ray,
    "ray_asha_informed": lambda of: ray(of, of.policy(None)),
    "ray_asha_informed_horizon": lambda of: ray(of, of.policy(of.steps)),
    "syne_tune_asha": syne_tune,
    "syne_tune_asha_informed": lambda of: syne_tune(of, of.policy(None)),
    "neps_hyperband": neps_hyperband,
    "neps_hyperband_informed": lambda of: neps_hyperband(of, of.policy(None)),
}
BASELINES = ("optuna_tpe", "optuna_hyperband", "ray_asha", "syne_tune_asha", "neps_hyperband")
PACKAGES = ("optuna", "ray", "syne_tune", "neps")
"""A method's name begins with that of what it imports."""


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for runs.csv and table.md; runs resume"
    )
    parser.add_argument("--seeds", type=int, default=20, help="paired seeds (default 20)")
    parser.add_argument("--first", type=int, default=FIRST, help=f"first of them (default {FIRST})")
    parser.add_argument(
        "--methods", nargs="+", choices=sorted(METHODS), default=None, help="all that are installed or there"
    )
    parser.add_argument(
        "--plain", type=Path, default=None, help="folder of an earlier table: its runs alone, its target"
    )
    parser.add_argument("--task", choices=("digits", "xgboost"), default="digits", help="what is tuned")
    parser.add_argument("--architecture", action="store_true", help="tune the network too")
    parser.add_argument(
        "--prior", default=None, help="of the warm start (default that of Informed, of trees xgboost)"
    )
    trees = parser.add_argument_group("--task xgboost")
    trees.add_argument(
        "--table", nargs="+", default=["sklearn/digits"], help="files of tasks (default sklearn/digits)"
    )
    trees.add_argument("--rows", type=int, default=None, help="at most so many rows of the table")
    trees.add_argument("--bins", type=int, default=256, help="of a column's histogram (default 256)")
    trees.add_argument("--past", type=Path, default=None, help="earlier results to enqueue, not the prior's")
    options = parser.parse_args()
    able = [m for m in METHODS if options.task == "xgboost" or m != "optuna_tpe_enqueued"]
    if unable := sorted(set(options.methods or able) - set(able)):
        parser.error(f"--methods: must be some of {able} with these options, but got {unable}")
    seeds = range(options.first, options.first + options.seeds)
    several = len(options.table) > 1
    if several and options.plain is not None:
        parser.error("--plain: is for one table")
    for table in options.table:
        folder = options.output / Path(table).name if several else options.output
        of = _workload(options, table)
        target = None if options.plain is None else report.plain(options.plain, of, BASELINES, seeds, folder)
        methods = options.methods or _at_hand(able, folder, seeds)
        text = compared(of, methods, seeds, folder, target)
        sys.stdout.write(text + "\n" * several)
    if several:
        text = report.pooled([options.output / Path(table).name for table in options.table])
        (options.output / "pooled.md").write_text(text)
        sys.stdout.write(text)
    return 0


def _at_hand(methods: Sequence[str], output: Path, seeds: Sequence[int]) -> list[str]:
    """Return the methods whose tool is installed, or whose runs are there; say which others there are."""
    found = []
    for method in methods:
        package = next(name for name in PACKAGES if method.startswith(name))
        if find_spec(package) is not None or all(
            report.path_of(output, method, seed).is_file() for seed in seeds
        ):
            found.append(method)
        else:
            sys.stderr.write(f"{method}: left out, {package} is not installed\n")
    return found


def _workload(options: argparse.Namespace, table: str) -> Workload:
    if options.task == "digits":
        return digits.workload(options.architecture, options.prior or priors.SHIPPED)
    from benchmarks.warm_starts.tools_effect import trees

    return trees.workload(table, options.rows, options.prior or "xgboost", options.past, options.bins)


def compared(
    of: Workload, methods: Sequence[str], seeds: Sequence[int], output: Path, target: float | None = None
) -> str:
    """Run what is missing, pilots where no target is given, and return the table; all is in `output`."""
    torch.set_num_threads(1)
    (output / "cells").mkdir(parents=True, exist_ok=True)
    if target is None:
        pilots = [_cell(output, of, "optuna_tpe", PILOT + i).best_at(AT) for i in range(PILOTS)]
        target = float(np.median(pilots))
    cells = {(method, seed): _cell(output, of, method, seed) for seed in seeds for method in methods}
    runs = output / "runs.csv"
    report.write_runs(runs, of, cells)
    rows = report.comparisons(runs, of, target, _against(methods))
    table = report.table(rows, of, cells, target)
    (output / "table.md").write_text(table)
    (output / report.COMPARISONS).write_text(json.dumps(rows, indent=1) + "\n")
    (output / "provenance.json").write_text(json.dumps(provenance(), indent=2) + "\n")
    return table


def _against(methods: Sequence[str]) -> dict[str, list[str]]:
    """Return what is compared with each baseline: all with a warm start, its own that know the horizon."""
    found: dict[str, list[str]] = {}
    for baseline in BASELINES:
        own = {f"{baseline}_informed_horizon", f"{baseline}_enqueued"}
        others = [m for m in methods if m.endswith("_informed") or m in own]
        if baseline in methods and others:
            found[baseline] = others
    both = {"optuna_tpe_enqueued", "optuna_tpe_informed"}  # the same past, put to use in two ways
    if both <= set(methods):
        found["optuna_tpe_enqueued"] = ["optuna_tpe_informed"]
    return found


def _cell(output: Path, of: Workload, method: str, seed: int) -> Clock:
    """Return a finished run, from its file if there is one."""
    path, clock = report.path_of(output, method, seed), of.clock()
    if path.is_file():
        clock.scores = [(at, score) for at, score in json.loads(path.read_text())]
        return clock
    begun = time.perf_counter()
    METHODS[method](of)(seed, clock)
    path.write_text(json.dumps(clock.scores))
    sys.stderr.write(f"{method} {seed}: best {clock.best_at(1.0):.4f}, {time.perf_counter() - begun:.1f} s\n")
    return clock


if __name__ == "__main__":
    sys.exit(main())

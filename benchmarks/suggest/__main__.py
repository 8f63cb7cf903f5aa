"""A suggested learning rate against learning-rate finders: loss after training there, over the best rate's.

    HYPERNUDGE_DATA=... python -m benchmarks.suggest --json [--quick] [--output FOLDER] [--development]

On ten tasks every rate of a grid, half a decade apart, is trained, and every suggestion. Each training is a
line in `trainings.jsonl`; what is there is not computed again. The last line that is printed is the summary.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts import Lines
from benchmarks.suggest.report import summary, table
from benchmarks.suggest.rivals import RIVALS
from benchmarks.suggest.tasks import CONFIRMATION, DEVELOPMENT, Problem
from benchmarks.suggest.training import WARMUP, loader, train
from hypernudge import Suggestion, suggest

Row = dict[str, Any]
FEW = 400  # steps of all trials together, of `suggest_400`
SEEDS, DEVELOPMENT_SEEDS = (524, 525, 526), (1, 2)
ALL = ("grid", "suggest", *RIVALS)
SHORT = "suggest_400"  # only where it is asked for
QUICK = ("digits_raw_sgd", "bike_raw_adam")


def ours(problem: Problem, seed: int, trial_steps: int | None = None) -> Suggestion:
    """Ask `hypernudge.suggest`, with its defaults but no limit on time."""
    schedule = {"name": "cosine", "warmup": WARMUP} if problem.schedule == "cosine" else problem.schedule
    return suggest(
        problem.build(seed),
        problem.loss,
        loader(problem, seed + 1000),
        lambda params: problem.optimizer(params, 1e-3),
        steps=problem.steps,
        schedule=schedule,
        trial_steps=trial_steps,
        seconds=None,
        seed=seed,
    )


def suggestions(problem: Problem, seed: int, done: Callable[[str], bool]) -> Iterator[Row]:
    """Yield what each method that is not done suggests, and its processor time."""
    for name, trial_steps in (("suggest", None), (SHORT, FEW)):
        if not done(name):
            yield {"method": name, **_ours(problem, seed, trial_steps)}
    for name, rule in RIVALS.items():
        if not done(name):
            began = time.process_time()
            rate = rule(problem, seed)
            yield {"method": name, "rate": rate, "cpu_s": round(time.process_time() - began, 2)}


def _ours(problem: Problem, seed: int, trial_steps: int | None) -> Row:
    began = time.process_time()
    found = ours(problem, seed, trial_steps)
    return {
        "rate": found.lr,
        "low": found.low,
        "high": found.high,
        "gradients": found.gradients,
        "cpu_s": round(time.process_time() - began, 2),
        "notes": list(found.notes),
        "trials": [[trial.rate, trial.steps, trial.loss] for trial in found.trials],
    }


def measured(problem: Problem, seed: int, done: Callable[[Row], bool]) -> Iterator[Row]:
    """Yield the trainings of a task under a seed that are not done: the grid, then suggestions."""
    head = {"task": problem.name, "seed": seed}
    for rate in problem.rates:
        row = {**head, "method": "grid", "rate": rate}
        if not done(row):
            yield {**row, **trained(problem, seed, rate)}
    before: dict[float, Row] = {}  # rules that read one sweep often agree
    for found in suggestions(problem, seed, lambda name: done({**head, "method": name})):
        rate = found["rate"]
        if rate not in before:
            ok = rate is not None and math.isfinite(rate) and rate > 0
            before[rate] = trained(problem, seed, rate) if ok else {"held_out": None, "train": None}
        yield {**head, **found, **before[rate]}


def trained(problem: Problem, seed: int, rate: float) -> Row:
    """Return the losses after a training, None where it diverged."""
    held_out, train_loss, _ = train(problem, seed, rate)
    finite = math.isfinite(held_out)
    return {"held_out": held_out if finite else None, "train": train_loss if finite else None}


def main() -> int:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON lines only")
    parser.add_argument("--quick", action="store_true", help="two tasks, one seed, short trainings")
    parser.add_argument("--development", action="store_true", help="the tasks that constants were chosen on")
    parser.add_argument("--seeds", type=int, nargs="+", help="in the place of those of the published table")
    parser.add_argument("--tasks", nargs="+", help="in the place of all")
    parser.add_argument("--methods", nargs="+", choices=(*ALL, SHORT), help=f"all but {SHORT}")
    parser.add_argument("--output", type=Path, help="folder of trainings.jsonl and summary.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    problems: tuple[Problem, ...] = DEVELOPMENT if options.development else CONFIRMATION
    seeds = options.seeds or (DEVELOPMENT_SEEDS if options.development else SEEDS)
    if options.tasks:
        problems = tuple(problem for problem in problems if problem.name in options.tasks)
    if options.quick:
        problems = tuple(replace(p, steps=100) for p in problems if p.name in QUICK) or problems[:1]
        seeds = seeds[:1]
    kept = None if options.output is None or options.quick else options.output / "trainings.jsonl"
    lines = Lines(kept)
    known = {_key(row) for row in lines.rows}
    wanted = options.methods or ALL

    def not_asked(row: Row) -> bool:
        return row["method"] not in wanted

    for seed in seeds:
        for problem in problems:
            for row in measured(problem, seed, lambda row: not_asked(row) or _key(row) in known):
                lines.append(row)
                print(json.dumps(row), flush=True)
    found = summary(lines.rows)
    if options.output is not None and not options.quick:
        (options.output / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.output / "summary.md").write_text(table(found))
    if not options.json:
        print(table(found))
    print(json.dumps({"suggest": found["methods"]}))
    return 0


def _key(row: Row) -> tuple[Any, ...]:
    return row["task"], row["seed"], row["method"], row.get("rate") if row["method"] == "grid" else None


if __name__ == "__main__":
    sys.exit(main())

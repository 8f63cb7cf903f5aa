"""How many trials until a good one: a past of other tables against random order, and against their winners.

    python -m benchmarks.priors benchmarks/results/priors/xgboost_past.csv --output benchmarks/results/priors

Leave one family of tables out: the others are the past, its own rows are what can be tried. Nothing is
trained. Every table was tried with the same configurations, so another table's winner is a row of this one.

- random: the expectation, in closed form;
- winners: the best row of each past table first, in random order, then random rows: what somebody would do
  with Optuna's `enqueue_trial`;
- order: rows in the order that the past foretells, nothing learned meanwhile;
- informed: as the warm start decides, learning from what was tried; half the first trials are random.

A ratio is the number of trials over random's, the geometric mean over tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hypernudge.harness.inspection.past_prior import space_of
from hypernudge.harness.inspection.past_sources import Reading, read_past
from hypernudge.random import stream
from hypernudge.space import SearchSpace
from hypernudge.tasks.spaces import SPACES
from hypernudge.warmstart.measurement.ranks import normal_scores
from hypernudge.warmstart.past.belief import Results, belief
from hypernudge.warmstart.past.choice import Options
from hypernudge.warmstart.past.studies import PastStudy
from hypernudge.warmstart.past.transfer import Transfer, transfer

TOPS = (0.05, 0.1, 0.2)
COUNTS = (1, 3, 10)  # of past tables; all others besides
SEEDS = 30
HOW = Options()
RESAMPLES = 2000  # of tables, for the intervals


def expected(n: int, good: int) -> float:
    """Return the trials that random order needs on average until the first of `good` among `n`."""
    return (n + 1) / (good + 1)


def until(order: Sequence[int], good: np.ndarray) -> int:
    """Return the trials until the first good row."""
    return next(place for place, row in enumerate(order, 1) if good[row])


def winners(past: Sequence[PastStudy], own: PastStudy, rng: np.random.Generator) -> list[int]:
    """Return the rows of a table: the winners of past ones in random order, then the others."""
    mine = {row: place for place, row in reversed(list(enumerate(zip(*_columns(own), strict=True))))}
    best = [list(zip(*_columns(study), strict=True))[int(np.argmax(study.scores[-1]))] for study in past]
    first = list(dict.fromkeys(mine[row] for row in best if row in mine))
    rng.shuffle(first)
    rest = [row for row in rng.permutation(len(own)).tolist() if row not in first]
    return first + rest


def _columns(study: PastStudy) -> list[tuple[Any, ...]]:
    return [study.columns[name] for name in sorted(study.columns)]


def foretold(found: Transfer, own: PastStudy, rng: np.random.Generator) -> list[int]:
    """Return the rows of a table in the order that the past foretells; random where it says nothing."""
    if not found.probability:
        return [int(row) for row in rng.permutation(len(own))]
    said = found.features.of_study(own) @ found.chosen_by
    return list(map(int, np.argsort(-said, kind="stable")))


def informed(found: Transfer, own: PastStudy, rng: np.random.Generator) -> list[int]:
    """Return the rows of a table as the warm start would try them."""
    phi, scores = found.features.of_study(own), own.scores[-1]
    left = list(range(len(own)))
    order: list[int] = []
    while left:
        chosen: int = left[int(rng.integers(len(left)))]
        if found.probability:
            now = belief(found, phi[order], _results(scores[order]), 1.0)
            weights = found.chosen_by + now.deviation
            if len(order) >= HOW.greedy_trials:
                root = np.linalg.cholesky(now.covariance + 1e-8 * np.eye(len(weights)))
                weights = weights + HOW.spread * (root @ rng.standard_normal(len(weights)))
            if rng.random() < now.followed:
                chosen = left[int(np.argmax(phi[left] @ weights))]
        order.append(chosen)
        left.remove(chosen)
    return order


def _results(scores: np.ndarray) -> Results:
    n = len(scores) if len(scores) >= HOW.min_results else 0
    return Results(np.arange(n), np.ones(n, dtype=int), normal_scores(scores[:n]), np.ones(n))


METHODS: dict[str, Callable[[Transfer, Sequence[PastStudy], PastStudy, np.random.Generator], list[int]]] = {
    "winners": lambda found, past, own, rng: winners(past, own, rng),
    "order": lambda found, past, own, rng: foretold(found, own, rng),
    "informed": lambda found, past, own, rng: informed(found, own, rng),
}


def measured(space: SearchSpace, studies: Sequence[PastStudy], seeds: int) -> pd.DataFrame:
    """Return a row per table, number of past tables and method: trials until a good one over random's."""
    rows = []
    for own in studies:
        others = [study for study in studies if study.family != own.family]
        known: dict[tuple[str, ...], Transfer] = {}
        for count in (*(c for c in COUNTS if c < len(others)), len(others)):
            trials: dict[tuple[str, float], list[int]] = {}
            for seed in range(seeds):
                rng = stream(seed, "past", own.task, count)
                past = [others[i] for i in sorted(rng.permutation(len(others))[:count])]
                key = tuple(study.task for study in past)
                if key not in known:
                    known[key] = transfer(space, past)
                for method, ordered in METHODS.items():
                    order = ordered(known[key], past, own, rng)
                    for top in TOPS:
                        good = own.scores[-1] >= np.quantile(own.scores[-1], 1 - top)
                        trials.setdefault((method, top), []).append(until(order, good))
            for (method, top), found in trials.items():
                good = own.scores[-1] >= np.quantile(own.scores[-1], 1 - top)
                base = expected(len(own), int(good.sum()))
                of = {"task": own.task, "past": "all" if count == len(others) else str(count)}
                rows.append({**of, "method": method, "top": top, "trials": np.mean(found), "random": base})
    frame = pd.DataFrame(rows)
    return frame.assign(ratio=frame["trials"] / frame["random"])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the geometric means over tables with 95 % intervals of a bootstrap of tables."""
    rows = []
    for (past, method, top), part in frame.groupby(["past", "method", "top"], sort=False):
        logs = np.log(part["ratio"].to_numpy())
        draws = stream(0, "tables").integers(len(logs), size=(RESAMPLES, len(logs)))
        low, high = np.exp(np.quantile(logs[draws].mean(axis=1), [0.025, 0.975]))
        ratio = float(np.exp(logs.mean()))
        rows.append({"past": past, "method": method, "top": top, "ratio": ratio, "low": low, "high": high})
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame) -> str:
    """Return the summary as a table."""
    lines = [
        "| past tables | " + " | ".join(f"best {top:.0%}" for top in TOPS) + " |",
        "|---" * (len(TOPS) + 1) + "|",
    ]
    for (past, method), part in frame.groupby(["past", "method"], sort=False):
        cells = [f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in part.itertuples()]
        lines.append(f"| {past}, {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("past", nargs="+", metavar="SOURCE", help="as of `hypernudge prior build`")
    parser.add_argument("--mode", choices=("min", "max"), default="max")
    parser.add_argument("--space", default="xgboost", help="registered space, or `own` for what was tried")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write trials.csv, summary.csv and .md there"
    )
    options = parser.parse_args()
    studies, _ = read_past(options.past, Reading(mode=options.mode))
    space = space_of(studies) if options.space == "own" else SPACES[options.space]
    frame = measured(space, studies, options.seeds)
    found = summary(frame)
    sys.stdout.write(markdown(found))
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        frame.round(4).to_csv(options.output / "trials.csv", index=False, lineterminator="\n")
        found.round(4).to_csv(options.output / "summary.csv", index=False, lineterminator="\n")
        (options.output / "summary.md").write_text(markdown(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

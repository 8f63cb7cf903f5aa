"""How many trials until a good one: a past of other tables, beside random order and past winners.

    python -m benchmarks.priors benchmarks/results/priors/xgboost_past.csv.gz --output FOLDER

Leave one family of tables out: the others are the past, its own rows are what can be tried. Nothing is
trained. Every table was tried with the same configurations, so another table's winner is a row of this one.

- random: the expectation, in closed form;
- winners: the best row of each past table first, in random order, then random rows: what somebody would do
  with Optuna's `enqueue_trial`;
- order: rows in the order that the past foretells, nothing learned meanwhile;
- informed: as the warm start decides where no cost is stated, so inside other tools: by rank, learning from
  what was tried; half the first trials are random;
- informed, per cost: as it decides for boosted trees of this library, whose cost a formula states. The
  formula is asked for a table of usual size.

A ratio is the number of trials, or their stated cost, over random's, the geometric mean over tables.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hypernudge.harness.inspection.past_prior import space_of
from hypernudge.harness.inspection.past_sources import Reading, read_past
from hypernudge.random import stream
from hypernudge.space import SearchSpace
from hypernudge.tasks.spaces import SPACES
from hypernudge.tasks.tabular.cost import boosting_flops
from hypernudge.warmstart.measurement.ranks import normal_scores
from hypernudge.warmstart.past.belief import Results, belief
from hypernudge.warmstart.past.choice import Options, worth
from hypernudge.warmstart.past.cost import log_cost_weights
from hypernudge.warmstart.past.studies import PastStudy
from hypernudge.warmstart.past.transfer import Transfer, transfer

TOPS = (0.05, 0.1, 0.2)
COUNTS = (1, 3, 10)  # of past tables; all others besides
SEEDS = 30
HOW = Options()
RESAMPLES = 2000  # of tables, for the intervals
TREES = "xgboost"
"""The space of which a formula states the cost."""


class Usual:
    """A table of usual size: 1,200 rows to train on, 20 columns, one tree a round."""

    def stated_flops(self, hp: Mapping[str, Any]) -> float:
        """Return the cost of a round."""
        named = {"max_depth": hp["max_depth"], "subsample": hp["subsample"]}
        named["colsample_bytree"] = hp["colsample_bytree"]
        return boosting_flops(named, rows=1200, columns=20, outputs=1, rounds=1, bins=20 * 256)


@dataclass(frozen=True)
class Case:
    """What an order of rows is made from.

    Attributes:
        found: What the past foretells.
        past: The past tables.
        own: The table whose rows are tried.
        best: Whether each of its rows is among the very best: an order may end at the first of them.
        cost_weights: What foretells a cost's logarithm from features, `(size,)`; None if nobody states it.
    """

    found: Transfer
    past: Sequence[PastStudy]
    own: PastStudy
    best: np.ndarray
    cost_weights: np.ndarray | None = None


def costs_of(own: PastStudy) -> np.ndarray:
    """Return the stated cost of each row, `(rows,)`."""
    usual, names = Usual(), sorted(own.columns)
    return np.array(
        [usual.stated_flops(dict(zip(names, row, strict=True))) for row in zip(*_columns(own), strict=True)]
    )


def expected(costs: np.ndarray, good: np.ndarray) -> float:
    """Return what random order spends on average until the first good row, itself among it.

    A row that is not good comes before all `k` good ones with probability `1 / (k + 1)`.
    """
    k = int(good.sum())
    return float(costs[~good].sum() / (k + 1) + costs[good].mean())


def until(order: Sequence[int], costs: np.ndarray, good: np.ndarray) -> float:
    """Return what is spent until the first good row, itself among it."""
    place = next(place for place, row in enumerate(order, 1) if good[row])
    return float(costs[list(order[:place])].sum())


def winners(case: Case, rng: np.random.Generator) -> list[int]:
    """Return the rows of a table: the winners of past ones in random order, then the others."""
    own = case.own
    mine = {row: place for place, row in reversed(list(enumerate(zip(*_columns(own), strict=True))))}
    best = [list(zip(*_columns(study), strict=True))[int(np.argmax(study.scores[-1]))] for study in case.past]
    first = list(dict.fromkeys(mine[row] for row in best if row in mine))
    rng.shuffle(first)
    rest = [row for row in rng.permutation(len(own)).tolist() if row not in first]
    return first + rest


def _columns(study: PastStudy) -> list[tuple[Any, ...]]:
    return [study.columns[name] for name in sorted(study.columns)]


def foretold(case: Case, rng: np.random.Generator) -> list[int]:
    """Return the rows of a table in the order that the past foretells; random where it says nothing."""
    found = case.found
    if not found.probability:
        return [int(row) for row in rng.permutation(len(case.own))]
    said = found.features.of_study(case.own) @ found.chosen_by
    return list(map(int, np.argsort(-said, kind="stable")))


def informed(case: Case, rng: np.random.Generator, weighed: bool = False) -> list[int]:
    """Return rows of a table as the warm start would try them, their cost `weighed` or not."""
    costs = case.cost_weights if weighed else None
    found = case.found
    phi, scores = found.features.of_study(case.own), case.own.scores[-1]
    left = list(range(len(case.own)))
    order: list[int] = []
    while left and not (order and case.best[order[-1]]):
        chosen: int = left[int(rng.integers(len(left)))]
        if found.probability:
            now = belief(found, phi[order], _results(scores[order]), 1.0)
            deviation = now.deviation
            if len(order) >= HOW.greedy_trials:
                root = np.linalg.cholesky(now.covariance + 1e-8 * np.eye(len(deviation)))
                deviation = deviation + HOW.spread * (root @ rng.standard_normal(len(deviation)))
            if rng.random() < now.followed:
                value = worth(found, phi[left], deviation, now.covariance, costs, HOW.cost_weight)
                chosen = left[int(np.argmax(value))]
        order.append(chosen)
        left.remove(chosen)
    return order


def _results(scores: np.ndarray) -> Results:
    n = len(scores) if len(scores) >= HOW.min_results else 0
    return Results(np.arange(n), np.ones(n, dtype=int), normal_scores(scores[:n]), np.ones(n))


def per_cost(case: Case, rng: np.random.Generator) -> list[int]:
    """Return the rows as the warm start would try them where a formula states the cost."""
    return informed(case, rng, weighed=True)


Method = Callable[[Case, np.random.Generator], list[int]]
METHODS: dict[str, Method] = {"winners": winners, "order": foretold, "informed": informed}
WITH_COST: dict[str, Method] = {**METHODS, "informed, per cost": per_cost}


def measured(
    space: SearchSpace, studies: Sequence[PastStudy], seeds: int, stated: bool = False
) -> pd.DataFrame:
    """Return a row per table, number of past tables, method and measure: what a good one took over random's.

    Args:
        space: What may be tried.
        studies: The tables.
        seeds: Draws of a past.
        stated: Whether the space is that of boosted trees, of which a formula states the cost.
    """
    rows = []
    for own in studies:
        others = [study for study in studies if study.family != own.family]
        spent = {"trials": np.ones(len(own)), **({"cost": costs_of(own)} if stated else {})}
        tops = {top: own.scores[-1] >= np.quantile(own.scores[-1], 1 - top) for top in TOPS}
        known: dict[tuple[str, ...], tuple[Transfer, np.ndarray | None]] = {}
        for count in (*(c for c in COUNTS if c < len(others)), len(others)):
            totals: dict[tuple[str, str, float], list[float]] = {}
            for seed in range(seeds):
                rng = stream(seed, "past", own.task, count)
                past = [others[i] for i in sorted(rng.permutation(len(others))[:count])]
                key = tuple(study.task for study in past)
                if key not in known:
                    foretells = transfer(space, past)
                    weights = log_cost_weights(Usual(), foretells.features) if stated else None
                    known[key] = foretells, weights
                case = Case(known[key][0], past, own, tops[min(TOPS)], known[key][1])
                for method, ordered in (WITH_COST if stated else METHODS).items():
                    order = ordered(case, rng)
                    for measure, costs in spent.items():
                        for top, good in tops.items():
                            totals.setdefault((method, measure, top), []).append(until(order, costs, good))
            for (method, measure, top), found in totals.items():
                base = expected(spent[measure], tops[top])
                of = {"task": own.task, "past": "all" if count == len(others) else str(count)}
                of |= {"method": method, "measure": measure}
                rows.append({**of, "top": top, "spent": np.mean(found), "random": base})
    frame = pd.DataFrame(rows)
    return frame.assign(ratio=frame["spent"] / frame["random"])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the geometric means over tables with 95 % intervals of a bootstrap of tables."""
    rows = []
    by = ["past", "method", "measure", "top"]
    for key, part in frame.groupby(by, sort=False):
        logs = np.log(part["ratio"].to_numpy())
        draws = stream(0, "tables").integers(len(logs), size=(RESAMPLES, len(logs)))
        low, high = np.exp(np.quantile(logs[draws].mean(axis=1), [0.025, 0.975]))
        ratio = float(np.exp(logs.mean()))
        rows.append({**dict(zip(by, key, strict=True)), "ratio": ratio, "low": low, "high": high})
    return pd.DataFrame(rows)


def markdown(frame: pd.DataFrame) -> str:
    """Return the summary as a table of each measure."""
    parts = []
    for measure, of_it in frame.groupby("measure", sort=False):
        lines = [
            f"| {measure}, after past tables | " + " | ".join(f"best {top:.0%}" for top in TOPS) + " |",
            "|---" * (len(TOPS) + 1) + "|",
        ]
        for (past, method), part in of_it.groupby(["past", "method"], sort=False):
            cells = [f"{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]" for row in part.itertuples()]
            lines.append(f"| {past}, {method} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("past", nargs="+", metavar="SOURCE", help="as of `hypernudge prior build`")
    parser.add_argument("--mode", choices=("min", "max"), default="max")
    parser.add_argument("--space", default=TREES, help="registered space, or `own` for what was tried")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="write trials.csv, summary.csv and .md there"
    )
    options = parser.parse_args()
    studies, _ = read_past(options.past, Reading(mode=options.mode))
    space = space_of(studies) if options.space == "own" else SPACES[options.space]
    frame = measured(space, studies, options.seeds, stated=options.space == TREES)
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

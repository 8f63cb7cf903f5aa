"""The benchmark of what past studies are worth: expectations, costs, and where an order ends."""

import dataclasses
from itertools import permutations

import numpy as np
import pytest

from benchmarks.priors import __main__ as priors
from hypernudge.random import stream
from hypernudge.tasks.spaces import SPACES
from hypernudge.warmstart.past.studies import PastTrial, past_study

SPACE = SPACES["xgboost"]


def studies(tables=4, rows=24):
    """Tables that were tried with the same rows, and like the same: eta near .1, shallow trees."""
    configs = [dict(SPACE.sample(np.random.default_rng(i))) for i in range(rows)]
    found = []
    for table in range(tables):
        rng = np.random.default_rng(100 + table)
        scores = [-abs(np.log10(hp["eta"]) + 1) + 0.05 * rng.standard_normal() for hp in configs]
        trials = [PastTrial(hp, {1: score}) for hp, score in zip(configs, scores, strict=True)]
        found.append(past_study(f"t{table}", trials, log=("eta",)))
    return found


def test_the_expectation_is_the_mean_over_all_orders():
    costs, good = np.array([1.0, 5.0, 2.0, 4.0, 3.0]), np.array([False, True, False, False, True])
    spent = [priors.until(order, costs, good) for order in permutations(range(5))]
    assert priors.expected(costs, good) == pytest.approx(np.mean(spent))
    assert priors.expected(np.ones(5), good) == pytest.approx(6 / 3)


def test_costs_are_those_of_the_rows():
    own = studies(1)[0]
    costs = priors.costs_of(own)
    deep, shallow = (int(f(own.columns["max_depth"])) for f in (np.argmax, np.argmin))
    assert len(costs) == len(own) and costs[deep] > costs[shallow] > 0


def test_a_past_saves_trials_and_its_cost_counts():
    past = studies(3, 16)
    frame = priors.measured(SPACE, past, seeds=1, stated=True)
    assert set(frame["measure"]) == {"trials", "cost"} and set(frame["past"]) == {"1", "all"}
    means = frame.groupby(["method", "measure", "past"])["ratio"].mean()
    assert means["informed", "trials", "all"] < 0.9
    text = priors.markdown(priors.summary(frame))
    assert "| cost, after past tables | best 5% |" in text and "| all, informed, per cost | " in text
    plain = priors.measured(SPACE, past[:2], seeds=1)
    assert set(plain["measure"]) == {"trials"} and "informed, per cost" not in set(plain["method"])


def test_an_order_ends_at_the_first_of_the_best():
    past = studies()
    own, found = past[0], priors.transfer(SPACE, past[1:])
    scores = own.scores[-1]
    best = scores >= np.quantile(scores, 0.9)
    short = priors.informed(priors.Case(found, past[1:], own, best), stream(0))
    whole = priors.informed(priors.Case(found, past[1:], own, np.zeros(len(own), bool)), stream(0))
    assert best[short[-1]] and not best[short[:-1]].any() and whole[: len(short)] == short
    assert sorted(whole) == list(range(len(own)))


def test_a_cost_that_counts_in_full_makes_for_cheaper_rows(monkeypatch):
    past = studies()
    own, found = past[0], priors.transfer(SPACE, past[1:])
    weights = priors.log_cost_weights(priors.Usual(), found.features)
    case = priors.Case(found, past[1:], own, np.zeros(len(own), bool), weights)
    monkeypatch.setattr(priors, "HOW", dataclasses.replace(priors.HOW, cost_weight=1.0))
    costs = np.log(priors.costs_of(own))
    orders = [(priors.informed(case, stream(i)), priors.per_cost(case, stream(i))) for i in range(2)]
    by_rank, per_cost = (
        np.mean([costs[order[:8]].mean() for order in found]) for found in zip(*orders, strict=True)
    )
    assert per_cost < by_rank - 0.2

"""`informed` with a prior of past studies where configurations differ in cost: improvement per cost."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from benchmarks.warm_starts.past_controls import Cheaper, PastWinners
from hypernudge import Informed
from hypernudge.errors import InvalidArgumentError
from hypernudge.task import StatesCost
from hypernudge.warmstart.past.cost import log_cost_weights, log_expected_improvement
from hypernudge.warmstart.past.transfer import transfer
from tests.warmstart.pasts import SPACE, score, study
from tests.warmstart.test_past_choice import Formula, formula, random_search, written

STUDIES = [study(f"t{i}", i) for i in range(3)]


class Priced(Formula):
    """Its cost doubles with each level of depth, and grows with the share."""

    def unit_flops(self, hp):
        return 2.0 ** hp["depth"] * hp["share"]

    stated_flops = unit_flops


def priced():
    return Priced(SPACE, score)


def chosen(trials):
    return [t for t in trials if t.nudge.kind in ("prior", "data")]


def said(trial):
    return trial.nudge.config, trial.nudge.kind, trial.nudge.reason, trial.nudge.measurements


def test_cheap_starts_are_preferred_and_still_good(tmp_path):
    path = written(tmp_path, STUDIES)
    found = {}
    for weight in (0.0, 0.1, 0.5):
        policy = Informed(prior=path, cost_weight=weight)
        trials = [t for seed in range(2) for t in chosen(random_search(priced(), policy, seed))]
        costs = np.log([priced().unit_flops(t.config) for t in trials])
        found[weight] = costs.mean(), np.mean([score(t.config) for t in trials])
        assert all(t.nudge.reason.endswith("draws per cost") == (weight > 0) for t in trials)
    by_rank, little, more = found.values()
    assert little[0] < by_rank[0] - 0.2 and more[0] < little[0] - 0.2
    plain = np.mean([score(t.config) for t in random_search(priced(), None, 0)])
    assert little[1] > plain / 2 and by_rank[1] > plain / 2  # scores are negative: half as far from the best


@pytest.mark.parametrize("cost", [None, lambda hp: 3.0, lambda hp: math.nan, lambda hp: 0.0])
def test_where_nobody_states_a_cost_or_all_are_alike_ranks_decide(tmp_path, cost):
    path = written(tmp_path, STUDIES)
    task = formula()
    if cost is not None:
        task.stated_flops = cost
        assert isinstance(task, StatesCost)
    found = random_search(task, Informed(prior=path), 0, trials=12)
    plain = random_search(formula(), Informed(prior=path, cost_weight=0.0), 0, trials=12)
    assert [said(t) for t in found] == [said(t) for t in plain] and any(t.nudge.changed for t in found)


def test_the_cost_of_a_configuration_is_foretold():
    features = transfer(SPACE, STUDIES).features
    weights = log_cost_weights(priced(), features)
    units = SPACE.draw(np.random.default_rng(1), 200)
    true = np.log([priced().unit_flops(SPACE.decode(unit)) for unit in units])
    said = features.of_units(units) @ weights
    assert (true - true.mean()) == pytest.approx(said - said.mean(), abs=0.15)
    assert np.std(true) > 1.5


@pytest.mark.parametrize("ahead", [-30.0, -8.0, -2.0, 0.0, 1.5])
@pytest.mark.parametrize("deviation", [0.3, 1.2])
def test_expected_improvement_is_its_integral(ahead, deviation):
    start = -ahead / deviation  # of the normal score from which on there is an improvement
    peak = max(start, 0.0)  # the density there is taken out, for it may be very small

    def improvement(z):
        return (ahead + deviation * z) * math.exp(-0.5 * (z**2 - peak**2))

    whole, _ = quad(improvement, start, peak + 12.0, points=[peak], limit=200)
    expected = math.log(whole) - 0.5 * (peak**2 + math.log(2.0 * math.pi))
    found = log_expected_improvement(np.array([ahead]), np.array([deviation]))[0]
    assert found == pytest.approx(expected, abs=5e-3)


def test_the_weight_of_cost_is_a_share():
    with pytest.raises(
        InvalidArgumentError, match=r"cost_weight: must be a number in \[0, 1\], but got -0.1; 0.1 is usual"
    ):
        Informed(prior="xgboost", cost_weight=-0.1)


def test_controls_start_past_winners_and_cheap_draws(tmp_path):
    path = written(tmp_path, STUDIES)
    trials = random_search(priced(), PastWinners(path), 1, trials=6)
    winners = {max((float(s), i) for i, s in enumerate(past.scores[-1]))[1]: past for past in STUDIES}
    best = {past.columns["rate"][row] for row, past in winners.items()}
    assert {f"{t.config['rate']:.5g}" for t in trials[:3]} == {f"{rate:.5g}" for rate in best}
    assert [t.nudge.kind for t in trials] == ["prior"] * 3 + ["passthrough"] * 3
    plain = random_search(priced(), None, 1, trials=20)
    cheap = random_search(priced(), Cheaper(), 1, trials=20)
    costs = [np.mean([priced().unit_flops(t.config) for t in of]) for of in (plain, cheap)]
    assert costs[1] < costs[0] / 3

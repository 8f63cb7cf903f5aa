"""Draws of the next trials made together: the same starts as one trial at a time."""

import math

import numpy as np
import pytest

from hypernudge import AdamW, Informed, Real, SearchSpace
from hypernudge.random import Streams
from hypernudge.tasks.spaces import SPACES
from hypernudge.warmstart.measurement import ahead, candidates, posterior, rates
from hypernudge.warmstart.measurement.ahead import AT_ONCE, Ahead
from hypernudge.warmstart.measurement.features import (
    COLUMNS,
    KNOTS,
    LATTICE,
    SIZE,
    coordinates,
    coordinates_of,
    dense,
    features,
    row,
    score,
    scores,
)
from hypernudge.warmstart.measurement.posterior import Tried
from hypernudge.warmstart.measurement.prior import flat
from tests.laws.test_informed import FIRST, with_results
from tests.warmstart.test_candidates import CONDITIONAL, TABLE, Own

FEW = SearchSpace([Real("lr", 1e-4, 1.0, log=True), Real("weight_decay", 0.0, 0.1)])  # the rest is NaN
SEARCHED = {"conditional": CONDITIONAL, "table": TABLE, "few": FEW} | {n: SPACES[n] for n in ("mid", "mixed")}
STREAMS, SCALE, STEPS = Streams(3), 0.3, 900.0


@pytest.mark.parametrize("optimizer", [None, AdamW(), Own()])
@pytest.mark.parametrize("name", SEARCHED)
def test_an_offer_is_what_would_be_drawn_for_the_trial_alone(bowl, name, optimizer):
    bowl.space, bowl.optimizer = SEARCHED[name], optimizer
    of_study = Ahead(bowl, STREAMS, 24)
    rng = np.random.default_rng(0)
    for number in (0, 1, AT_ONCE - 1, AT_ONCE, 5, 3 * AT_ONCE):
        sampled = bowl.space.sample(STREAMS("config", number))
        offer = of_study.offer(sampled, number, SCALE, STEPS)
        stream = STREAMS("informed", number)
        alone = candidates.drawn(bowl, sampled, SCALE, 24, stream)
        assert [offer.config(i) for i in range(24)] == [alone.config(i) for i in range(24)]
        phi = alone.features(SCALE, STEPS)
        assert np.allclose([offer.features(i) for i in range(24)], phi, atol=1e-14)
        assert np.array_equal(offer.noise, stream.standard_normal(SIZE))
        for _ in range(20):
            weights = rng.standard_normal(SIZE)
            assert offer.best(weights) == int(np.argmax(phi @ weights))


@pytest.mark.parametrize("name", SEARCHED)
def test_which_spaces_are_drawn_ahead(bowl, name, monkeypatch):
    bowl.space = SEARCHED[name]
    calls = []
    monkeypatch.setattr(ahead.candidates, "drawn", lambda *given: calls.append(given))
    with pytest.raises(AttributeError) if name == "conditional" else _nothing():
        Ahead(bowl, STREAMS, 8).offer(bowl.space.sample(STREAMS("config", 0)), 0, SCALE, STEPS)
    assert len(calls) == (name == "conditional")


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_other_scales_steps_and_numbers_are_drawn_anew_and_the_same_again(bowl):
    of_study = Ahead(bowl, STREAMS, 24)
    sampled = bowl.space.sample(STREAMS("config", 0))
    first = of_study.offer(sampled, 2, SCALE, STEPS)
    for other in ((2, SCALE + 1.0, STEPS), (2, SCALE, 2 * STEPS), (99, SCALE, STEPS)):
        changed = of_study.offer(sampled, *other)
        assert not np.array_equal(changed.rising, first.rising)
        again = of_study.offer(sampled, 2, SCALE, STEPS)
        assert np.array_equal(again.left, first.left) and np.array_equal(again.rising, first.rising)


def test_a_study_draws_once_for_many_trials(bowl, monkeypatch):
    calls = []
    plain = Ahead._drawn
    monkeypatch.setattr(Ahead, "_drawn", lambda self, *given: calls.append(given) or plain(self, *given))
    policy = Informed(probe=False, candidates=32)
    history = with_results(bowl, lambda config: config["momentum"], policy=policy)
    firsts = [given[0] for given in calls]
    assert firsts == [n for n in (0, *range(1, 200, AT_ONCE)) if n < len(history.trials)]
    assert [given[1] for given in calls][:3] == [1, AT_ONCE, AT_ONCE]


@pytest.mark.parametrize("policy", [Informed(probe=False), FIRST])
def test_a_study_chooses_what_it_would_draw_by_draw(bowl, policy, monkeypatch):
    def score(config):
        return -abs(math.log10(config["lr"]) + 1)

    fast = with_results(bowl, score, policy=policy)
    monkeypatch.setattr(Ahead, "_is_drawn_alone", lambda self, sampled: False)
    slow = with_results(bowl, score, policy=policy)
    assert [trial.nudge for trial in fast.trials] == [trial.nudge for trial in slow.trials]


def test_one_value_lies_where_an_array_of_one_does():
    rng = np.random.default_rng(2)
    knots = [knot for row in KNOTS.values() for knot in row]
    for _ in range(300):
        values = rng.choice([*knots, *rng.uniform(-5, 3, 20), math.nan, -math.inf, math.inf], len(KNOTS))
        left, rising = LATTICE.places(values[:, None])
        found = LATTICE.place(values.tolist())
        assert found == (left[:, 0].tolist(), rising[:, 0].tolist())
        weights = rng.standard_normal(SIZE)
        assert scores(left, rising, weights) == pytest.approx(dense(left, rising) @ weights, abs=1e-12)
        assert score(*found, weights) == scores(left, rising, weights)[0]
        assert np.array_equal(row(*found), dense(left, rising)[0])


def test_features_of_results_are_the_same_one_by_one_and_together(bowl, monkeypatch):
    bowl.space = SPACES["mid"]
    history = with_results(bowl, lambda config: 0.0, policy=Informed(probe=False, candidates=8))
    one_by_one, together = Tried(bowl), Tried.of(bowl, history)
    for event in history.events:
        one_by_one.apply(event)
        found = one_by_one.learned(len(one_by_one.results), SCALE, STEPS)
    count = len(together.results)
    assert len(found) == count > posterior.FEW
    expected = together.features([number for number, _, _ in together.results], SCALE, STEPS)
    assert np.array_equal(found, expected)
    assert np.array_equal(together.learned(count, SCALE, STEPS), expected)
    assert np.array_equal(one_by_one.learned(3, SCALE, STEPS), expected[:3])
    for other in ((SCALE + 1, STEPS), (SCALE, 2 * STEPS)):  # all are looked at anew
        moved = one_by_one.learned(count, *other)
        assert np.array_equal(moved, Tried.of(bowl, history).learned(count, *other))
        assert not np.array_equal(moved, expected)


def test_coordinates_of_one_are_those_of_many(bowl):
    sampled = bowl.space.sample(STREAMS("config", 7))
    x, values = rates.log_rate(bowl, sampled), [sampled[name] for name in COLUMNS]
    columns = {name: np.array([value]) for name, value in zip(COLUMNS, values, strict=True)}
    expected = coordinates_of(np.array([x]), columns, SCALE, STEPS)[:, 0]
    assert coordinates(x, values, SCALE, STEPS) == expected.tolist()
    absent = coordinates(x, [math.nan] * len(COLUMNS), SCALE, STEPS)
    assert absent[0] == x - SCALE and np.isnan(absent[1:]).all()
    assert np.isfinite(features(bowl, [sampled], SCALE, STEPS)).all()


def test_a_posterior_is_computed_once_for_what_is_known(bowl, monkeypatch):
    calls, plain = [], posterior.posterior
    monkeypatch.setattr(posterior, "posterior", lambda *given: calls.append(given) or plain(*given))
    policy = Informed(probe=False, candidates=8)
    history = with_results(bowl, lambda config: config["momentum"], policy=policy)
    assert len(calls) == len({len(given[3]) for given in calls}) < len(history.trials)
    tried, prior = Tried.of(bowl, history), policy._prior(bowl)
    before = len(calls)
    first = tried.posterior(prior, 3, SCALE, STEPS, True)
    assert tried.posterior(prior, 3, SCALE, STEPS, True) is first and len(calls) == before + 1
    others = (prior, 4, SCALE), (prior, 3, SCALE + 1), (flat(), 3, SCALE)
    for other in others:
        found = tried.posterior(*other, STEPS, True)
        assert found is not first and not np.array_equal(found.mean, first.mean)
    assert np.allclose(first.root @ first.root.T, first.covariance, atol=1e-12)

"""What is believed after results that come one by one: the same, up to rounding, as by inverting a matrix."""

import math

import numpy as np
import pytest

from hypernudge import Informed, SearchSpace
from hypernudge.tasks.spaces import SPACES
from hypernudge.trial import History
from hypernudge.warmstart.measurement import posterior as posteriors
from hypernudge.warmstart.measurement import prior as priors
from hypernudge.warmstart.measurement.features import SIZE
from hypernudge.warmstart.measurement.posterior import ANEW, RANK_DEVIATION, RANK_MEAN, Covariances, Tried
from tests.laws.test_informed import with_results

SCALE, STEPS = 0.3, 900.0
PRIORS = {name: lambda name=name: priors.fitted(name, (), "SGD") for name in ("tables", "near", "language")}
PRIORS["none"] = priors.flat


@pytest.fixture
def tried(bowl):
    bowl.space = SPACES["mid"]
    policy = Informed(probe=False, candidates=8)
    history = with_results(bowl, lambda config: config["momentum"], policy=policy)
    return Tried.of(bowl, history)


@pytest.mark.parametrize("name", PRIORS)
def test_updates_one_by_one_are_an_inverse_up_to_rounding(bowl, tried, name):
    prior, of_study = PRIORS[name](), Covariances()
    size = np.abs(prior.covariance).max()
    for count in range(1, len(tried.results) + 1):
        phi, results = tried.learned(count, SCALE, STEPS), tried.results[:count]
        slow = posteriors.posterior(prior, bowl, phi, results, True)
        fast = posteriors.posterior(prior, bowl, phi, results, True, of_study.after(prior, phi))
        assert np.array_equal(fast.covariance, fast.covariance.T)
        assert np.abs(fast.covariance - slow.covariance).max() < 1e-10 * size
        assert np.allclose(fast.mean, slow.mean, rtol=0.0, atol=1e-9)
        assert np.allclose(fast.root, slow.root, rtol=0.0, atol=1e-9)


def test_what_is_believed_depends_on_results_alone_and_not_on_what_was_asked_before(tried):
    prior, other, of_study = PRIORS["tables"](), priors.flat(), Covariances()
    total = len(tried.results)
    assert total > 3 * ANEW
    one_by_one = [of_study.after(prior, tried.learned(count, SCALE, STEPS)) for count in range(total + 1)]
    for count in (total, 0, ANEW, ANEW - 1, 1, 2 * ANEW + 3, 2 * ANEW + 7, ANEW + 1):
        phi = tried.learned(count, SCALE, STEPS)
        assert np.array_equal(Covariances().after(prior, phi), one_by_one[count])
        assert np.array_equal(of_study.after(prior, phi), one_by_one[count])
        assert not np.array_equal(of_study.after(other, phi), one_by_one[count])
    moved = tried.posterior(prior, 5, SCALE + 1.0, STEPS, True)  # all features are others
    expected = Covariances().after(prior, tried.learned(5, SCALE + 1.0, STEPS))
    assert np.array_equal(moved.covariance, expected)


@pytest.mark.parametrize("policy", [Informed(probe=False), Informed(probe=False, prior="near", refresh=3)])
def test_a_study_starts_what_it_would_with_an_inverse_each_time(bowl, policy, monkeypatch):
    def score(config):
        return -abs(math.log10(config["lr"]) + 1)

    fast = with_results(bowl, score, policy=policy)
    plain = posteriors.posterior
    monkeypatch.setattr(posteriors, "posterior", lambda *given: plain(*given[:5]))
    slow = with_results(bowl, score, policy=policy)
    assert [trial.config for trial in fast.trials] == [trial.config for trial in slow.trials]
    assert [trial.nudge.reason for trial in fast.trials] == [trial.nudge.reason for trial in slow.trials]
    for name in (RANK_MEAN, RANK_DEVIATION):
        noted, expected = ([t.nudge.measurements[name] for t in of.trials] for of in (fast, slow))
        assert noted == pytest.approx(expected, abs=1e-9)
    again = History.replay(slow.events)
    known = [policy._posterior(bowl, history, 0.0, STEPS) for history in (fast, again)]
    assert np.allclose(known[0].covariance, known[1].covariance, rtol=0.0, atol=1e-10)


def test_what_is_believed_of_one_is_what_is_of_many(bowl, tried):
    known = tried.posterior(PRIORS["tables"](), 20, SCALE, STEPS, True)
    phi = tried.learned(len(tried.results), SCALE, STEPS)
    many = known.belief(phi)
    for row, mean, deviation in zip(phi, many.mean, many.deviation, strict=True):
        assert known.believed(row) == pytest.approx((mean, deviation), rel=1e-9)
    assert known.believed(np.zeros(SIZE)) == (0.0, 0.0)


def test_a_task_that_makes_its_space_anew_each_time_begins_one_study(bowl):
    def score(config):
        return config["momentum"]

    class Anew(type(bowl)):
        space = property(lambda self: SearchSpace(list(SPACES["mid"])), lambda self, given: None)

    bowl.space, policy = SPACES["mid"], Informed(probe=False, candidates=8)
    found = with_results(Anew(), score, policy=policy)
    assert len(found._projections) == 1
    expected = with_results(bowl, score, policy=policy)
    assert [trial.config for trial in found.trials] == [trial.config for trial in expected.trials]


def test_scores_with_an_error_are_weighed_by_the_inverse(bowl, tried, monkeypatch):
    bowl.score_error = 0.1
    monkeypatch.setattr(Covariances, "after", lambda self, *given: pytest.fail("its results weigh alike"))
    known = tried.posterior(PRIORS["tables"](), 20, SCALE, STEPS, True)
    assert known.results == 20 and np.linalg.eigvalsh(known.covariance).min() > 0

import math

import pytest

from hypernudge.suggestion.ladder import LARGE, OutOfTimeError, RateTrial, Scale, search


def landscape(best, width=1.0, cliff=1.5, late=0):
    """Return what trains: its gain is a parabola over log10 of the rate; beyond the cliff it diverges."""

    def attempt(rate, steps):
        away = math.log10(rate) - best
        if away > cliff:
            return RateTrial(rate, steps, (2.0, math.inf), diverged=True)
        gain = 0.0 if steps < late else max(0.0, 1.0 - (away / width) ** 2 / 4)
        return RateTrial(rate, steps, (2.0,) * (steps - steps // 2) + (2.0 - gain,) * (steps // 2))

    return attempt


@pytest.mark.parametrize("best", [-7.0, -3.3, -1.0, 0.6])
@pytest.mark.parametrize("centre", [-5.0, -2.0, 0.5])
def test_the_best_rate_is_found_from_anywhere(best, centre):
    found = search(landscape(best), centre, 400, 10_000, Scale(2.0, 0.1))
    if abs(best - centre) < 5:
        assert found.best == pytest.approx(best, abs=0.15)
        assert found.low <= found.best <= found.high
        assert found.rounds == 3 and not found.plateau
        assert sum(trial.steps for trial in found.trials) < 600


def test_a_cliff_beside_the_best_rate_is_not_stepped_over():
    found = search(landscape(-2.0, cliff=0.1), -2.0, 400, 10_000, Scale(2.0, 0.1))
    assert -2.6 <= found.best <= -1.95


def test_where_nothing_is_learned_longer_trials_follow():
    found = search(landscape(-2.0, late=150), -3.0, 400, 10_000, Scale(2.0, 0.01))
    assert not found.plateau and found.steps == 200
    assert found.best == pytest.approx(-2.0, abs=0.5)


def test_where_nothing_is_ever_learned_the_highest_harmless_rate_is_taken():
    found = search(landscape(-2.0, late=10**6), -3.0, 400, 10_000, Scale(2.0, 0.01))
    assert found.plateau
    assert -1.0 <= found.best <= -0.5  # the cliff is at -0.5


def deadly(cliff, late):
    """Return what trains where a rate above the cliff kills the network, whose loss stays as it was."""
    inner = landscape(-2.0, late=late, cliff=9.0)

    def attempt(rate, steps):
        dead = math.log10(rate) > cliff
        return RateTrial(rate, steps, (2.0,) * steps, dead=True) if dead else inner(rate, steps)

    return attempt


def test_on_a_plateau_a_rate_that_kills_the_network_is_not_harmless():
    never = search(deadly(-1.2, late=10**6), -2.0, 400, 10_000, Scale(2.0, 0.01))
    assert never.plateau
    assert -2.0 <= never.best <= -1.2 and never.high <= -1.2
    late = search(deadly(-1.2, late=150), -2.0, 400, 10_000, Scale(2.0, 0.01))
    assert not late.plateau
    assert late.best == pytest.approx(-2.0, abs=0.5)


def test_where_every_rate_tried_kills_the_network_lower_ones_are_tried():
    found = search(deadly(-4.5, late=0), 0.0, 400, 10_000, Scale(2.0, 0.01))
    assert found.best <= -4.5


def test_no_trial_is_longer_than_the_training():
    found = search(landscape(-2.0), -2.0, 400, 12, Scale(2.0, 0.1))
    assert max(trial.steps for trial in found.trials) == 12


def test_all_rates_may_diverge():
    found = search(landscape(-30.0), -3.0, 400, 1000, Scale(2.0, 0.1))
    assert math.isnan(found.best)
    assert all(trial.diverged for trial in found.trials)


@pytest.mark.parametrize("after", [0, 1, 4, 8])
def test_time_may_be_up_at_any_trial(after):
    inner = landscape(-2.0)
    made = []

    def attempt(rate, steps):
        if len(made) == after:
            raise OutOfTimeError
        made.append(rate)
        return inner(rate, steps)

    found = search(attempt, -2.0, 400, 1000, Scale(2.0, 0.1))
    assert len(found.trials) == after
    assert math.isnan(found.best) if not after else abs(found.best + 2.0) <= 0.5


def test_a_spike_counts_little():
    calm = RateTrial(0.1, 30, (1.0, 0.9) * 15)
    spiked = RateTrial(0.1, 30, (1.0, 0.9) * 14 + (1.0, 1e6))
    assert spiked.loss < calm.loss + 0.1
    assert RateTrial(0.1, 30, ()).loss == math.inf


def test_a_large_budget_adds_a_round_and_is_never_worse_when_time_is_up():
    def lengths(budget, planned=10_000):
        found = search(landscape(-2.0), -2.0, budget, planned, Scale(2.0, 0.1))
        return sorted({trial.steps for trial in found.trials}), found.steps

    assert lengths(400) == ([10, 33, 80], 80)
    assert lengths(LARGE - 10) == ([25, 82, 198], 198)
    assert lengths(2000) == ([10, 33, 80, 400], 400)
    assert lengths(2000, planned=250) == ([10, 33, 80, 250], 250)
    assert lengths(2000, planned=50) == ([10, 33, 50], 50)
    inner, small = landscape(-2.0), search(landscape(-2.0), -2.3, 400, 10_000, Scale(2.0, 0.1))
    made = []

    def attempt(rate, steps):
        if len(made) == len(small.trials) + 2:
            raise OutOfTimeError
        made.append(rate)
        return inner(rate, steps)

    cut = search(attempt, -2.3, 2000, 10_000, Scale(2.0, 0.1))
    assert (cut.best, cut.low, cut.high, cut.steps) == (small.best, small.low, small.high, 80)
    assert small.in_time and not cut.in_time and cut.rounds == 3


def test_a_plateau_is_followed_by_no_more_than_five_rounds():
    found = search(landscape(-2.0, late=10**6), -3.0, 2000, 10**6, Scale(2.0, 0.1))
    assert sorted({trial.steps for trial in found.trials}) == [10, 33, 80, 400, 1000]


@pytest.mark.parametrize("constant", [100.0, -100.0, 1e6])
def test_a_constant_in_the_loss_changes_nothing(constant):
    def attempt(rate, steps):
        trial = landscape(-2.0)(rate, steps)
        return RateTrial(rate, steps, tuple(loss + constant for loss in trial.losses), trial.diverged)

    found = search(attempt, -3.0, 400, 10_000, Scale(2.0 + constant, 0.1, first_gain=0.1))
    plain = search(landscape(-2.0), -3.0, 400, 10_000, Scale(2.0, 0.1, first_gain=0.1))
    assert not found.plateau
    assert found.best == pytest.approx(plain.best, abs=1e-6)

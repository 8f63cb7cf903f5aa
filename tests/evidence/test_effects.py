import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from hypernudge.evidence.statistics import intervals
from hypernudge.evidence.statistics.effects import effects, hodges_lehmann
from hypernudge.evidence.statistics.multiplicity import holm, holm_by_family
from hypernudge.evidence.statistics.power import (
    best_case_adjusted_p,
    least_adjusted_p,
    pairs_needed,
    simulated_power,
)
from tests.evidence.reference import hodges_lehmann_by_counting
from tests.evidence.test_paired import pairs_of


def test_holm_equals_statsmodels():
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 24):
        p = rng.uniform(size=size) ** 3
        p[: size // 2] = np.round(p[: size // 2], 1)
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
    assert holm_by_family([0.01, 0.02, 0.03], ["a", "b", "a"]).tolist() == [0.02, 0.02, 0.03]
    assert holm([]).size == 0


@pytest.mark.parametrize(("successes", "trials"), [(0, 9), (3, 9), (9, 9), (27, 40)])
def test_share_intervals_equal_statsmodels(successes, trials):
    for ours, name in ((intervals.wilson, "wilson"), (intervals.clopper_pearson, "beta")):
        got = ours(successes, trials)
        assert (got.low, got.high) == pytest.approx(
            proportion_confint(successes, trials, method=name), abs=1e-10
        )


def test_ties_shorten_the_interval_of_a_share_and_it_still_covers():
    n, share = 30, 0.6
    for tied in (0.1, 0.5):
        rng = np.random.default_rng(3)
        draws = rng.multinomial(n, [share - tied / 2, tied, 1 - share - tied / 2], size=4000)
        covered = longer = 0
        for wins, ties, _ in draws:
            got = intervals.wilson(wins + ties / 2, n, ties=int(ties))
            plain = intervals.wilson(wins + ties / 2, n)
            covered += got.low <= share <= got.high
            longer += plain.high - plain.low < got.high - got.low - 1e-12
        assert 0.93 <= covered / 4000 <= 0.97
        assert longer == 0
    assert intervals.wilson(2.5, 5, ties=5).low < 0.5 < intervals.wilson(2.5, 5, ties=5).high


def test_mean_interval_equals_scipy():
    x = np.random.default_rng(1).normal(size=12)
    got = intervals.mean_interval(x)
    expected = stats.t.interval(0.95, 11, loc=x.mean(), scale=stats.sem(x))
    assert (got.low, got.high) == pytest.approx(expected, abs=1e-10)


def test_hodges_lehmann_estimate_equals_its_twin_and_its_interval_inverts_the_test():
    rng = np.random.default_rng(2)
    for n in (6, 9, 20):
        x = rng.normal(0.4, 1, n)
        got = hodges_lehmann(x)
        assert got.estimate == pytest.approx(hodges_lehmann_by_counting(x), abs=1e-14)
        for inside, limit in ((1e-9, got.low), (-1e-9, got.high)):
            assert stats.wilcoxon(x - (limit + inside), method="exact").pvalue > 0.05
            assert stats.wilcoxon(x - (limit - inside), method="exact").pvalue <= 0.05
    assert np.isnan(hodges_lehmann(np.arange(5.0)).low)


def test_effect_sizes_of_a_known_study():
    baseline, method = np.full(8, 10.0), np.array([5.0, 5, 5, 5, 5, 5, 99, 99])
    got = effects(pairs_of(baseline, method, budget=20))
    assert got.ratio.estimate == pytest.approx(np.exp((6 * np.log(0.5) + 2 * np.log(2)) / 8))
    assert got.ratio_joint.estimate == pytest.approx(0.5)
    assert got.restricted_mean_ratio.estimate == pytest.approx((6 * 5 + 2 * 20) / 80)
    assert got.win_probability.estimate == 0.75
    assert got.reached_difference.estimate == -0.25
    assert got.median_ratio == pytest.approx(0.5)
    for interval in (got.ratio, got.restricted_mean_ratio, got.win_probability, got.reached_difference):
        assert interval.low <= interval.estimate <= interval.high


def test_intervals_cover():
    """500 studies of 20 pairs, a third of the cells censored; the truth comes from 200,000 pairs."""
    rng = np.random.default_rng(5)
    covered = dict.fromkeys(("ratio", "restricted", "win", "reached"), 0)
    latent = rng.normal(0, 0.6, (200_000, 1)) + rng.normal(0, 0.4, (200_000, 2)) + np.array([0.0, -0.3])
    budget = np.exp(np.quantile(latent, 0.67))
    times = np.minimum(np.exp(latent), budget)
    ok = np.exp(latent) <= budget
    truth = {
        "ratio": np.exp(np.mean(np.log(times[:, 1] / times[:, 0]))),
        "restricted": times[:, 1].mean() / times[:, 0].mean(),
        "win": np.mean(np.where(ok.any(1), times[:, 1] < times[:, 0], latent[:, 1] < latent[:, 0])),
        "reached": ok[:, 1].mean() - ok[:, 0].mean(),
    }
    for _ in range(500):
        rows = latent[rng.integers(0, len(latent), 20)]
        got = effects(pairs_of(np.exp(rows[:, 0]), np.exp(rows[:, 1]), budget, -rows[:, 0], -rows[:, 1]))
        for name, interval in (
            ("ratio", got.ratio),
            ("restricted", got.restricted_mean_ratio),
            ("win", got.win_probability),
            ("reached", got.reached_difference),
        ):
            covered[name] += interval.low <= truth[name] <= interval.high
    assert all(0.92 <= count / 500 <= 0.985 for count in covered.values()), covered


def test_power():
    assert least_adjusted_p(10, 24) < 0.05 < least_adjusted_p(9, 24)
    assert pairs_needed() == 6
    assert pairs_needed(comparisons=24) == 10
    assert best_case_adjusted_p([6, 6, 30])[2] < best_case_adjusted_p([6, 6, 30])[0] == 0.0625
    rng = np.random.default_rng(0)
    assert simulated_power(5, 0.5, 0.2, rng, simulations=100) == 0.0
    assert simulated_power(20, 1.0, 0.4, rng, simulations=1000) < 0.08
    low, high = (simulated_power(n, 0.7, 0.5, rng, simulations=400) for n in (8, 25))
    assert low < 0.6 < high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: holm([0.5, np.nan]), "p_values"),
        (lambda: holm_by_family([0.5], []), "equal length"),
        (lambda: intervals.wilson(5, 4), "successes"),
        (lambda: intervals.clopper_pearson(-1, 4), "successes"),
        (lambda: intervals.paired_share_difference(3, 3, 5), "gained"),
        (lambda: intervals.mean_interval(np.zeros(3), 1.0), "level"),
        (lambda: intervals.ratio_of_means_interval(np.zeros(2), np.ones(2)), "positive"),
        (lambda: simulated_power(10, 0.0, 1.0, np.random.default_rng(0)), "ratio"),
        (lambda: simulated_power(0, 0.5, 1.0, np.random.default_rng(0)), "pairs"),
        (lambda: least_adjusted_p(10, 0), "comparisons"),
        (lambda: pairs_needed(1.0), "alpha"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

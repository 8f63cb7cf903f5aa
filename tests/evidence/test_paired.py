import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from hypernudge.evidence.statistics.paired import (
    TimePairs,
    difference_test,
    order_pairs,
    paired_test,
)
from tests.evidence.reference import paired_p_by_enumeration


def pairs_of(baseline, method, budget=np.inf, baseline_final=None, method_final=None):
    """Pairs from latent times: those beyond the budget are censored at it."""
    baseline, method = np.asarray(baseline, dtype=float), np.asarray(method, dtype=float)
    zeros = np.zeros(baseline.size)
    return TimePairs(
        np.minimum(baseline, budget),
        baseline <= budget,
        zeros if baseline_final is None else np.asarray(baseline_final, dtype=float),
        np.minimum(method, budget),
        method <= budget,
        zeros if method_final is None else np.asarray(method_final, dtype=float),
    )


def test_without_censoring_it_is_wilcoxon_on_log_ratios():
    rng = np.random.default_rng(0)
    baseline, method = rng.lognormal(3, 1, 25), rng.lognormal(2.8, 1, 25)
    expected = wilcoxon(np.log(method / baseline), method="exact").pvalue
    assert paired_test(pairs_of(baseline, method)).p_value == pytest.approx(expected, abs=1e-12)


def test_tiers_signs_and_counts():
    pairs = pairs_of(
        [10, 10, 99, 99, 99, 99, 20],
        [5, 99, 10, 99, 99, 99, 20],
        budget=50,
        baseline_final=[1, 1, 0.5, 0.4, 0.6, 0.5, 1],
        method_final=[1, 0.5, 1, 0.5, 0.5, 0.5, 1],
    )
    signs, tiers, magnitudes = order_pairs(pairs)
    assert signs.tolist() == [1, -1, 1, 1, -1, 0, 0]
    assert tiers.tolist() == [1, 2, 2, 0, 0, 0, 1]
    assert magnitudes[0] == pytest.approx(np.log(2))
    result = paired_test(pairs)
    assert (result.wins, result.losses, result.ties) == (3, 2, 2)
    assert (result.both_reached, result.one_reached, result.neither_reached) == (2, 2, 3)


def test_a_score_never_seen_loses_to_any_score_and_ties_with_its_like():
    pairs = pairs_of([99] * 3, [99] * 3, 50, [np.nan, 0.1, np.nan], [0.1, np.nan, np.nan])
    assert order_pairs(pairs)[0].tolist() == [1, -1, 0]


cells = st.tuples(st.integers(1, 8), st.integers(0, 3), st.integers(1, 8), st.integers(0, 3))


@settings(max_examples=80)
@given(st.lists(cells, min_size=1, max_size=9))
def test_equals_enumeration_under_censoring_and_ties(rows):
    baseline, baseline_final, method, method_final = (
        np.array(c, dtype=float) for c in zip(*rows, strict=True)
    )
    baseline_final[baseline_final == 3] = np.nan
    pairs = pairs_of(baseline, method, 5.0, baseline_final, method_final)
    assert paired_test(pairs).p_value == pytest.approx(paired_p_by_enumeration(pairs), abs=1e-12)


@settings(max_examples=60)
@given(st.lists(cells, min_size=1, max_size=25), st.randoms(use_true_random=False))
def test_symmetric_and_indifferent_to_order_and_time_unit(rows, random):
    rows = list(rows)
    baseline, bf, method, mf = (np.array(c, dtype=float) for c in zip(*rows, strict=True))
    pairs = pairs_of(baseline, method, 5.0, bf, mf)
    result, swapped = paired_test(pairs), paired_test(pairs.swapped())
    assert result.p_value == swapped.p_value
    assert (result.wins, result.losses) == (swapped.losses, swapped.wins)
    random.shuffle(rows)
    baseline, bf, method, mf = (np.array(c, dtype=float) for c in zip(*rows, strict=True))
    again = paired_test(pairs_of(baseline * 60, method * 60, 300.0, bf, mf))
    assert again.p_value == pytest.approx(result.p_value, abs=1e-12)


@pytest.mark.parametrize("censored", [0.0, 0.3, 0.6])
def test_type_one_error(censored):
    """1,000 null studies of 20 pairs with a common random effect; the bound is .05 plus 3 standard errors."""
    rng = np.random.default_rng(7)
    rejected = 0
    for _ in range(1000):
        seed_effect = rng.normal(0, 0.7, 20)
        baseline, method = (np.exp(seed_effect + rng.normal(0, 0.5, 20)) for _ in range(2))
        budget = np.quantile(np.append(baseline, method), 1 - censored)
        # Accuracy on 50 points: many misses tie.
        finals = [
            np.round(0.6 - 0.1 * np.log(t) / 3 + rng.normal(0, 0.02, 20), 2) for t in (baseline, method)
        ]
        rejected += paired_test(pairs_of(baseline, method, budget, *finals)).p_value < 0.05
    assert 0.02 < rejected / 1000 < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000)


def test_keeping_misses_has_more_power_than_dropping_them():
    rng = np.random.default_rng(3)
    kept = dropped = 0
    for _ in range(200):
        effect = rng.normal(0, 0.7, 20)
        baseline, method = (
            np.exp(effect + rng.normal(0.45, 0.45, 20)),
            np.exp(effect + rng.normal(0, 0.45, 20)),
        )
        budget = np.quantile(np.append(baseline, method), 0.5)
        pairs = pairs_of(baseline, method, budget, -np.log(baseline), -np.log(method))
        kept += paired_test(pairs).p_value < 0.05
        joint = pairs.baseline_reached & pairs.method_reached
        dropped += difference_test(pairs.log_ratio[joint]).p_value < 0.05
    assert kept > dropped + 60


def test_fewer_than_six_pairs_are_unpowered():
    result = paired_test(pairs_of([10.0] * 5, [1.0, 2, 3, 4, 5]))
    assert not result.powered
    assert result.least_p == result.p_value == 0.0625
    assert paired_test(pairs_of([10.0] * 6, [1.0, 2, 3, 4, 5, 6])).powered


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method_time": np.array([np.inf])}, "method_time must be finite and positive"),
        ({"baseline_time": np.array([0.0])}, "baseline_time must be finite and positive"),
        ({"method_final": np.array([0.1, 0.2])}, "equal length"),
    ],
)
def test_bad_input_is_refused(change, message):
    one, yes = np.array([1.0]), np.array([True])
    fields = {
        "baseline_time": one,
        "baseline_reached": yes,
        "baseline_final": one,
        "method_time": one,
        "method_reached": yes,
        "method_final": one,
    }
    with pytest.raises(ValueError, match=message):
        TimePairs(**{**fields, **change})

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, wilcoxon

from hypernudge.evidence.statistics import signed_rank
from hypernudge.evidence.statistics.signed_rank import (
    least_p_value,
    midranks,
    signed_rank_test,
)
from tests.evidence.reference import signed_rank_test_by_enumeration


@pytest.mark.parametrize("n", [1, 2, 5, 6, 10, 20, 30, 49])
def test_equals_scipy_exact_without_ties(n):
    rng = np.random.default_rng(n)
    for _ in range(10):
        x = rng.normal(0.3, 1.0, n)
        ours = signed_rank_test(np.sign(x).astype(int), midranks(np.abs(x)))
        assert ours.p_value == pytest.approx(wilcoxon(x, method="exact").pvalue, abs=1e-12)
        assert min(ours.w_plus, ours.w_minus) == wilcoxon(x, method="exact").statistic


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([-1, 1]), st.integers(1, 4)), min_size=1, max_size=9))
def test_equals_enumeration_with_ties(pairs):
    signs = np.array([s for s, _ in pairs])
    ranks = midranks(np.array([float(m) for _, m in pairs]))
    assert signed_rank_test(signs, ranks).p_value == pytest.approx(
        signed_rank_test_by_enumeration(signs, ranks), abs=1e-12
    )


@settings(max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_midranks_equal_scipy(values):
    x = np.array(values, dtype=float)
    assert np.array_equal(midranks(x), rankdata(x))


def test_tiers_rank_above_each_other_and_infinities_tie():
    ranks = midranks(np.array([9.0, 0.5, np.inf, 1.0, np.inf]), np.array([0, 1, 0, 2, 0]))
    assert ranks.tolist() == [1.0, 4.0, 2.5, 5.0, 2.5]


def test_magnitudes_apart_by_rounding_tie():
    assert midranks(np.array([np.log(4) - np.log(2), np.log(2), np.log(6) - np.log(3)])).tolist() == [2.0] * 3


def test_swapping_signs_leaves_p_unchanged():
    rng = np.random.default_rng(0)
    signs, ranks = rng.choice([-1, 1], 15), midranks(rng.integers(1, 5, 15).astype(float))
    assert signed_rank_test(signs, ranks).p_value == signed_rank_test(-signs, ranks).p_value


def test_normal_approximation_joins_the_exact_distribution(monkeypatch):
    x = np.random.default_rng(1).normal(0.05, 1.0, 300)
    signs, ranks = np.sign(x).astype(int), midranks(np.abs(x))
    exact = signed_rank_test(signs, ranks)
    monkeypatch.setattr(signed_rank, "EXACT_LIMIT", 299)
    approximate = signed_rank_test(signs, ranks)
    assert (exact.method, approximate.method) == ("exact", "normal")
    assert approximate.p_value == pytest.approx(exact.p_value, abs=1e-3)


def test_no_pairs_and_least_p():
    assert signed_rank_test(np.array([], dtype=int), np.array([])).p_value == 1.0
    for n in range(1, 12):
        all_won = signed_rank_test(np.ones(n, dtype=int), np.arange(1.0, n + 1))
        assert all_won.p_value == pytest.approx(least_p_value(n), abs=1e-15)
    assert least_p_value(5) == 0.0625


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: signed_rank_test(np.array([0, 1]), np.array([1.0, 2.0])), r"signs must be \+1 or -1"),
        (lambda: signed_rank_test(np.array([1]), np.array([1.0, 2.0])), "equal length"),
        (lambda: midranks(np.array([np.nan])), "not NaN"),
        (lambda: midranks(np.array([-1.0])), "non-negative"),
        (lambda: midranks(np.array([1.0]), np.array([0, 1])), "equal length"),
        (lambda: least_p_value(-1), "n must be at least 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()

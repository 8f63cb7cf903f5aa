import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter

from hypernudge.evidence.loading.outcomes import (
    Curves,
    incumbent_on_grid,
    incumbents,
    outcomes,
    rung_survival,
)
from hypernudge.evidence.statistics.survival import kaplan_meier_cdf
from tests.evidence.reference import outcomes_by_walking


def curves_of(*rows):
    cell, time, validation, test = zip(*rows, strict=True) if rows else ([], [], [], [])
    return Curves(
        np.array(cell, dtype=np.int64), *(np.array(c, dtype=float) for c in (time, validation, test))
    )


def test_the_example_of_the_docstring():
    curves = curves_of((0, 10, 0.2, 0.1), (0, 30, 0.7, 0.8), (0, 40, 0.6, 0.9))
    got = outcomes(curves, target=np.array([0.65]), budget=np.array([100.0]), floor=np.zeros(1))
    assert (got.time[0], got.reached[0], got.final[0], got.test[0]) == (30.0, True, 0.7, 0.8)
    assert got.auc[0] == pytest.approx(0.53)


def test_misses_are_censored_at_the_budget_and_later_scores_do_not_count():
    curves = curves_of((0, 10, 0.2, 0.1), (0, 101, 0.9, 0.9), (2, 5, np.nan, np.nan))
    got = outcomes(curves, target=np.full(3, 0.5), budget=np.full(3, 100.0), floor=np.zeros(3))
    assert got.time.tolist() == [100.0] * 3
    assert not got.reached.any()
    assert got.final[0] == 0.2
    assert np.isnan(got.final[1:]).all()
    assert np.isnan(got.test[1:]).all()
    assert got.auc.tolist() == pytest.approx([0.18, 0.0, 0.0])


rows = st.tuples(
    st.integers(0, 3),
    st.integers(1, 12),
    st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9, float("nan"), float("inf")]),
)


@settings(max_examples=120)
@given(st.lists(rows, max_size=25))
def test_equals_the_walk(events):
    curves = curves_of(*[(c, t, v, i / 100) for i, (c, t, v) in enumerate(events)])
    arguments = {
        "target": np.array([0.2, 0.3, 0.9, 0.5]),
        "budget": np.array([10.0, 8.0, 12.0, 3.0]),
        "floor": np.array([0.0, 0.15, 0.0, -1.0]),
    }
    fast, slow = outcomes(curves, **arguments), outcomes_by_walking(curves, **arguments)
    for name in ("time", "reached", "final", "test"):
        assert np.array_equal(getattr(fast, name), getattr(slow, name), equal_nan=name != "reached"), name
    assert fast.auc == pytest.approx(slow.auc, abs=1e-12)
    assert np.all(fast.reached <= (fast.time <= arguments["budget"]))
    assert np.all(fast.auc >= arguments["floor"] - 1e-12)


def test_incumbent_on_a_grid():
    curves = curves_of((0, 10, 0.2, 0), (0, 20, 0.1, 0), (0, 30, 0.4, 0), (1, 5, 0.3, 0))
    best = incumbents(curves, np.full(2, 100.0))
    got = incumbent_on_grid(best, np.array([0, 1]), np.array([1.0, 10.0, 29.0, 30.0]), 0.0)
    assert got.tolist() == [[0.0, 0.2, 0.2, 0.4], [0.0, 0.3, 0.3, 0.3]]


def test_rung_survival():
    assert rung_survival([[1], [1, 3], [], [1, 3, 9]]) == {1: 0.75, 3: 0.5, 9: 0.25}
    assert rung_survival([]) == {}


def test_reached_share_equals_lifelines():
    rng = np.random.default_rng(0)
    time, event = np.round(rng.exponential(10, 60), 1) + 0.1, rng.uniform(size=60) < 0.6
    times, share = kaplan_meier_cdf(time, event)
    fitted = KaplanMeierFitter().fit(time, event).survival_function_at_times(times).to_numpy()
    assert share == pytest.approx(1 - fitted, abs=1e-10)
    everyone = kaplan_meier_cdf(np.array([3.0, 1.0, 2.0]), np.ones(3, dtype=bool))
    assert everyone[1] == pytest.approx([1 / 3, 2 / 3, 1.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": np.array([0.0])}, "budget must be finite and positive"),
        ({"budget": np.array([1.0, 2.0])}, "one entry per cell"),
        ({"floor": np.array([-np.inf])}, "floor must be finite"),
        ({"curves": curves_of((3, 1, 0.5, 0.5))}, "cell must index"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {
        "curves": curves_of((0, 1, 0.5, 0.5)),
        "target": np.zeros(1),
        "budget": np.ones(1),
        "floor": np.zeros(1),
        **change,
    }
    curves = arguments.pop("curves")
    with pytest.raises(ValueError, match=message):
        outcomes(curves, **arguments)

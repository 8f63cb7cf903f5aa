"""Where an interval and a test side by side point different ways a sentence says why, and nowhere else."""

import numpy as np
import pytest

from hypernudge.evidence.statistics.effects import effects
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.statistics.noninferiority import ScoreBounds
from hypernudge.evidence.statistics.paired import TimePairs, paired_test
from hypernudge.evidence.verdicts.disagreement import of_scores, of_times

BUDGET = 10.0


def study(ratios, missed=()):
    """Pairs whose baseline takes one second; those in `missed` are missed by the method."""
    n = len(ratios)
    reached = ~np.isin(np.arange(n), missed)
    method = np.where(reached, ratios, BUDGET)
    return TimePairs(np.ones(n), np.ones(n, bool), np.ones(n), method, reached, np.ones(n))


def notes(pairs, holm=1.0):
    test = paired_test(pairs)
    return list(of_times(test, effects(pairs), min(1.0, holm * test.p_value), 0.05))


def test_nothing_to_explain():
    rng = np.random.default_rng(0)
    assert notes(study(np.exp(-0.5 + 0.1 * rng.normal(size=30)))) == []
    assert notes(study(np.exp(0.2 * rng.normal(size=30)))) == []


def test_significant_but_the_interval_holds_one():
    # Sooner in 26 of 30 pairs by a little, four times later in four.
    pairs = study(np.where(np.arange(30) < 26, 0.93, 3.0) * np.linspace(0.99, 1.01, 30))
    (note,) = notes(pairs)
    assert "holds 1 although the test is significant" in note


def test_the_test_and_the_mean_favour_different_sides():
    pairs = study(np.append(np.linspace(0.96, 0.98, 26), [9.0, 9.1, 9.2, 9.3]))
    test, sizes = paired_test(pairs), effects(pairs)
    assert test.favours == "method" and sizes.ratio.low < 1 < sizes.ratio.estimate
    narrow = Interval(sizes.ratio.estimate, 1.01, sizes.ratio.high)
    (note,) = of_times(test, type(sizes)(**{**vars(sizes), "ratio": narrow}), test.p_value, 0.05)
    assert "the test favours the method" in note and "the other side" in note


@pytest.mark.parametrize(("holm", "words"), [(50.0, "corrected for all of its family"), (1.0, None)])
def test_the_correction_is_named(holm, words):
    pairs = study(np.exp(-0.15 + 0.3 * np.random.default_rng(4).normal(size=30)))
    assert 0.001 < paired_test(pairs).p_value < 0.05 and effects(pairs).ratio.high < 1
    found = notes(pairs, holm)
    assert found == [] if words is None else words in found[0]


def test_sizes_against_ranks():
    ratios = np.append(np.exp(np.linspace(-0.3, 0.3, 24)), np.full(6, 0.2))
    pairs = study(ratios)
    assert paired_test(pairs).p_value >= 0.05 and effects(pairs).ratio.high < 1
    assert "the test only their ranks" in notes(pairs)[0]


def test_scores():
    def bounds(typical, mean):
        return ScoreBounds(Interval(0.0, typical, 0.01), Interval(0.0, mean, 0.01), -0.1, 0.1)

    assert list(of_scores(bounds(-0.001, -0.001), Interval(0.0, -0.0015, 0.01), 0.002)) == []
    (note,) = of_scores(bounds(-0.001, -0.0018), Interval(0.0, -0.0025, 0.01), 0.002)
    assert "its interval reaches -0.25 %" in note and "that bound is -0.18 %" in note
    (note,) = of_scores(bounds(-0.003, 0.002), Interval(0.01, 0.001, 0.02), 0.002)
    assert "ends at +0.10 %" in note and "in the typical pair the bound is -0.30 %" in note

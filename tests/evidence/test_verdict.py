from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypernudge.evidence.loading.plan import Criteria
from hypernudge.evidence.statistics.intervals import Interval
from hypernudge.evidence.statistics.noninferiority import ScoreBounds
from hypernudge.evidence.verdicts.verdict import Facts, judge
from hypernudge.results.plan import ResultsError

CRITERIA = Criteria()
IMPROVED = Facts(
    pairs=30,
    joint=20,
    best_case_p=1e-6,
    p_holm=0.001,
    favours="method",
    ratio=Interval(0.7, 0.6, 0.8),
    final=ScoreBounds(Interval(0.001, -0.001, 0.003), Interval(0.001, -0.001, 0.003), -0.01, 0.01),
)


def final(typical_low, mean_low):
    """Bounds of which only the lower ones matter, for a method that is sooner."""
    return ScoreBounds(Interval(0.0, typical_low, 0.003), Interval(0.0, mean_low, 0.003), -0.05, 0.07)


def mirrored(facts):
    """The same facts with the sides exchanged."""
    swap = {"method": "baseline", "baseline": "method", "neither": "neither"}
    ratio = facts.ratio
    return replace(
        facts,
        favours=swap[facts.favours],
        ratio=Interval(1 / ratio.estimate, 1 / ratio.high, 1 / ratio.low),
        final=facts.final.mirrored(),
    )


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({}, "improved"),
        ({"p_holm": 0.05}, "inconclusive"),
        ({"ratio": Interval(0.86, 0.8, 0.92)}, "inconclusive"),
        ({"final": final(-0.003, -0.003)}, "inconclusive"),
        ({"final": final(-0.003, -0.001)}, "inconclusive"),
        ({"final": final(-0.001, -0.003)}, "inconclusive"),
        ({"final": final(np.nan, np.nan)}, "inconclusive"),
        ({"favours": "baseline"}, "inconclusive"),
        ({"ratio": Interval(1.0, 0.97, 1.03)}, "equivalent"),
        ({"ratio": Interval(1.0, 0.97, 1.03), "joint": 14}, "inconclusive"),
        ({"ratio": Interval(1.0, 0.9, 1.1), "p_holm": 1.0}, "inconclusive"),
        ({"ratio": Interval(1.0, np.nan, np.nan)}, "inconclusive"),
        ({"best_case_p": 0.0625}, "unpowered"),
    ],
)
def test_labels(change, label):
    verdict = judge(replace(IMPROVED, **change), CRITERIA)
    assert verdict.label == label
    assert verdict.reason


@pytest.mark.parametrize(
    ("change", "words", "mirror"),
    [
        (
            final(0.0, -0.003),
            "typical pair at least +0.00 %, mean at least -0.30 %: a few pairs lose much, the worst -5.00 %",
            "typical pair at most +0.00 %, mean at most +0.30 %: a few pairs gain much, the best +5.00 %",
        ),
        (
            final(-0.004, 0.001),
            "typical pair at least -0.40 %, mean at least +0.10 %: a few pairs gain much, the best +7.00 %",
            "typical pair at most +0.40 %, mean at most -0.10 %: a few pairs lose much, the worst -7.00 %",
        ),
        (
            final(-0.004, -0.003),
            "(typical pair at least -0.40 %, mean at least -0.30 %)",
            "(typical pair at most +0.40 %, mean at most +0.30 %)",
        ),
    ],
)
def test_the_reason_says_which_part_is_not_shown(change, words, mirror):
    facts = replace(IMPROVED, final=change)
    assert words in judge(facts, CRITERIA).reason
    assert mirror in judge(mirrored(facts), CRITERIA).reason


numbers = st.floats(-0.01, 0.01)


@given(
    st.floats(0, 1),
    st.floats(0, 0.1),
    st.sampled_from(["method", "baseline", "neither"]),
    st.floats(0.5, 2),
    st.floats(1, 1.5),
    numbers,
    numbers,
    st.floats(0, 0.01),
)
def test_exchanging_the_sides_exchanges_improved_and_harmed(
    p, best, favours, ratio, width, typical, mean, half
):
    facts = Facts(
        30,
        20,
        best,
        p,
        favours,
        Interval(ratio, ratio / width, ratio * width),
        ScoreBounds(
            Interval(typical, typical - half, typical + half),
            Interval(mean, mean - half, mean + half),
            -0.05,
            0.05,
        ),
    )
    # Rounding of 1 / ratio may move a value across a margin that it touches.
    for edge in (CRITERIA.ratio, 1 / CRITERIA.ratio):
        if abs(ratio - edge) < 1e-9 or abs(facts.ratio.low - edge) < 1e-9:
            return
    limits = (1 / CRITERIA.equivalence_ratio, CRITERIA.equivalence_ratio)
    if any(abs(v - limit) < 1e-9 for v in (facts.ratio.low, facts.ratio.high) for limit in limits):
        return
    swap = {"improved": "harmed", "harmed": "improved"}
    label = judge(facts, CRITERIA).label
    assert judge(mirrored(facts), CRITERIA).label == swap.get(label, label)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 0.0}, "evidence.alpha"),
        ({"ratio": 1.0}, "evidence.ratio"),
        ({"equivalence_ratio": 0.9}, "evidence.equivalence_ratio"),
        ({"families": "each"}, "evidence.families"),
        ({"bootstrap": 10}, "evidence.bootstrap"),
    ],
)
def test_bad_criteria_are_refused(change, message):
    with pytest.raises(ResultsError, match=message):
        Criteria(**change)

"""The wall-clock comparison: what its numbers mean, on curves that are known."""

import math

import pytest

from benchmarks.wall_clock.__main__ import ratios_of, reached, summary, target_of

CURVES = {
    "hypernudge": [[(1.0, 0.2), (4.0, 0.5)], [(2.0, 0.1), (3.0, 0.4)]],
    "optuna": [[(1.0, 0.1), (8.0, 0.6)], [(2.0, 0.3), (6.0, 0.3)]],
}


def test_a_miss_counts_with_all_of_its_seconds():
    assert reached(CURVES["optuna"][0], 0.4, seconds=12.0) == 8.0
    assert reached(CURVES["optuna"][1], 0.4, seconds=12.0) == 12.0
    assert reached([], 0.4, seconds=12.0) == 12.0


def test_the_target_is_the_lower_of_the_pilots_after_three_fifths():
    assert target_of(CURVES["optuna"], seconds=10.0) == pytest.approx(0.1)  # .6 is reached too late
    assert target_of(CURVES["hypernudge"], seconds=10.0) == pytest.approx(0.4)


def test_ratios_are_geometric_means_of_pairs():
    tools = summary(CURVES, target=0.4, seconds=12.0)
    assert tools["hypernudge"]["seconds_to_target"] == [4.0, 3.0]
    assert tools["optuna"]["reached"] == 1
    ((name, (mean, low, high)),) = ratios_of(tools).items()
    assert name == "optuna"
    assert mean == pytest.approx(math.sqrt(8 / 4 * 12 / 3))
    assert low < mean < high

"""The benchmark of scale measures what it says: small, and without a word about speed."""

import pytest

from benchmarks.scale.driver import cost
from benchmarks.scale.on_paper import simulated
from benchmarks.scale.real import decisions, utilisation


def test_shares_of_worker_time():
    found = utilisation("processes", 2, 0.05, 2)
    assert found["reports"] == 4
    assert found["utilisation"] == pytest.approx(4 * 0.05 / (2 * found["seconds"]))
    assert 0 < found["utilisation"] <= 1 and found["core_ms_per_report"] > 0
    assert decisions("processes", 2, 4)["reports"] >= 4


@pytest.mark.parametrize("kept", [False, True])
def test_the_driver_alone_and_the_virtual_clock_see_the_same_study_grow(kept):
    alone, paper = cost(12, 1, kept), simulated(12, 1)
    assert alone["reports"] == paper["reports"] >= 12
    assert paper["utilisation"] == 1.0  # one worker is never idle

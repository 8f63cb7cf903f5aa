"""The limit that a schedule sets, of which the page on real networks speaks."""

import numpy as np

from benchmarks.real_networks.floor import RandomRanks, first_times
from hypernudge.schedulers.asha import ASHA


def test_one_worker_promotes_after_three_results():
    times = first_times(ASHA(RandomRanks().space, max_units=9), workers=1, budget=54.0, orders=20)
    # Three units need three trials of one; nine need three of three, of five that lead at once up to nine.
    assert np.all(times[1] == 1.0)
    assert np.all(times[3] == 5.0)
    assert times[9][0] >= 5 * 1 + 3 * 2 + 6
    assert np.median(times[9]) <= 9 * 1 + 2 * 3 + 6


def test_what_the_budget_does_not_reach_is_infinite():
    times = first_times(ASHA(RandomRanks().space, max_units=9), workers=1, budget=4.0, orders=5)
    assert np.all(np.isinf(times[3]))
    assert np.all(times[2] == 4.0)

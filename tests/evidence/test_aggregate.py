import numpy as np
import pytest
from scipy import stats

from hypernudge.evidence.statistics.bootstrap import (
    aggregate_interval,
    hierarchical_bootstrap,
    mean_statistic,
)


def tasks(rng, count, spread=0.2, seeds=20):
    return [(rng.normal(0, spread) + 0.4 * rng.normal(size=(1, 2, seeds))) for _ in range(count)]


def test_several_tasks_are_a_sample_of_their_means():
    values = tasks(np.random.default_rng(0), 6)
    values[2][0, 1, 3] = np.nan
    interval = aggregate_interval(values, np.random.default_rng(1))
    means = [np.mean([np.nanmean(row) for row in task[0]]) for task in values]
    expected = stats.t.interval(0.95, 5, np.mean(means), stats.sem(means))
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)
    assert interval.estimate == pytest.approx(np.mean(means), abs=1e-12)


def test_one_task_is_a_bootstrap_a_little_wider_than_percentiles():
    values = tasks(np.random.default_rng(0), 1)
    wide = aggregate_interval(values, np.random.default_rng(1), draws=20_000)
    narrow = hierarchical_bootstrap(values, np.random.default_rng(1), mean_statistic, 20_000)
    assert wide.estimate == narrow.estimate
    per_seed = values[0][0].mean(axis=0)
    expected = stats.t.interval(0.95, 19, per_seed.mean(), stats.sem(per_seed))
    assert (wide.low, wide.high) == pytest.approx(expected, abs=0.02)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_nothing_and_one_pair():
    rng = np.random.default_rng(0)
    assert np.isnan(aggregate_interval([], rng).estimate)
    assert aggregate_interval([np.ones((1, 1, 1))], rng).estimate == 1.0


def test_coverage_holds_where_the_percentile_bootstrap_fails():
    rng = np.random.default_rng(5)
    hits = {"aggregate": 0, "percentile": 0}
    for _ in range(400):
        values = tasks(rng, 3, spread=0.4)
        t, bootstrap = (
            aggregate_interval(values, rng),
            hierarchical_bootstrap(values, rng, mean_statistic, 200),
        )
        hits["aggregate"] += t.low <= 0 <= t.high
        hits["percentile"] += bootstrap.low <= 0 <= bootstrap.high
    assert hits["aggregate"] / 400 > 0.92
    assert hits["percentile"] / 400 < 0.85

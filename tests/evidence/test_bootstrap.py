import numpy as np
import pytest

from hypernudge.evidence.statistics.bootstrap import (
    bootstrap_means,
    hierarchical_bootstrap,
    log_sd_ratio_statistic,
    mean_statistic,
)
from hypernudge.evidence.verdicts.comparisons import _sd_ratio
from tests.evidence.reference import bootstrap_means_by_resampling


def tasks_of(rng, count=3, schedulers=2, seeds=8, missing=0.1):
    tasks = [rng.normal(0.2, 1.0, (1, schedulers, seeds)) for _ in range(count)]
    for values in tasks:
        values[rng.uniform(size=values.shape) < missing] = np.nan
    return tasks


def test_equals_plain_resampling():
    tasks = tasks_of(np.random.default_rng(0))
    drawn = np.random.default_rng(1).integers(3, size=(40, 3))
    fast = bootstrap_means(tasks, drawn, np.random.default_rng(2), mean_statistic)
    slow = bootstrap_means_by_resampling(tasks, drawn, np.random.default_rng(2))
    assert fast == pytest.approx(slow, abs=1e-12)


def test_same_seed_same_interval_and_the_estimate_lies_inside():
    tasks = tasks_of(np.random.default_rng(3))
    first, second = (
        hierarchical_bootstrap(tasks, np.random.default_rng(5), mean_statistic, 2000) for _ in range(2)
    )
    assert first == second
    assert first.low < first.estimate < first.high
    assert first.estimate == pytest.approx(np.mean([np.nanmean(np.nanmean(t[0], axis=1)) for t in tasks]))


def test_one_task_interval_covers_the_mean():
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(200):
        interval = hierarchical_bootstrap([rng.normal(0.5, 1.0, (1, 1, 30))], rng, mean_statistic, 400)
        covered += interval.low <= 0.5 <= interval.high
    assert 0.89 <= covered / 200 <= 0.985


def test_sd_ratio_of_the_whole_sample():
    rng = np.random.default_rng(4)
    method, baseline = rng.normal(100, 3, 12), rng.normal(100, 2, 12)
    got = log_sd_ratio_statistic(np.stack([method, baseline])[:, None], np.ones((1, 12)))
    assert got[0] == pytest.approx(np.log(method.std() / baseline.std()), abs=1e-12)
    constant = np.stack([method, np.full(12, 5.0)])[:, None]
    assert np.isnan(log_sd_ratio_statistic(constant, np.ones((1, 12)))[0])


@pytest.mark.parametrize("cap", [1.92e-4, 3.7, 123.4])
def test_seeds_that_are_all_at_the_cap_have_no_spread(cap):
    """Such draws, and caps that differ in the last bits, leave rounding: a ratio over it says nothing."""
    method = cap * np.linspace(0.3, 0.9, 12)
    bits = np.where(np.arange(12) % 2, cap, np.nextafter(cap, 0))
    assert np.isnan(log_sd_ratio_statistic(np.stack([method, bits])[:, None], np.ones((1, 12)))[0])
    assert np.isnan(_sd_ratio(method, bits))
    assert np.isnan(_sd_ratio(method, np.full(3, cap)[:2]))
    one_hit = np.array([0.37 * cap] + [cap] * 11)
    without = np.random.default_rng(0).multinomial(12, [0.0] + [1 / 11] * 11, size=50).astype(float)
    assert np.isnan(log_sd_ratio_statistic(np.stack([method, one_hit])[:, None], without)).all()
    assert _sd_ratio(method, one_hit) == pytest.approx(method.std() / one_hit.std())


def test_nothing_to_draw_from_is_undefined():
    for tasks in ([], [np.full((1, 1, 4), np.nan)]):
        interval = hierarchical_bootstrap(tasks, np.random.default_rng(0), mean_statistic, 100)
        assert np.isnan(interval.estimate)


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        ([np.zeros((1, 1, 3))], {"draws": 99}, "draws must be at least 100"),
        ([np.zeros((1, 1, 3))], {"level": 1.5}, "level"),
        ([np.zeros(3)], {}, "every task"),
    ],
)
def test_bad_input_is_refused(tasks, options, message):
    with pytest.raises(ValueError, match=message):
        hierarchical_bootstrap(
            tasks, np.random.default_rng(0), **{"statistic": mean_statistic, "draws": 100, **options}
        )

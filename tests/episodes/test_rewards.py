import math
import random

import pytest

from hypernudge.episodes import EmaLogReward, StandardisedReward, TrendContext


def test_reward_by_hand():
    details = EmaLogReward(smoothing=0.5, instability_weight=0.1, epsilon=1e-8)([2.0, 1.0, 1.0])
    assert details.ema_start == 2.0
    assert details.ema_end == 1.25
    assert details.base == math.log(2.0 + 1e-8) - math.log(1.25 + 1e-8)
    mean = 4.0 / 3.0
    variance = ((2 - mean) ** 2 + 2 * (1 - mean) ** 2) / 3
    assert details.instability == pytest.approx(variance / (mean * mean + 1e-8), rel=1e-15)
    assert details.value == details.unclipped == details.base - details.penalty


def test_one_loss_earns_nothing_and_clipping_holds():
    assert EmaLogReward()([3.7]).value == 0.0
    clipped = EmaLogReward(clip_min=-0.1, clip_max=0.1, smoothing=1.0)
    assert clipped([1.0, 5.0]).value == clipped.worst == -0.1
    assert clipped([5.0, 1.0]).value == 0.1


def test_losses_without_logarithm_are_refused():
    with pytest.raises(ValueError, match="loss: must stay positive"):
        EmaLogReward(smoothing=1.0)([1.0, -1.0])
    with pytest.raises(ValueError, match="loss: must stay positive"):
        EmaLogReward()([0.0 - 1e-8])


def test_standardising_removes_scale_and_trend():
    rng = random.Random(0)
    noise = [rng.gauss(0, 1) for _ in range(300)]
    values = []
    for scale, slope in ((1.0, 0.0), (1e-3, 1e-5)):
        reward = StandardisedReward(EmaLogReward(smoothing=1.0, clip_min=-9, clip_max=9), memory=20)
        series = []
        for step, draw in enumerate(noise):
            target = scale * draw + slope * step
            series.append(reward([1.0, math.exp(-target)]).value)
        values.append(series)
    for plain, transformed in zip(values[0][50:], values[1][50:], strict=True):
        assert transformed == pytest.approx(plain, abs=0.05)
    assert all(abs(value) <= 1 for value in values[0])
    assert abs(sum(values[0]) / 300) < 0.05
    assert 0.2 < math.sqrt(sum(value**2 for value in values[0]) / 300) < 0.5


def test_standardised_state_resumes():
    losses = [[1.0, 0.9], [1.0, 0.7], [1.0, 1.2], [1.0, 0.8], [1.0, 0.6]]
    whole = StandardisedReward(EmaLogReward())
    first = [whole(pair).value for pair in losses]
    assert first[0] == 0.0
    half = StandardisedReward(EmaLogReward())
    for pair in losses[:3]:
        half(pair)
    resumed = StandardisedReward(EmaLogReward())
    resumed.load_state_dict(half.state_dict())
    assert [resumed(pair).value for pair in losses[3:]] == first[3:]


@pytest.mark.parametrize(
    ("history", "bucket"),
    [
        ([], "stable"),
        ([1.0], "stable"),
        ([1.0, 0.9], "improving"),
        ([0.9, 1.0], "worsening"),
        ([1.0, 5.0, 1.0], "stable"),
        ([9.0, 1.0, 1.0, 1.0], "stable"),
        ([1.0, 1.25], "stable"),
    ],
)
def test_trend_buckets(history, bucket):
    epsilon = 0.25 if history == [1.0, 1.25] else 1e-3  # a slope of exactly epsilon is flat
    assert TrendContext(3, epsilon).bucket(history) == bucket
    assert TrendContext(1, epsilon).bucket(history) == "stable"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EmaLogReward(epsilon=0), "epsilon: must be above 0"),
        (lambda: EmaLogReward(instability_weight=-1), "instability_weight: must be 0 or above"),
        (lambda: EmaLogReward(clip_min=2.0), "clip_min: must be at most clip_max"),
        (lambda: EmaLogReward(smoothing=0), r"smoothing: must lie in \(0, 1\]"),
        (lambda: StandardisedReward(EmaLogReward(), memory=1), "memory: must be above 1 episode"),
        (lambda: TrendContext(0), "window: must be at least 1"),
        (lambda: TrendContext(3, -1.0), "epsilon: must be 0 or above"),
    ],
)
def test_wrong_arguments_are_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()

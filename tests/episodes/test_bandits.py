import functools
import io
import math
import random

import pytest
import torch

from hypernudge.episodes import BucketedUCB, DiscountedUCB, Exp3, ThompsonSampling, UniformBandit


def bucketed(n_arms, *, seed=None):
    bandit = BucketedUCB(n_arms, buckets=("a", "b"), seed=seed)
    bandit.set_context("a")
    return bandit


FACTORIES = {
    "ucb": DiscountedUCB,
    "ucb-eager": functools.partial(DiscountedUCB, exploration=0.1, discount=1.0, warmup_rounds=2),
    "uniform": UniformBandit,
    "bucketed": bucketed,
    "thompson": ThompsonSampling,
    "exp3": Exp3,
}
LEARNERS = ["ucb-eager", "thompson", "exp3"]


def play(bandit, rng, rounds, means=(0.0, 0.3, 0.1)):
    arms = []
    for step in range(rounds):
        if isinstance(bandit, BucketedUCB):
            bandit.set_context("ab"[step // 5 % 2])
        arm = bandit.select()
        bandit.update(arm, rng.gauss(means[arm], 0.1))
        arms.append(arm)
    return arms


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
class TestLaws:
    def test_arms_are_in_range_and_all_are_tried(self, factory):
        arms = play(factory(3, seed=1), random.Random(0), 300)
        assert set(arms) == {0, 1, 2}

    def test_equal_seeds_play_alike(self, factory):
        first = play(factory(3, seed=1), random.Random(0), 60)
        assert first == play(factory(3, seed=1), random.Random(0), 60)

    def test_resumes_through_a_file(self, factory):
        whole, rng = factory(3, seed=1), random.Random(0)
        play(whole, rng, 23)
        buffer = io.BytesIO()
        torch.save(whole.state_dict(), buffer)
        buffer.seek(0)
        resumed = factory(3, seed=999)
        resumed.load_state_dict(torch.load(buffer, weights_only=True))
        twin = random.Random()
        twin.setstate(rng.getstate())
        assert play(whole, rng, 50) == play(resumed, twin, 50)

    def test_wrong_updates_change_nothing(self, factory):
        bandit = factory(3, seed=1)
        play(bandit, random.Random(0), 5)
        before = bandit.state_dict()
        with pytest.raises(ValueError, match="arm: must lie in range"):
            bandit.update(3, 0.0)
        with pytest.raises(ValueError, match="reward: must be finite"):
            bandit.update(0, math.nan)
        assert bandit.state_dict() == before

    def test_select_changes_only_the_generator(self, factory):
        bandit = factory(3, seed=1)
        play(bandit, random.Random(0), 5)
        before, _, after = bandit.state_dict(), bandit.select(), bandit.state_dict()
        for key in set(before) - {"rng", "local"}:
            assert before[key] == after[key]

    def test_one_arm_is_enough_and_none_is_not(self, factory):
        assert factory(1, seed=0).select() == 0
        with pytest.raises(ValueError, match="n_arms: must be at least 1"):
            factory(0, seed=0)

    def test_survives_extreme_rewards(self, factory):
        bandit = factory(2, seed=0)
        for step in range(500):
            arm = bandit.select()
            bandit.update(arm, 1e12 if step % 2 else -1e12)
        assert bandit.select() in (0, 1)


@pytest.mark.parametrize("name", LEARNERS)
def test_learners_prefer_the_better_arm(name):
    shares = []
    for seed in range(10):
        arms = play(FACTORIES[name](3, seed=seed), random.Random(seed), 400)
        shares.append(arms[200:].count(1) / 200)
    assert sum(shares) / len(shares) > 0.45


def test_thompson_follows_a_change():
    bandit, rng = ThompsonSampling(2, seed=3), random.Random(1)
    play(bandit, rng, 150, means=(0.5, 0.0))
    assert play(bandit, rng, 200, means=(0.0, 0.5))[100:].count(1) > 60


def test_ucb_statistics_by_hand():
    bandit = DiscountedUCB(2, discount=0.5, seed=0)
    bandit.update(0, 1.0)
    bandit.update(1, 0.5)
    assert bandit.state_dict()["counts"] == [0.5, 1.0]
    assert bandit.state_dict()["sums"] == [0.5, 0.5]
    growth = math.log(2.5)
    assert bandit.indices() == [1.0 + math.sqrt(growth / 0.5), 0.5 + math.sqrt(growth)]


def test_new_bucket_starts_from_what_all_learned_and_others_are_not_discounted():
    bandit = BucketedUCB(2, buckets=("a", "b"), seed=0)
    bandit.set_context("a")
    bandit.update(0, 1.0)
    bandit.update(1, 0.2)
    bandit.set_context("b")
    state = bandit.state_dict()
    assert state["local"]["b"]["pulls"] == state["global"]["pulls"] == [1, 1]
    before = state["local"]["a"]["counts"]
    bandit.update(0, 0.1)
    state = bandit.state_dict()
    assert state["local"]["a"]["counts"] == before
    assert state["local"]["b"]["counts"] == state["global"]["counts"] != before


def test_bucketed_needs_a_known_context():
    bandit = BucketedUCB(2, buckets=("a",), seed=0)
    with pytest.raises(RuntimeError, match="set_context"):
        bandit.select()
    with pytest.raises(ValueError, match="bucket: must be one of 'a'"):
        bandit.set_context("x")


def test_exp3_probabilities_sum_to_one_and_keep_the_floor():
    bandit = Exp3(3, mix=0.2, seed=0)
    for _ in range(1000):
        bandit.update(0, 1.0)
    assert sum(bandit.probabilities()) == pytest.approx(1.0)
    assert min(bandit.probabilities()) >= 0.2 / 3
    with pytest.raises(ValueError, match="low: must be below high"):
        Exp3(2, low=1.0, high=1.0)

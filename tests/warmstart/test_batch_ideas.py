"""Ideas where the batch size is tuned, and the benchmark that they were tried in."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.warm_starts import batch_sizes
from benchmarks.warm_starts.batch_ideas import ChosenBatch, Rescaled, ScaledByBatch, Seen
from benchmarks.warm_starts.cells import Kept
from hypernudge import AdamW, Categorical, Informed, SearchSpace
from hypernudge.optimizers import SGD
from hypernudge.tasks.spaces import SPACES
from hypernudge.trial import History
from hypernudge.warmstart.measurement import rates
from tests.laws.test_informed import with_results

SIZES = batch_sizes.SIZES


@pytest.fixture
def batches(bowl):
    bowl.space = SearchSpace([*SPACES["three"], Categorical("batch_size", SIZES)])
    bowl.batch_size = 64
    return bowl


def rate_at(config):
    return math.log10(config["lr"] / (1.0 - config["momentum"]))


def test_rates_count_as_they_would_at_the_usual_batch(batches):
    config = batches.space.middle().replace(lr=0.1, momentum=0.5, batch_size=256)
    for exponent, expected in ((0.0, 0.2), (0.5, 0.1), (1.0, 0.05)):
        rule = Rescaled(SGD(), exponent, 64)
        assert rule.effective_rate(config) == pytest.approx(expected)
    seen = Seen(batches, 1.0)
    assert "batch_size" in seen.optimizer.reads and seen.space is batches.space
    at = rates.at_rate(seen, config, -1.0)
    assert at["lr"] == pytest.approx(0.2) and rates.log_rate(seen, at) == pytest.approx(-1.0)


@pytest.mark.parametrize("idea", [ScaledByBatch, ChosenBatch])
def test_where_the_batch_is_not_tuned_nothing_changes(bowl, idea):
    plain = with_results(bowl, rate_at, policy=Informed(probe=False))
    same = with_results(bowl, rate_at, policy=idea(probe=False))
    assert [t.nudge for t in same.trials] == [t.nudge for t in plain.trials]


def test_without_growth_the_same_is_started_and_with_it_what_is_as_good_at_the_usual_batch(batches):
    plain = with_results(batches, rate_at, policy=Informed(probe=False))
    none = with_results(batches, rate_at, policy=ScaledByBatch(probe=False, fixed=0.0))
    assert [t.config for t in none.trials] == [t.config for t in plain.trials]
    linear = with_results(batches, lambda config: 0.0, policy=ScaledByBatch(probe=False, fixed=1.0))
    by_size = {
        size: np.median([rate_at(t.config) for t in linear.trials if t.config["batch_size"] == size])
        for size in SIZES
    }
    assert by_size[256] - by_size[16] == pytest.approx(math.log10(16), abs=0.4)
    assert all(t.config["batch_size"] == t.sampled["batch_size"] for t in linear.trials)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_how_the_best_rate_grows_is_learned(batches, exponent):
    def score(config):
        return -abs(rate_at(config) - 0.3 - exponent * math.log10(config["batch_size"] / 64))

    sampled = with_results(batches, score)  # not nudged: rates of all sizes
    policy, task = ScaledByBatch(probe=False), batches
    assert policy.exponent(task, sampled, 0.3) == pytest.approx(exponent, abs=0.25)
    assert policy.exponent(task, History(27), 0.3) == 1.0  # what is expected of SGD
    assert replace(policy, fixed=0.25).exponent(task, sampled, 0.3) == 0.25
    batches.optimizer = AdamW()
    assert policy.exponent(task, History(27), 0.3) == 0.5


def test_a_batch_that_ranks_well_is_chosen(batches):
    history = with_results(batches, lambda c: -math.log2(c["batch_size"]), policy=ChosenBatch(probe=False))
    late = [trial.config["batch_size"] for trial in history.trials[20:]]
    assert np.mean([size == 16 for size in late]) > 0.8
    assert np.mean([t.sampled["batch_size"] == 16 for t in history.trials[20:]]) < 0.5
    for trial in history.trials:
        batches.space.check(trial.config)
        assert trial.nudge.kind in ("prior", "data") and not trial.nudge.flagged


def test_the_table_compares_what_every_arm_has(tmp_path):
    kept, (plain, ignored) = Kept(tmp_path / "batch_sizes.jsonl"), list(batch_sizes.ARMS)[:2]
    for seed, best in enumerate((0.8, 0.9, 0.85, 0.7)):
        for arm, at in ((plain, 20.0), (ignored, 10.0)):
            curve = [[1.0, 0.5], [at, best if arm == plain else 0.9]]
            kept.append({"task": "digits", "arm": arm, "seed": seed, "curve": curve, "trials": 2})
    kept.append({"task": "digits", "arm": plain, "seed": 9, "curve": [[1.0, 0.99]], "trials": 2})  # no pair
    lines = batch_sizes.table(tmp_path).splitlines()
    assert len(lines) == 6 and "| digits, 0.5000 | plain ASHA | 4 of 4 | 1.0 | 1 |" in lines[4]
    assert "| digits, 0.8500 | plain ASHA | 2 of 4 | 27.4 | 1 |" in lines[2]
    assert "4 of 4 | 10.0 | 0.37" in lines[3] and lines[3].endswith("| 1 |")


def test_a_cell_is_a_study_of_a_users_module(monkeypatch):
    monkeypatch.setattr(batch_sizes, "UNITS", 6)
    found = batch_sizes.cell("digits", *batch_sizes.ARMS["informed, batch chosen, too"], 522_950)
    scores = [score for _, score in found["curve"]]
    assert found["trials"] >= 2 and scores == sorted(scores) and 0.0 < scores[-1] <= 1.0
    assert found["curve"][-1][0] <= 6 / batch_sizes.WORKERS + 0.1

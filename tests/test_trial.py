import dataclasses
import math

import pytest

from hypernudge.errors import InvalidArgumentError
from hypernudge.results.resources import Resources
from hypernudge.space import Config
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult


def begin(history, number):
    config = Config({"lr": 0.1 + number})
    history.append(Started(number, config, Nudge(config, "none"), 0.0))
    history.append(Job(number, config, 0, 1))


def report(history, number, score, outcome="ok"):
    trial = history.trials[number]
    job = Job(number, trial.config, 0, trial.until)
    history.append(Report(job, outcome, 0.0, 1.0, (UnitResult(trial.until, 1.0, score, score),), 1.0))


def test_ranking_is_best_first_and_first_come_on_ties_and_divergence_loses():
    history = History()
    for number, score in enumerate([0.5, 0.9, 0.5, math.nan]):
        begin(history, number)
        report(history, number, score, "diverged" if math.isnan(score) else "ok")
    assert [number for _, _, number in history.ranked(1)] == [1, 0, 2, 3]
    assert history.trials[3].status == "diverged"
    assert history.trials[3].milestones == {1: -math.inf}


def test_a_truncated_trial_reaches_no_milestone():
    history = History()
    begin(history, 0)
    report(history, 0, 0.5, "truncated")
    assert history.trials[0].status == "stopped" and not history.ranked(1) and not history.n_running


def test_contradictions_are_refused():
    history = History()
    begin(history, 0)
    with pytest.raises(ValueError, match="must be the next number 1"):
        begin(history, 5)
    with pytest.raises(ValueError, match="must be paused"):
        history.append(Job(0, history.trials[0].config, 1, 3))
    report(history, 0, 0.5)
    with pytest.raises(ValueError, match="must be running"):
        report(history, 0, 0.5)
    with pytest.raises(ValueError, match="go on from 1"):
        history.append(Job(0, history.trials[0].config, 0, 3))


def test_the_former_name_of_the_longest_training_is_accepted():
    history = History(horizon=9)
    assert history.max_units == History.replay([], horizon=9).max_units == 9


def test_an_unknown_outcome_is_refused():
    history = History()
    begin(history, 0)
    with pytest.raises(InvalidArgumentError, match=r"^outcome: must be one of"):
        report(history, 0, 0.5, "cut")


def test_a_nudge_with_what_it_took_is_another_with_two_fields_replaced():
    nudge = Nudge(Config({"lr": 0.1}), "mine", changed=True, z=0.5, measurements={"a": 1.0}, kind="data")
    found = nudge.having_taken(2.5, Resources(gpu_seconds=1.0))
    assert found == dataclasses.replace(nudge, wall_seconds=2.5, resources=Resources(gpu_seconds=1.0))
    assert nudge.wall_seconds == 0.0 and nudge.resources is None

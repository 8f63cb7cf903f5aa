"""Laws that every scheduler obeys, on simulated learning curves with ties, divergence and stagnation."""

import heapq
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams, stream
from hypernudge.schedulers.asha import ASHA
from hypernudge.schedulers.base import Done, Resume, Start, Wait, geometric_rungs
from hypernudge.schedulers.random import RandomSearch
from hypernudge.tasks.spaces import SPACES
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult

SPACE = SPACES["mid"]
SCHEDULERS = {
    "asha": lambda **limits: ASHA(SPACE, max_units=9, eta=3, **limits),
    "asha, eta 2": lambda **limits: ASHA(SPACE, max_units=10, min_units=2, eta=2, **limits),
    "random": lambda **limits: RandomSearch(SPACE, max_units=4, **limits),
}
CURVES = ("smooth", "constant", "ties", "diverging", "failing")


def score(kind, seed, trial, unit):
    rng = stream(seed, "curve", trial)
    height, speed, bad = rng.random(), rng.random(), rng.random()
    if kind == "constant":
        return 0.5
    if kind == "ties":
        return round(3 * height) / 3
    if kind in ("diverging", "failing") and bad < 0.4:
        return math.nan
    return height * (1 - math.exp(-speed * unit))


def simulate(scheduler, kind, seed, workers, steps=150, sign=1):
    """Run a scheduler against simulated trials; return the history and the decisions."""
    history, streams = History(), Streams(seed)
    heap, now, decisions, order = [], 0.0, [], 0
    while len(decisions) < steps:
        while history.n_running < workers and len(decisions) < steps:
            decision = scheduler(history, streams)
            decisions.append(decision)
            if isinstance(decision, Start):
                number = len(history.trials)
                history.append(Started(number, decision.config, Nudge(decision.config, "none"), now))
                job = Job(number, decision.config, 0, decision.until)
            elif isinstance(decision, Resume):
                trial = history.trials[decision.trial]
                assert trial.status == "paused", "resumed what is not paused"
                job = Job(trial.number, trial.config, trial.until, decision.until)
            else:
                break
            history.append(job)
            order += 1
            length = (job.until - job.since) * (0.5 + stream(seed, "speed", job.trial).random())
            heapq.heappush(heap, (now + length, order, job))
        if not heap:
            return history, decisions
        now, _, job = heapq.heappop(heap)
        values = [sign * score(kind, seed, job.trial, unit) for unit in range(job.since + 1, job.until + 1)]
        outcome = "ok" if math.isfinite(values[-1]) else ("failed" if kind == "failing" else "diverged")
        values = values if outcome == "ok" else values[:1]
        units = [UnitResult(unit, now, value, value) for unit, value in enumerate(values, job.since + 1)]
        units = () if outcome == "failed" else tuple(units)
        history.append(Report(job, outcome, now, now, units, 1.0))
    return history, decisions


settings.register_profile("laws", deadline=None, max_examples=25)
settings.load_profile("laws")
workers = st.sampled_from([1, 2, 4, 16, 64])
seeds = st.integers(0, 10_000)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(seeds, workers, st.sampled_from(CURVES))
def test_finishes_within_its_limits_and_never_exceeds_max_units(name, seed, workers, kind):
    scheduler = SCHEDULERS[name](max_trials=20)
    history, decisions = simulate(scheduler, kind, seed, workers, steps=10_000)
    assert isinstance(decisions[-1], Done)
    assert len(history.trials) == 20
    assert max(trial.until for trial in history.trials) <= scheduler.max_units
    assert not history.n_running
    assert sum(isinstance(decision, Start) for decision in decisions) == 20


@pytest.mark.parametrize("name", SCHEDULERS)
@given(seeds, workers, st.sampled_from(CURVES))
def test_losers_are_never_resumed(name, seed, workers, kind):
    _, decisions = simulate(SCHEDULERS[name](), kind, seed, workers)
    resumed = [decision.trial for decision in decisions if isinstance(decision, Resume)]
    assert not any(math.isnan(score(kind, seed, trial, 1)) for trial in resumed)
    assert all(decision.until <= 10 for decision in decisions if isinstance(decision, Resume))


@pytest.mark.parametrize("name", SCHEDULERS)
@given(seeds, workers, st.sampled_from(CURVES), st.integers(0, 200))
def test_rebuilt_from_its_events_at_any_point_it_decides_the_same(name, seed, workers, kind, cut):
    scheduler = SCHEDULERS[name]()
    history, _ = simulate(scheduler, kind, seed, workers)
    events = history.events[:cut]
    a, b = History.replay(events), History.replay(list(events))
    assert scheduler(a, Streams(seed)) == SCHEDULERS[name]()(b, Streams(seed))
    rebuilt = History.replay(history.events)
    assert repr(rebuilt.as_table()) == repr(history.as_table())
    for rung in history.milestones():
        assert repr(list(rebuilt.ranked(rung))) == repr(list(history.ranked(rung)))


@given(seeds)
def test_equal_seeds_give_equal_samples_across_schedulers(seed):
    histories = [simulate(make(), "smooth", seed, 4, steps=40)[0] for make in SCHEDULERS.values()]
    shortest = min(len(history.trials) for history in histories)
    for number in range(shortest):
        assert len({history.trials[number].sampled for history in histories}) == 1


@given(seeds, st.sampled_from(["smooth", "ties", "diverging"]))
def test_asha_promotes_only_from_the_top_third_of_what_has_arrived(seed, kind):
    scheduler = ASHA(SPACE, max_units=27, eta=3)
    history, _ = simulate(scheduler, kind, seed, 4)
    replayed = History()
    for event in history.events:
        if isinstance(event, Job) and event.since > 0:
            ranked = [number for _, _, number in replayed.ranked(event.since)]
            assert event.trial in ranked[: len(ranked) // 3]
            # No promotion was possible on any higher rung.
            for higher in [rung for rung in scheduler.rungs[:-1] if rung > event.since]:
                top = replayed.ranked(higher)
                for _, _, number in top[: len(top) // 3]:
                    trial = replayed.trials[number]
                    assert trial.until != higher or trial.status != "paused"
        replayed.append(event)


def test_rungs_are_geometric_and_end_at_the_maximum():
    assert geometric_rungs(1, 27, 3) == (1, 3, 9, 27)
    assert geometric_rungs(1, 20, 3) == (1, 3, 9, 20)
    assert geometric_rungs(5, 5, 2) == (5,)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ASHA(SPACE, eta=1),
        lambda: ASHA(SPACE, min_units=0),
        lambda: ASHA(SPACE, min_units=30, max_units=27),
        lambda: ASHA(SPACE, max_trials=0),
        lambda: RandomSearch(SPACE, max_units=0),
        lambda: RandomSearch(SPACE, max_trials=0),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(InvalidArgumentError):
        make()


def test_waits_for_the_last_reports_before_it_is_done():
    scheduler = ASHA(SPACE, max_units=3, eta=3, max_trials=1)
    history, streams = History(), Streams(0)
    start = scheduler(history, streams)
    history.append(Started(0, start.config, Nudge(start.config, "none"), 0.0))
    history.append(Job(0, start.config, 0, 1))
    assert scheduler(history, streams) == Wait()

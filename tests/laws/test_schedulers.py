"""Laws that every scheduler obeys, on simulated learning curves with ties, divergence and stagnation."""

import math
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams
from hypernudge.registry import REGISTRY, resolve
from hypernudge.schedulers.asha import ASHA
from hypernudge.schedulers.asha_stopping import StoppingASHA
from hypernudge.schedulers.base import Done, Resume, Start, Wait, geometric_rungs
from hypernudge.schedulers.bohb import BOHB
from hypernudge.schedulers.boil import BOIL
from hypernudge.schedulers.dyhpo import DyHPO
from hypernudge.schedulers.halving import SuccessiveHalving
from hypernudge.schedulers.hyperband import Hyperband
from hypernudge.schedulers.one_epoch import OneEpoch
from hypernudge.schedulers.pasha import PASHA
from hypernudge.schedulers.random import RandomSearch
from hypernudge.schedulers.testing import CURVES, check_scheduler, simulate
from hypernudge.space import Categorical, Integer, Real, SearchSpace
from hypernudge.surrogates.curve_model import Fitting
from hypernudge.surrogates.gp_sampler import GPSampler
from hypernudge.tasks.spaces import SPACES
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult

SPACE = SPACES["mid"]
MIXED = SearchSpace(
    [
        Real("lr", 1e-4, 1.0, log=True),
        Categorical("optimizer", ("sgd", "adam", "lion")),
        Real("momentum", 0.0, 0.99, only_if=("optimizer", ("sgd",))),
        Integer("layers", 1, 8),
        Integer("width", 16, 1024, log=True),
        *[Real(f"dropout{i}", 0.0, 0.9) for i in range(7)],
    ]
)
QUICK = Fitting(first=4, epochs=3, refinement=1, growth=1.5, fit_points=8, points=16)
HISTORY_ONLY = {
    "random": lambda **limits: RandomSearch(SPACE, max_units=4, **limits),
    "random, mixed": lambda **limits: RandomSearch(MIXED, max_units=4, **limits),
    "halving": lambda **limits: SuccessiveHalving(SPACE, max_units=9, **limits),
    "hyperband": lambda **limits: Hyperband(SPACE, max_units=9, **limits),
    "hyperband, eta 2": lambda **limits: Hyperband(
        SPACE, max_units=10, min_units=2, eta=2, brackets=2, **limits
    ),
    "asha": lambda **limits: ASHA(SPACE, max_units=9, eta=3, **limits),
    "asha, eta 2": lambda **limits: ASHA(SPACE, max_units=10, min_units=2, eta=2, **limits),
    "asha, quantile": lambda **limits: ASHA(SPACE, max_units=9, rule="quantile", **limits),
    "stopping, quantile": lambda **limits: StoppingASHA(SPACE, max_units=9, **limits),
    "stopping, rank": lambda **limits: StoppingASHA(SPACE, max_units=9, rule="rank", **limits),
    "stopping, earlier": lambda **limits: StoppingASHA(SPACE, max_units=9, rule="earlier", **limits),
    "pasha": lambda **limits: PASHA(SPACE, max_units=9, eta=2, **limits),
    "one epoch": lambda max_trials=30: OneEpoch(SPACE, max_units=9, max_trials=max_trials, keep=4),
}
MODELS = {
    "bohb": lambda **limits: BOHB(SPACE, max_units=9, **limits),
    "bohb, mixed": lambda **limits: BOHB(MIXED, max_units=9, **limits),
    "asha by gp": lambda **limits: ASHA(SPACE, max_units=9, sampler=GPSampler(None, 16, 8, 16), **limits),
    "hyperband by gp, mixed": lambda **limits: Hyperband(
        MIXED, max_units=9, sampler={"name": "gp"}, **limits
    ),
    "dyhpo": lambda **limits: DyHPO(SPACE, max_units=9, initial=4, candidates=8, fitting=QUICK, **limits),
    "dyhpo, mixed": lambda **limits: DyHPO(
        MIXED, max_units=9, step=3, initial=4, candidates=8, fitting=QUICK, **limits
    ),
    "boil": lambda **limits: BOIL(SPACE, max_units=9, points=16, virtual=8, candidates=16, **limits),
    "boil, mixed": lambda **limits: BOIL(MIXED, max_units=9, points=16, virtual=8, candidates=16, **limits),
}
SCHEDULERS = {**HISTORY_ONLY, **MODELS}
MEASURE_DISTANCES = {"pasha", "stopping, earlier"}  # these look at more of scores than their order


def test_the_table_covers_the_registry():
    registered = {type(resolve("scheduler", name)(SPACE)) for name in REGISTRY["scheduler"]}
    assert {type(make()) for make in SCHEDULERS.values()} == registered


workers = st.integers(1, 64)
seeds = st.integers(0, 10_000)
kinds = st.sampled_from(CURVES)


def laws(table, **strategies):
    """Hold a law for every scheduler of a table; models cost more, and get fewer examples."""
    examples = 12 if table is HISTORY_ONLY else 4

    def decorate(test):
        test = settings(max_examples=examples)(given(**strategies)(test))
        return pytest.mark.parametrize("name", table)(test)

    return decorate


def _finishes(name, seed, count, kind):
    scheduler = SCHEDULERS[name](max_trials=20)
    history, decisions = simulate(scheduler, kind, seed, count, steps=10_000)
    assert isinstance(decisions[-1][0], Done)
    assert len(history.trials) == 20
    assert not history.n_running
    assert sum(isinstance(decision, Start) for decision, _ in decisions) == 20
    jobs = [event for event in history.events if isinstance(event, Job)]
    assert sum(job.until - job.since for job in jobs) <= 20 * scheduler.max_units


@laws(HISTORY_ONLY, seed=seeds, count=workers, kind=kinds)
def test_finishes_within_its_limits(name, seed, count, kind):
    _finishes(name, seed, count, kind)


@laws(MODELS, seed=seeds, count=workers, kind=kinds)
def test_finishes_within_its_limits_with_a_model(name, seed, count, kind):
    _finishes(name, seed, count, kind)


def _rebuilds(name, seed, count, kind, cut, steps):
    history, decisions = simulate(SCHEDULERS[name](), kind, seed, count, steps)
    decision, known = decisions[min(cut, len(decisions) - 1)]
    rebuilt = History.replay(history.events[:known])
    assert SCHEDULERS[name]()(rebuilt, Streams(seed)) == decision
    whole = History.replay(history.events)
    assert repr(whole.as_table()) == repr(history.as_table())
    for rung in history.milestones():
        assert repr(list(whole.ranked(rung))) == repr(list(history.ranked(rung)))
        assert whole.best_paused(rung) == history.best_paused(rung)


@laws(HISTORY_ONLY, seed=seeds, count=workers, kind=kinds, cut=st.integers(0, 99))
def test_killed_and_rebuilt_at_any_point_it_decides_the_same(name, seed, count, kind, cut):
    _rebuilds(name, seed, count, kind, cut, 100)


@laws(MODELS, seed=seeds, count=workers, kind=kinds, cut=st.integers(0, 59))
def test_killed_and_rebuilt_at_any_point_a_model_decides_the_same(name, seed, count, kind, cut):
    _rebuilds(name, seed, count, kind, cut, 60)


# A loss that is minimised enters as its negative: rank-based rules may not notice any monotone change, those
# that measure distances none of scale (a power of two is exact).
SCALES = {
    name: (lambda v: 2 * v) if name in MEASURE_DISTANCES else (lambda v: -math.exp(-v))
    for name in HISTORY_ONLY
}


@laws(HISTORY_ONLY, seed=seeds, count=workers, kind=kinds)
def test_maximising_a_score_is_minimising_a_loss(name, seed, count, kind):
    _, as_score = simulate(SCHEDULERS[name](), kind, seed, count)
    _, as_loss = simulate(SCHEDULERS[name](), kind, seed, count, scale=SCALES[name])
    assert as_score == as_loss


@given(seeds)
@settings(max_examples=10)
def test_equal_seeds_give_equal_samples_across_schedulers(seed):
    uniform = [make for name, make in HISTORY_ONLY.items() if "mixed" not in name]
    histories = [simulate(make(), "smooth", seed, 4, steps=40)[0] for make in uniform]
    shortest = min(len(history.trials) for history in histories)
    assert shortest > 5
    for number in range(shortest):
        assert len({history.trials[number].sampled for history in histories}) == 1
    for name in ("bohb", "asha by gp", "dyhpo", "boil"):
        first = simulate(MODELS[name](), "smooth", seed, 4, steps=3)[0]
        assert [trial.sampled for trial in first.trials] == [t.sampled for t in histories[0].trials[:3]]


@settings(max_examples=20)
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
        lambda: RandomSearch(SPACE, sampler="unifrom"),
        lambda: RandomSearch(SPACE, sampler={"top": 0.1}),
        lambda: ASHA(SPACE, rule="best"),
        lambda: PASHA(SPACE, rule="best"),
        lambda: StoppingASHA(SPACE, rule="top"),
        lambda: Hyperband(SPACE, brackets=9),
        lambda: SuccessiveHalving(SPACE, eta=1),
        lambda: OneEpoch(SPACE, keep=0),
        lambda: OneEpoch(SPACE, min_units=28),
        lambda: BOHB(SPACE, top=1.0),
        lambda: BOHB(SPACE, random_fraction=2.0),
        lambda: GPSampler(points=1),
        lambda: DyHPO(SPACE, step=28),
        lambda: DyHPO(SPACE, candidates=0),
        lambda: DyHPO(SPACE, fitting={"growth": 1.0}),
        lambda: BOIL(SPACE, min_units=0),
        lambda: BOIL(SPACE, virtual=0),
        lambda: ASHA(SPACE, eta=2.5),
        lambda: ASHA(SPACE, max_units=9.0),
        lambda: ASHA(SPACE, max_units=True),
        lambda: ASHA(SPACE, max_trials="9"),
        lambda: ASHA(SPACE, sampler=3),
        lambda: OneEpoch(SPACE, max_trials=None),
        lambda: BOHB(SPACE, top="most"),
        lambda: BOHB(SPACE, candidates=1.5),
        lambda: DyHPO(SPACE, fitting={"growht": 1.2}),
        lambda: DyHPO(SPACE, fitting=3),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(InvalidArgumentError):
        make()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_trials_that_claim_to_be_well_without_a_score_are_lost(name):
    history, streams = History(), Streams(0)
    scheduler = SCHEDULERS[name](max_trials=12)
    for _ in range(200):
        decision = scheduler(history, streams)
        if not isinstance(decision, Start):
            break
        number = len(history.trials)
        history.append(Started(number, decision.config, Nudge(decision.config, "none"), 0.0))
        history.append(Job(number, decision.config, 0, decision.until))
        units = [(UnitResult(1, 1.0, value, value),) for value in (math.nan, math.inf)]
        units.append(())
        history.append(Report(history.events[-1], "ok", 0.0, 1.0, units[number % 3], 1.0))
    assert isinstance(decision, Done) and len(history.trials) == 12
    assert {trial.status for trial in history.trials} == {"diverged"}


def test_waits_for_the_last_reports_before_it_is_done():
    scheduler = ASHA(SPACE, max_units=3, eta=3, max_trials=1)
    history, streams = History(), Streams(0)
    start = scheduler(history, streams)
    history.append(Started(0, start.config, Nudge(start.config, "none"), 0.0))
    history.append(Job(0, start.config, 0, 1))
    assert scheduler(history, streams) == Wait()


@pytest.mark.parametrize("name", ["random", "asha", "hyperband", "bohb"])
def test_what_its_author_is_told_to_check_holds_for_ours(name):
    check_scheduler(lambda: SCHEDULERS[name](max_trials=9), seeds=[0], workers=[1, 3])


class Broken:
    """A scheduler that starts five trials, unless told otherwise."""

    space, max_units = SPACE, 2

    def __init__(self, fault):
        self.fault, self.calls = fault, 0

    def __call__(self, history, streams):
        self.calls += 1
        number = len(history.trials)
        if self.fault == "nothing":
            return Done()
        if number < 5:
            if self.fault == "plain":
                return Start(dict(SPACE.sample(streams("config", number))), until=2)
            drawn = streams("other" if self.fault == "address" else "config", number)
            if self.fault == "global":
                random.random()
            until = 3 if self.fault == "too far" else 2
            if self.fault == "memory" and self.calls > 3:
                until = 1
            return Start(SPACE.sample(drawn), until=until)
        if self.fault == "for ever":
            return Start(SPACE.sample(streams("config", number)), until=1)
        if self.fault == "forgets":
            return None
        if self.fault == "object":
            return Resume(history.trials[0], until=2)
        if self.fault == "resumes" and history.n_running:
            running = next(trial for trial in history.trials if trial.status == "running")
            return Resume(running.number, until=2)
        return Wait() if history.n_running or self.fault == "waits" else Done()


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        ("address", "draw trial 0 by `space.sample"),
        ("global", "draw from `streams` only"),
        ("too far", "train within max_units, not from 0 to 3"),
        ("memory", "decide the same after a replay"),
        ("for ever", "come to an end"),
        ("resumes", "resume what is paused only, not running"),
        ("waits", "end with Done, not with Wait"),
        ("nothing", "start a trial"),
        ("plain", "start a configuration of its space, not a dict"),
        ("forgets", "answer Start, Resume, Wait or Done, not None"),
        ("object", "resume a trial by its number, not by a Trial"),
    ],
)
def test_a_broken_law_is_named(fault, law):
    with pytest.raises(AssertionError, match=f"^a scheduler must {re.escape(law)}.*curves 'smooth', seed 0"):
        check_scheduler(lambda: Broken(fault), seeds=[0], workers=[8], steps=50)
    check_scheduler(lambda: Broken(None), seeds=[0], workers=[8], steps=50)

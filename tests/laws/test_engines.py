"""Every engine gives the same study: decisions, reports, clock and cost."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from hypernudge.engine.base import SpeculativeEngine
from hypernudge.engine.multi_study import run_studies
from hypernudge.engine.population import PopulationEngine
from hypernudge.engine.serial import SerialEngine
from hypernudge.engine.trainer import Population
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams, stream
from hypernudge.registry import REGISTRY, resolve
from hypernudge.schedulers.asha import ASHA
from hypernudge.schedulers.random import RandomSearch
from hypernudge.trial import Report, Started
from hypernudge.tuner import iter_study, tune
from hypernudge.warmstart.policies.curvature_band import CurvatureBand
from hypernudge.warmstart.policies.ohgw import OHGW
from hypernudge.warmstart.policies.random_step import RandomStep
from tests.engine.tasks import digits


def plain(event):
    """The event without wall time; scores of the digits tasks are fractions, so they are equal or not."""
    if isinstance(event, Report):
        return dataclasses.replace(event, wall_seconds=0.0)
    if hasattr(event, "nudge"):
        return dataclasses.replace(event, nudge=dataclasses.replace(event.nudge, wall_seconds=0.0))
    return event


def course(study):
    return [plain(event) for event in study.history.events]


def engine_for(task, seed, budget, population=None, workers=4):
    return PopulationEngine(task, Streams(seed).trial_seed, workers, 1e9, budget, population)


def budget_of(task, units):
    return units * task.step_flops * task.steps_per_unit / 1e9 / 4


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_asha_decides_the_same_over_20_seeds(model):
    """In float32, to the last bit: what a member learns does not depend on who is in its cohort."""
    task = digits(model, "float32", steps_per_unit=4)
    budget = budget_of(task, 24)
    scheduler = ASHA(task.space, max_units=9)
    seeds = range(20)
    population = Population(task)
    studies = {}
    for seed in seeds:
        engine = engine_for(task, seed, budget, population)
        studies[seed] = iter_study(task, scheduler, engine, seed=seed, budget=budget), engine
    results = dict(run_studies(studies, population))
    for seed in seeds:
        expected = tune(task, scheduler, seed=seed, budget=budget, workers=4, test="every")
        assert course(results[seed]) == course(expected)


@pytest.mark.parametrize("warm_start", [OHGW(), RandomStep(eta_h=0.1), CurvatureBand()])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_warm_starts_decide_the_same_in_float32(model, warm_start):
    """They are measured for many trials at once by one engine and one by one by the other."""
    task = digits(model, "float32", steps_per_unit=2)
    scheduler = ASHA(task.space, max_units=3, max_trials=20)
    fast = tune(
        task, scheduler, seed=1, engine=engine_for(task, 1, float("inf")), warm_start=warm_start, test="every"
    )
    slow = tune(task, scheduler, seed=1, workers=4, warm_start=warm_start, test="every")
    assert course(fast) == course(slow)


@pytest.mark.parametrize("warm_start", [None, OHGW(eta_h=0.1), CurvatureBand()])
@pytest.mark.parametrize("limit", [{"max_trials": 12}, {"budget": 20}])
@pytest.mark.parametrize("scheduler", [ASHA, RandomSearch])
def test_one_study_alone(scheduler, limit, warm_start):
    task = digits("mlp", steps_per_unit=3)
    budget = budget_of(task, limit["budget"]) if "budget" in limit else float("inf")
    decide = scheduler(task.space, max_units=9, max_trials=limit.get("max_trials"))
    options = {"seed": 3, "budget": budget, "warm_start": warm_start}
    fast = tune(task, decide, engine=engine_for(task, 3, budget), **options, test="every")
    slow = tune(task, decide, workers=4, **options, test="every")
    assert course(fast) == course(slow)
    assert len(fast.reports) >= 4


def test_one_study_that_raises_leaves_the_others():
    task = digits("mlp", steps_per_unit=2)
    population = Population(task)
    scheduler = ASHA(task.space, max_units=3, max_trials=6)

    def broken(history, streams):
        if len(history.trials) > 2:
            raise OSError("no more")
        return scheduler(history, streams)

    broken.max_units = scheduler.max_units
    studies = {}
    for seed, decide in ((0, scheduler), (1, broken), (2, scheduler)):
        engine = engine_for(task, seed, float("inf"), population)
        studies[seed] = iter_study(task, decide, engine, seed=seed), engine
    results = dict(run_studies(studies, population))
    assert isinstance(results[1], OSError)
    for seed in (0, 2):
        assert course(results[seed]) == course(tune(task, scheduler, seed=seed, workers=4, test="every"))


OPTIONS = {
    "one_epoch": {"keep": 2},
    "dyhpo": {"initial": 3, "candidates": 8, "fitting": {"first": 4, "epochs": 3, "refinement": 1}},
    "boil": {"points": 16, "candidates": 16},
}


class MinimalEngine:
    """The five members of `Engine` and nothing else, as an engine of real workers may have them."""

    def __init__(self, task, seed_of, workers, flops_per_second, deadline):
        self._inner = SerialEngine(task, seed_of, workers, flops_per_second, deadline)

    @property
    def now(self):
        return self._inner.now

    @property
    def free(self):
        return self._inner.free

    def submit(self, job):
        self._inner.submit(job)

    def next(self):
        return self._inner.next()

    def restore(self, running, now):
        self._inner.restore(running, now)


ENGINES = {"serial": SerialEngine, "population": PopulationEngine, "minimal": MinimalEngine}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scheduler", REGISTRY["scheduler"])
def test_killed_at_any_point_a_study_goes_on_as_it_would_have(scheduler, engine):
    task = digits("mlp", steps_per_unit=1)
    seed = sorted(REGISTRY["scheduler"]).index(scheduler)
    decide = resolve("scheduler", scheduler)(
        task.space, max_units=4, max_trials=9, **OPTIONS.get(scheduler, {})
    )
    budget = budget_of(task, 28)

    def make():
        return ENGINES[engine](task, Streams(seed).trial_seed, 4, 1e9, budget)

    options = {"seed": seed, "budget": budget, "warm_start": CurvatureBand()}
    whole = course(tune(task, decide, engine=make(), **options, test="every"))
    for cut in stream(seed, engine).integers(0, len(whole), 4):
        events, seen = whole[:cut], []
        again = tune(
            task, decide, engine=make(), resume_from=events, callback=seen.append, **options, test="every"
        )
        assert course(again) == whole
        redone = bool(cut) and isinstance(events[-1], Started)  # nobody knows whether it was submitted
        assert [plain(event) for event in seen] == whole[cut - redone :]


@pytest.mark.parametrize("warm_start", [None, CurvatureBand(), OHGW(eta_h=0.1)])
@pytest.mark.parametrize("scheduler", [ASHA, RandomSearch])
def test_five_members_make_an_engine(scheduler, warm_start):
    task = digits("mlp", steps_per_unit=2)
    budget = budget_of(task, 16)
    decide = scheduler(task.space, max_units=9)
    engine = MinimalEngine(task, Streams(2).trial_seed, 4, 1e9, budget)
    found = tune(task, decide, seed=2, budget=budget, engine=engine, warm_start=warm_start, test="every")
    expected = tune(task, decide, seed=2, budget=budget, workers=4, warm_start=warm_start, test="every")
    assert course(found) == course(expected)
    assert len(found.reports) >= 4


def test_only_the_population_speculates():
    task = digits("mlp", steps_per_unit=1)
    arguments = (task, Streams(0).trial_seed, 1, 1e9, float("inf"))
    speculates = {name: isinstance(engine(*arguments), SpeculativeEngine) for name, engine in ENGINES.items()}
    assert speculates == {"serial": False, "population": True, "minimal": False}


@pytest.mark.parametrize("missing", ["submit", "next", "now", "free", "restore"])
def test_an_engine_that_lacks_a_member_is_refused(missing):
    members = {name: None for name in ("submit", "next", "now", "free", "restore") if name != missing}
    with pytest.raises(
        InvalidArgumentError, match=r"^engine: must have \['submit', 'next', 'now', 'free', 'restore'\]"
    ):
        tune(digits("mlp"), "random", seed=0, engine=SimpleNamespace(**members))


def test_events_that_contradict_each_other_are_refused():
    task = digits("mlp", steps_per_unit=1)
    scheduler = ASHA(task.space, max_units=3, max_trials=4)
    events = tune(task, scheduler, seed=0).history.events
    with pytest.raises(ValueError, match="must be running"):
        tune(task, scheduler, seed=0, resume_from=[*events[:3], events[2]])


@pytest.mark.parametrize("engine", ["serial", "population"])
def test_a_forgotten_return_value_is_no_divergence(bowl, engine):
    class Forgetful:
        name, space, metric, metric_range = "forgetful", bowl.space, "score", (0.0, 1.0)

        def start(self, seed):
            return {}

        def advance(self, state, hp):
            state["trained"] = True

        def evaluate(self, state, split):
            return 0.5

        def unit_flops(self, hp):
            return 1.0

    study = tune(Forgetful(), RandomSearch(bowl.space, max_units=1, max_trials=2), engine=engine, seed=0)
    reports = [event for event in study.history.events if isinstance(event, Report)]
    assert len(reports) == 2
    assert all("end it with `return True`" in report.error for report in reports)

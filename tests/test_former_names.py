"""Former names of what `tune` and the population engine take."""

from __future__ import annotations

import pytest

from hypernudge import PopulationEngine, RandomSearch, tune
from hypernudge.engine.trainer import Population
from hypernudge.errors import InvalidArgumentError
from hypernudge.registry import build
from hypernudge.trial import Job, Report, Started
from tests.engine.tasks import Quadratic


def test_tune_takes_observe_and_past():
    task, seen, again = Quadratic(), [], []
    search = RandomSearch(task.space, max_units=1, max_trials=2)
    events = tune(task, search, seed=0, observe=seen.append).history.events
    assert seen == events and len(seen) == 6
    tune(task, search, seed=0, past=seen[:3], callback=again.append)
    assert [type(event) for event in again] == [Started, Job, Report] and again[1] == events[4]
    with pytest.raises(InvalidArgumentError, match="'past' is its former name"):
        tune(task, search, seed=0, past=(), resume_from=())


def test_the_population_takes_alone_above_from_python_and_yaml():
    task = Quadratic()
    assert Population(task, alone_above=0.0)._alone
    engine = PopulationEngine(task, int, alone_above=0.0)
    named = build("engine", {"name": "population", "alone_above": 0.0}, task=task, seed_of=int)
    assert engine.max_batched_flops == named.max_batched_flops == 0.0
    with pytest.raises(InvalidArgumentError, match="max_batched_flops"):
        PopulationEngine(task, int, alone_above=-1.0)

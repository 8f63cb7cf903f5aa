"""Former names of what `tune` and the population engine take."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import FORMER
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


@pytest.mark.parametrize(("former", "present"), FORMER.items())
def test_benchmarks_are_found_by_the_names_they_had(former, present):
    old, new = (find_spec(f"benchmarks.{name}") for name in (former, present))
    assert old is not None and new is not None and old.origin == new.origin
    if new.submodule_search_locations is not None:  # `python -m` runs its `__main__`
        old, new = (find_spec(f"benchmarks.{name}.__main__") for name in (former, present))
        assert old is not None and new is not None and old.origin == new.origin


def test_a_benchmark_runs_under_the_name_it_had():
    command = [sys.executable, "-m", "benchmarks.tools_effect", "--help"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--task" in done.stdout, done.stderr

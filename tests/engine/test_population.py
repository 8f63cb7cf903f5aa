"""Population = serial, member by member, whatever happens to the others."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from hypernudge.batching import VmapTask
from hypernudge.engine.population import PopulationEngine
from hypernudge.engine.serial import SerialEngine
from hypernudge.engine.trainer import PER_THREAD, Population
from hypernudge.engine.trajectory import Trajectory
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams
from hypernudge.task import GradientTask
from hypernudge.trial import Job
from tests.engine.tasks import Branching, Fragile, Quadratic, digits, table

STREAMS = Streams(5)
SEED_OF = STREAMS.trial_seed


def config(task, number, **changes):
    return task.space.sample(STREAMS("config", number)).replace(**changes)


def run(engine, jobs):
    for job in jobs:
        engine.submit(job)
    return [engine.next() for _ in jobs]


def same(a, b, tolerance):
    """Reports agree: everything but wall time exactly, scores within `tolerance`."""
    assert dataclasses.replace(a, wall_seconds=0.0, units=(), error=None) == dataclasses.replace(
        b, wall_seconds=0.0, units=(), error=None
    )
    assert (a.error is None) == (b.error is None)
    assert [(u.unit, u.time) for u in a.units] == [(u.unit, u.time) for u in b.units]
    for x, y in zip(a.units, b.units, strict=True):
        assert (x.validation, x.test) == pytest.approx((y.validation, y.test), abs=tolerance, nan_ok=True)


TASKS = {
    "digits_mlp": lambda: digits("mlp"),
    "digits_cnn": lambda: digits("cnn"),
    "breast_cancer_mlp": table,
    "vmap": Quadratic,
    "branching": Branching,
}


@pytest.mark.parametrize("name", TASKS)
def test_reports_are_those_of_the_serial_engine(name):
    task = TASKS[name]()
    reports = []
    for make in (SerialEngine, PopulationEngine):
        engine = make(task, SEED_OF, workers=5)
        first = run(engine, [Job(i, config(task, i), 0, 1 + i % 3) for i in range(5)])
        # Members go on from different epochs, together with one that only joins now.
        more = [Job(r.job.trial, r.job.config, r.job.until, 5) for r in first if r.outcome == "ok"][:4]
        reports.append(first + run(engine, [*more, Job(5, config(task, 5), 0, 2)]))
    assert len(reports[0]) >= 8
    for a, b in zip(*reports, strict=True):
        same(a, b, 1e-10)


def trained(task, trajectories, units, order=None):
    population = Population(task)
    for _ in range(units):
        population.train([trajectories[i] for i in order or range(len(trajectories))])
    return population


def states(task, n, **changes):
    return [Trajectory(config(task, i, **changes), SEED_OF(i)) for i in range(n)]


def parameters(trajectory):
    return trajectory.shape.params.views(trajectory.state.params)


def serially(task, number, units, **changes):
    state = task.start(SEED_OF(number))
    for _ in range(units):
        GradientTask.advance(task, state, config(task, number, **changes))  # autograd, one trial
    return state.params


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("mlp", "float64", 1e-10),
        ("cnn", "float64", 1e-10),
        ("mlp", "float32", 1e-4),
        ("cnn", "float32", 1e-4),
    ],
)
def test_parameters_agree(name, dtype, tolerance):
    """At moderate rates; where training is chaotic rounding grows in either engine."""
    task = digits(name, dtype)
    members = states(task, 4, lr=0.03, momentum=0.5)
    trained(task, members, 3)
    for i, member in enumerate(members):
        for key, value in serially(task, i, 3, lr=0.03, momentum=0.5).items():
            assert torch.allclose(parameters(member)[key], value.detach(), rtol=tolerance, atol=tolerance)


def test_buffers_are_state_of_the_member():
    task = Quadratic()
    members = states(task, 3)
    trained(task, members, 2)
    for i, member in enumerate(members):
        running = member.shape.buffers.views(member.state.buffers)["running"]
        assert torch.allclose(running, serially(task, i, 2)["running"], atol=1e-12)
        assert running.abs().max() > 0


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_the_general_route_agrees_with_the_hand_batched_one(name):
    fast, slow = digits(name), digits(name)
    slow.batched = lambda device, shared: None
    a, b = states(fast, 4, lr=0.05), states(slow, 4, lr=0.05)
    trained(fast, a, 2)
    population = trained(slow, b, 2)
    assert all(isinstance(batched, VmapTask) for batched in population._batched.values())
    for x, y in zip(a, b, strict=True):
        assert torch.allclose(x.state.params, y.state.params, atol=1e-10)
        assert x.scores == y.scores


@pytest.mark.parametrize("chosen", [[0], [3, 1], [4, 3, 2, 1, 0], [2, 0, 4]])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_any_subset_in_any_order(model, chosen):
    """To the last bit, in float32."""
    task = digits(model, "float32")
    everyone, some = states(task, 5), states(task, 5)
    trained(task, everyone, 2)
    trained(task, some, 2, chosen)
    for i in chosen:
        assert torch.equal(some[i].state.params, everyone[i].state.params)
        assert some[i].scores == everyone[i].scores


def test_a_diverging_member_disturbs_nobody():
    task = digits("mlp", "float32")
    alone, mixed = states(task, 3), states(task, 3)
    trained(task, alone, 2)
    wild = Trajectory(config(task, 7, lr=1e30), SEED_OF(7))
    trained(task, [*mixed, wild], 2)
    assert math.isnan(wild.scores[-1][0])
    for a, b in zip(alone, mixed, strict=True):
        assert torch.equal(a.state.params, b.state.params)
    engine = PopulationEngine(task, SEED_OF, workers=2)
    outcomes = run(engine, [Job(0, config(task, 0), 0, 2), Job(7, config(task, 7, lr=1e30), 0, 2)])
    assert {report.job.trial: report.outcome for report in outcomes} == {0: "ok", 7: "diverged"}


def test_only_the_member_that_raises_fails():
    task = Fragile()
    task.culprit = SEED_OF(1)
    reports = []
    for make in (SerialEngine, PopulationEngine):
        engine = make(task, SEED_OF, workers=3)
        reports.append(run(engine, [Job(i, config(task, i), 0, 3) for i in range(3)]))
    for a, b in zip(*reports, strict=True):
        same(a, b, 1e-10)
    failed = [report for report in reports[1] if report.outcome == "failed"]
    assert [report.job.trial for report in failed] == [1]
    assert "the disk is gone" in failed[0].error and len(failed[0].units) == 1


def test_a_job_is_truncated_at_the_deadline():
    task = Quadratic()
    unit = task.unit_flops(config(task, 0)) / 1e9
    reports = []
    for make in (SerialEngine, PopulationEngine):
        engine = make(task, SEED_OF, workers=2, deadline=2.5 * unit)
        reports.append(run(engine, [Job(i, config(task, i), 0, units) for i, units in ((0, 4), (1, 2))]))
    for a, b in zip(*reports, strict=True):
        same(a, b, 1e-10)
    assert [report.outcome for report in reports[1]] == ["ok", "truncated"]


def test_what_was_speculated_wrongly_is_trained_anew():
    task = Quadratic()
    right, wrong = config(task, 0), config(task, 1)
    engine = PopulationEngine(task, SEED_OF, workers=2)
    engine.speculate([Job(0, wrong, 0, 2), Job(3, wrong, 0, 2)])
    engine.submit(Job(1, wrong, 0, 1))
    engine.next()
    (report,) = run(engine, [Job(0, right, 0, 2)])
    (expected,) = run(SerialEngine(task, SEED_OF), [Job(0, right, 0, 2)])
    assert report.units[-1].validation == pytest.approx(expected.units[-1].validation, abs=1e-10)


def test_the_memory_budget_bounds_cohorts():
    task = digits("mlp")
    members = states(task, 5)
    tight, wide = Population(task, memory_budget=1), Population(task, memory_budget=2**30)
    tight.train(members)
    assert tight.cohort_size(members[0]) == 1
    assert wide.cohort_size(members[0]) > 100
    others = states(task, 5)
    wide.train(others)
    for a, b in zip(members, others, strict=True):
        assert torch.allclose(a.state.params, b.state.params, atol=1e-10)


@pytest.mark.parametrize("count", [1, 5, 2 * PER_THREAD + 1])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_threads_change_nothing(model, count):
    """To the last bit, in float32; and PyTorch's own number of threads is what it was."""
    task = digits(model, "float32")
    one, two = states(task, count), states(task, count)
    Population(task).train(one)
    Population(task, threads=2).train(two)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.state.params, b.state.params)
        assert a.scores == b.scores
    assert torch.get_num_threads() == 1


def test_units_that_end_within_an_epoch_draw_it_once():
    task = digits("mlp", steps_per_unit=5, batch_size=128)  # epochs of 8 steps
    drawn, draws = [], task.draws
    task.draws = lambda seed, epoch: drawn.append((seed, epoch)) or draws(seed, epoch)
    members = states(task, 3)
    trained(task, members, 4)
    assert sorted(drawn) == sorted((member.seed, epoch) for member in members for epoch in range(3))
    for i, member in enumerate(members):
        for key, value in serially(task, i, 4).items():
            assert torch.allclose(parameters(member)[key], value.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", [{"memory_budget": 0}, {"threads": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(InvalidArgumentError):
        Population(Quadratic(), **options)


def test_a_shared_population_must_be_of_the_same_task():
    with pytest.raises(InvalidArgumentError, match="population"):
        PopulationEngine(Quadratic(), SEED_OF, population=Population(Quadratic()))

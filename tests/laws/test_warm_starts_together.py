"""What a warm start measures for many trials at once is what it measures for each alone."""

from __future__ import annotations

import math

import pytest
import torch

from hypernudge import ASHA, RandomSearch, tune
from hypernudge.engine.population import PopulationEngine
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.trial import History
from hypernudge.warmstart.base import SupportsBatchMeasurement
from hypernudge.warmstart.policies.curvature_band import CurvatureBand
from hypernudge.warmstart.policies.ohgw import OHGW
from hypernudge.warmstart.runner import WarmStartRunner
from tests.engine.tasks import Branching, Quadratic, digits, table

POLICIES = {
    "literal": {"name": "literal", "eta_h": 0.1},
    "literal, direct": {"name": "literal", "eta_h": 0.1, "objective": "direct"},
    "literal, one": {"name": "literal", "only": ["weight_decay"]},
    "multi_step": {"name": "multi_step", "steps": 3, "eta_h": 0.05},
    "random_step": {"name": "random_step", "eta_h": 1.0},
    "curvature_band": {"name": "curvature_band", "measure_trials": 5},
}
TASKS = {"mlp": lambda: digits("mlp"), "cnn": lambda: digits("cnn"), "table": table}


def one_by_one(policy, task, configs, numbers, streams):
    return [policy.measure(task, [c], [n], streams)[0] for c, n in zip(configs, numbers, strict=True)]


def close(a, b, tolerance=1e-9):
    """Measurements agree, whatever they consist of."""
    if isinstance(a, float):
        return a == pytest.approx(b, rel=tolerance, abs=tolerance, nan_ok=True)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if hasattr(a, "items"):
        return a.keys() == b.keys() and all(close(a[key], b[key], tolerance) for key in a)
    if hasattr(a, "__dict__"):
        return close(vars(a), vars(b), tolerance)
    return a == b


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", POLICIES)
def test_together_is_one_by_one(name, kind):
    task, policy, streams = TASKS[kind](), build("warm_start", POLICIES[name]), Streams(3)
    assert isinstance(policy, SupportsBatchMeasurement)
    numbers = [0, 1, 2, 3, 4, 7]
    configs = [task.space.sample(streams("config", number)) for number in numbers]
    fast = policy.measure(task, configs, numbers, streams)
    slow = one_by_one(policy, task, configs, numbers, streams)
    assert len(fast) == len(slow) == 6
    for a, b in zip(fast, slow, strict=True):
        assert close(a, b), (a, b)


@pytest.mark.parametrize("chosen", [[3], [4, 0], [5, 4, 3, 2, 1, 0]])
def test_company_changes_no_measurement(chosen):
    task, streams = digits("mlp"), Streams(1)
    configs = [task.space.sample(streams("config", number)) for number in range(6)]
    everyone = OHGW().measure(task, configs, range(6), streams)
    some = OHGW().measure(task, [configs[i] for i in chosen], chosen, streams)
    for i, descent in zip(chosen, some, strict=True):
        assert close(descent, everyone[i])


def test_a_gradient_that_is_not_finite_spoils_only_its_own_measurement():
    task, streams = digits("mlp"), Streams(1)
    configs = [task.space.sample(streams("config", number)) for number in range(4)]
    configs[2] = configs[2].replace(lr=1e300)
    descents = OHGW(steps=2).measure(task, configs, range(4), streams)
    assert [descent.finite for descent in descents] == [True, True, False, True]
    alone = one_by_one(OHGW(steps=2), task, configs, range(4), streams)
    for a, b in zip(descents, alone, strict=True):
        assert close(a, b)


def test_a_task_that_cannot_be_batched_is_measured_one_by_one():
    task, streams = Branching(), Streams(0)
    configs = [task.space.sample(streams("config", number)) for number in range(4)]
    fast = OHGW().measure(task, configs, range(4), streams)
    assert all(
        close(a, b) for a, b in zip(fast, one_by_one(OHGW(), task, configs, range(4), streams), strict=True)
    )


def test_one_that_raises_fails_alone():
    class Picky(Quadratic):
        def batch(self, seed, step):
            if seed == Streams(0).trial_seed(2):
                raise OSError("the disk is gone")
            return super().batch(seed, step)

    task, streams = Picky(), Streams(0)
    runner = WarmStartRunner(OHGW(), task, streams, ASHA(task.space, max_trials=6), 4)
    history = History()
    nudge = runner(task.space.sample(streams("config", 0)), history)
    assert nudge.changed and not nudge.flagged


@pytest.mark.parametrize("policy", [OHGW(eta_h=0.1), CurvatureBand()])
@pytest.mark.parametrize("scheduler", [ASHA, RandomSearch])
def test_a_study_measures_few_times_and_pays_for_every_trial(policy, scheduler):
    """Its nudges, cost and course are those of measuring one by one."""
    task = digits("mlp", steps_per_unit=2)
    calls = []

    class Counting(type(policy)):
        def measure(self, task, configs, numbers, streams):
            calls.append(len(configs))
            return super().measure(task, configs, numbers, streams)

    options = {"seed": 2, "warm_start": Counting(**vars(policy))}
    decide = scheduler(task.space, max_units=3, max_trials=20)
    engine = PopulationEngine(task, Streams(2).trial_seed, workers=4)
    fast = tune(task, decide, engine=engine, **options, test="every")
    together = list(calls)
    slow = tune(task, decide, workers=4, **options, test="every")
    assert together == [16, 4] and calls[2:] == [1] * 20
    for a, b in zip(fast.history.trials, slow.history.trials, strict=True):
        assert (a.nudge.flops, a.nudge.reason) == (b.nudge.flops, b.nudge.reason)
        assert dict(a.config) == pytest.approx(dict(b.config), rel=1e-9)
    assert [r.job.trial for r in fast.reports] == [r.job.trial for r in slow.reports]


def test_float32_agrees_within_its_precision():
    task, streams = digits("cnn", "float32"), Streams(0)
    configs = [task.space.sample(streams("config", number)) for number in range(8)]
    policy = CurvatureBand(measure_trials=8)
    fast = policy.measure(task, configs, range(8), streams)
    slow = one_by_one(policy, task, configs, range(8), streams)
    assert all(math.isfinite(rate) for rate, _ in fast)
    assert torch.allclose(torch.tensor(fast), torch.tensor(slow), rtol=1e-3, atol=1e-3)

"""Learning-rate schedules: against PyTorch's own, tunable, over the study's longest training."""

import itertools
import math

import pytest
import torch

from hypernudge import ASHA, Real, SearchSpace, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.registry import build
from hypernudge.tasks.module.training import Training
from tests.tasks.module.small import CONFIG, SPACE, STEPS, plain_task

TOTAL = 40


def rates(spec, hp=None):
    schedule = build("schedule", spec)
    return [schedule.factor(step, TOTAL, hp or {}) for step in range(TOTAL)]


def of_torch(make):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make(optimizer)
    found = []
    for _ in range(TOTAL):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


LR = torch.optim.lr_scheduler
THEIRS = {
    "constant": ({"name": "constant"}, lambda o: LR.ConstantLR(o, 1.0)),
    "linear": ({"name": "linear", "final_factor": 0.1}, lambda o: LR.LinearLR(o, 1.0, 0.1, TOTAL)),
    "cosine": (
        {"name": "cosine", "final_factor": 0.2},
        lambda o: LR.CosineAnnealingLR(o, TOTAL, eta_min=0.2),
    ),
    "step": ({"name": "step"}, lambda o: LR.MultiStepLR(o, [20, 30], 0.1)),
    "warm-up, cosine": (
        {"name": "cosine", "warmup": 0.25},
        lambda o: LR.SequentialLR(
            o, [LR.LinearLR(o, 0.1, 1.0, 9), LR.CosineAnnealingLR(o, TOTAL - 10)], milestones=[10]
        ),
    ),
    "warmup_stable_decay": (
        {"name": "warmup_stable_decay", "decay": 0.5},
        lambda o: LR.SequentialLR(o, [LR.ConstantLR(o, 1.0), LR.LinearLR(o, 1.0, 0.0, 20)], [20]),
    ),
}


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")
@pytest.mark.parametrize("name", THEIRS)
def test_schedules_are_those_of_pytorch(name):
    spec, make = THEIRS[name]
    assert rates(spec) == pytest.approx(of_torch(make), abs=1e-12)


@pytest.mark.parametrize("name", ["constant", "linear", "cosine", "step", "warmup_stable_decay"])
def test_every_schedule_warms_up_peaks_and_ends(name):
    found = rates({"name": name, "warmup": 0.25})
    assert found[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(found) == 1.0 == found[10]
    assert all(a >= b for a, b in itertools.pairwise(found[10:]))
    after = build("schedule", {"name": name}).factor(TOTAL + 5, TOTAL, {})
    assert after == pytest.approx({"constant": 1.0, "step": 0.01}.get(name, 0.0), abs=1e-12)


def test_its_own_hyper_parameters_can_be_tuned():
    spec = {"name": "cosine", "warmup": 0.5, "final_factor": 0.0}
    own = rates({"name": "cosine", "warmup": 0.25, "final_factor": 0.3})
    assert rates(spec, {"warmup": 0.25, "final_factor": 0.3}) == own
    space = SearchSpace(
        [Real("lr", 1e-3, 0.1, log=True), Real("warmup", 0.0, 0.5), Real("final_factor", 0, 1)]
    )
    task = plain_task(space=space, schedule="linear", fixed={"label_smoothing": 0.0})
    found = tune(task, ASHA(space, max_units=3, max_trials=3), seed=0)
    assert all(report.outcome == "ok" for report in found.reports)


def used(task, monkeypatch, **options):
    """Return the rates of the last trial of a study that is trained to its end."""
    seen = {}
    step = Training._step

    def noting(self, number, batch):
        result = step(self, number, batch)
        seen.setdefault(self.seed, []).append(self.optimizer.param_groups[0]["lr"] / self.hp["lr"])
        return result

    monkeypatch.setattr(Training, "_step", noting)
    tune(task, ASHA(SPACE, max_trials=1, **options), seed=0)
    (found,) = seen.values()
    return found


def test_a_schedule_runs_over_the_longest_training_of_the_study(monkeypatch):
    total = 9 * STEPS
    linear = [1.0 - step / total for step in range(total)]
    assert used(plain_task(schedule="linear"), monkeypatch, max_units=9, min_units=9) == pytest.approx(linear)


def test_a_schedule_runs_over_the_units_that_were_given(monkeypatch):
    found = used(plain_task(schedule="linear", units=18), monkeypatch, max_units=9, min_units=9)
    assert found[-1] == pytest.approx(1.0 - (9 * STEPS - 1) / (18 * STEPS))


def test_a_schedule_that_would_end_before_the_study_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"^units: must reach the scheduler's longest training, 9"):
        tune(plain_task(units=3), ASHA(SPACE, max_units=9, max_trials=1), seed=0)


def test_studies_of_other_lengths_cannot_share_a_task():
    task = plain_task(schedule="cosine")
    with task.study(3), pytest.raises(InvalidArgumentError, match=r"^max_units: must be 3"), task.study(9):
        pass
    with task.study(9):
        assert task.start(0).units == 9


def test_clipping_and_averaging_are_those_of_pytorch():
    task = plain_task(fixed={"grad_clip": 0.05, "ema": 0.7}, units=1)
    state = task.start(0)
    task.advance(state, CONFIG)
    plain = plain_task(units=1).at(CONFIG)
    params = plain.init(0)
    names = [name for name in params if name not in plain.buffers]
    leaves = [params[name].requires_grad_() for name in names]
    optimizer = torch.optim.SGD(leaves, CONFIG["lr"], CONFIG["momentum"], weight_decay=CONFIG["weight_decay"])
    average = torch.optim.swa_utils.AveragedModel(
        torch.nn.ParameterList(leaves), multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.7)
    )
    average.update_parameters(torch.nn.ParameterList(leaves))
    for step in range(STEPS):
        optimizer.zero_grad()
        plain.loss(params, plain.batch(0, step), CONFIG).backward()
        norm = torch.nn.utils.clip_grad_norm_(leaves, 0.05)
        assert norm > 0.05
        optimizer.step()
        average.update_parameters(torch.nn.ParameterList(leaves))
    for mine, theirs in zip(state.training.params, leaves, strict=True):
        torch.testing.assert_close(mine, theirs)
    for mine, theirs in zip(state.training.average, average.module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    score = task.evaluate(state, "validation")
    weights = dict(zip(names, state.training.average, strict=True))
    assert score == plain.score({**params, **weights}, "validation")
    before = [value.clone() for value in state.training.params]
    task._trials.evaluate(state, "test", lambda training: training.score(task._score, task._held["test"]))
    assert all(torch.equal(a, b) for a, b in zip(before, state.training.params, strict=True))
    assert math.isfinite(score)

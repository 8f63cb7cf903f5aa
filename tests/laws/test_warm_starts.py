"""Laws that every warm start obeys."""

import dataclasses
import math

import pytest
import torch

from hypernudge import ASHA, BOIL, DyHPO, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.random import Streams
from hypernudge.registry import REGISTRY, build
from hypernudge.trial import History, Job, Nudge, Report, Started, UnitResult
from hypernudge.warmstart.policies.curvature_band import CurvatureBand
from hypernudge.warmstart.policies.ohgw import OHGW, multi_step
from hypernudge.warmstart.policies.random_step import RandomStep

POLICIES = {
    "none": {"name": "none"},
    "literal": {"name": "literal"},
    "literal, direct": {"name": "literal", "objective": "direct"},
    "literal, huge": {"name": "literal", "eta_h": 1e3},
    "multi_step": {"name": "multi_step"},
    "random_step": {"name": "random_step", "eta_h": 10.0},
    "curvature_band": {"name": "curvature_band"},
    "placebo": {"name": "placebo"},
    "fixed_band": {"name": "fixed_band"},
    "newton": {"name": "newton"},
    "probe_band": {"name": "probe_band"},
    "density": {"name": "density", "min_results": 4},
    "informed": {"name": "informed", "prior": "none"},
    "informed, shipped": {"name": "informed"},
}
GRADIENT_FREE = {"none", "fixed_band", "density"}  # measure nothing that could be not finite
YIELDING = {"curvature_band", "density", "fixed_band", "informed", "newton", "probe_band"}
"""Leave alone what the scheduler's own model chose: `skip_model_based_picks`."""


def nudges(task, policy, seed=0, n=12):
    """Apply a policy to the first trials of a study, without training them."""
    history, streams = History(), Streams(seed)
    for number in range(n):
        sampled = task.space.sample(streams("config", number))
        history.append(Started(number, sampled, policy(task, sampled, history, streams), 0.0))
        job = Job(number, history.trials[-1].config, 0, 1)
        history.append(job)
        if number % 4 != 3:  # some are still running
            score = math.sin(number)
            unit = UnitResult(1, float(number), score, score)
            history.append(Report(job, "ok", 0.0, float(number), (unit,), 1.0))
    return history.trials


def test_the_table_covers_the_registry():
    assert {spec["name"] for spec in POLICIES.values()} == set(REGISTRY["warm_start"])


@pytest.mark.parametrize("name", POLICIES)
def test_stays_inside_the_space_and_is_deterministic(bowl, name):
    for seed in range(5):
        first = nudges(bowl, build("warm_start", POLICIES[name]), seed)
        again = nudges(bowl, build("warm_start", POLICIES[name]), seed)
        for a, b in zip(first, again, strict=True):
            bowl.space.check(a.config)
            assert a.config == b.config and a.nudge == b.nudge
            assert a.nudge.changed == (a.config != a.sampled)
            assert a.nudge.reason or name == "none"


@pytest.mark.parametrize("name", sorted(set(POLICIES) - GRADIENT_FREE))
def test_a_gradient_that_is_not_finite_leaves_the_configuration_alone_and_is_flagged(bowl, name):
    real_init = bowl.init
    bowl.init = lambda seed: {"w": real_init(seed)["w"] * math.nan}
    for trial in nudges(bowl, build("warm_start", POLICIES[name]), n=3):
        assert trial.config == trial.sampled
        assert trial.nudge.flagged and not trial.nudge.changed
        assert "finite" in trial.nudge.reason


@pytest.mark.parametrize(
    "policy",
    [
        OHGW(eta_h=1e-300),
        RandomStep(eta_h=1e-300),
        multi_step(eta_h=1e-300),
        CurvatureBand(low=-1e9, high=0.0),
    ],
)
def test_radius_zero_is_the_baseline_except_for_the_bill(bowl, policy):
    plain = tune(bowl, ASHA(bowl.space, max_trials=9, max_units=9), seed=3, workers=2)
    nudged = tune(bowl, ASHA(bowl.space, max_trials=9, max_units=9), seed=3, workers=2, warm_start=policy)

    def scores(study):
        return {
            (report.job.trial, unit.unit): unit.validation
            for report in study.reports
            for unit in report.units
        }

    a, b = scores(plain), scores(nudged)
    assert [trial.config for trial in plain.history.trials] == [t.config for t in nudged.history.trials]
    # Equal bit for bit wherever both trained; the fee may shift which trials were promoted first.
    assert all(a[key] == b[key] for key in a.keys() & b.keys()) and len(a.keys() & b.keys()) >= 9


def test_it_is_applied_when_a_trial_starts_and_never_when_it_is_resumed(bowl):
    calls = []

    def policy(task, sampled, history, streams):
        calls.append(len(history.trials))
        return Nudge(sampled, "counting")

    study = tune(bowl, ASHA(bowl.space, max_trials=12, max_units=9), seed=0, workers=3, warm_start=policy)
    assert calls == list(range(12))
    assert any(report.job.since > 0 for report in study.reports)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("scheduler", [DyHPO, BOIL])
def test_what_a_schedulers_model_chose_is_left_alone_by_policies_that_choose_too(bowl, scheduler, name):
    policy = build("warm_start", POLICIES[name])
    options = {"fitting": {"epochs": 10}} if scheduler is DyHPO else {}
    rule = scheduler(bowl.space, initial=5, max_trials=12, max_units=4, **options)
    trials = tune(bowl, rule, seed=0, workers=2, budget=400.0, warm_start=policy).history.trials
    left = [trial.number for trial in trials if trial.nudge.kind == "model_based_pick"]
    if POLICIES[name]["name"] not in YIELDING:
        assert left == []
        return
    assert left and min(left) >= 5 and left == list(range(left[0], len(trials)))
    for trial in trials[left[0] :]:
        assert trial.config == trial.sampled and trial.nudge.flops == 0.0
        assert trial.nudge.policy == POLICIES[name]["name"]


def test_whether_a_nudge_changed_anything_is_seen_and_need_not_be_said(bowl):
    def policy(task, sampled, history, streams):
        if len(history.trials) % 2:
            return Nudge(sampled, "silent", changed=True, kind="guard")
        return Nudge(sampled.replace(momentum=0.5), "silent")

    study = tune(bowl, ASHA(bowl.space, max_trials=4, max_units=1), seed=0, warm_start=policy)
    nudges_made = [(trial.nudge.changed, trial.nudge.kind) for trial in study.history.trials]
    assert nudges_made == [(True, "moved"), (False, "guard")] * 2


def test_its_cost_goes_on_the_clock(bowl):
    def policy(task, sampled, history, streams):
        return Nudge(sampled, "expensive", flops=2e9)

    bowl.unit_flops = lambda hp: 1e9
    study = tune(bowl, ASHA(bowl.space, max_trials=1, max_units=1), seed=0, warm_start=policy)
    assert study.reports[0].units[0].time == pytest.approx(3.0)
    assert study.reports[0].flops == pytest.approx(3e9)


def test_what_a_warm_start_raises_is_recorded_and_the_study_goes_on(bowl):
    def policy(task, sampled, history, streams):
        raise RuntimeError("no gradient today")

    study = tune(bowl, ASHA(bowl.space, max_trials=3, max_units=1), seed=0, warm_start=policy)
    assert len(study.reports) == 3
    assert all("no gradient today" in trial.nudge.reason for trial in study.history.trials)
    assert all(trial.nudge.flagged for trial in study.history.trials)


def test_literal_moves_by_eta_times_the_gradient_in_warped_coordinates(bowl):
    trial = nudges(bowl, OHGW(eta_h=1e-3), n=1)[0]
    for p in bowl.space.continuous:
        moved = p.warp(trial.config[p.name]) - p.warp(trial.sampled[p.name])
        assert moved == pytest.approx(-1e-3 * trial.nudge.gradient[p.name], rel=1e-6, abs=1e-12)


def test_random_step_has_the_length_of_the_literal_step_in_another_direction(bowl):
    literal, control = (nudges(bowl, policy, n=1)[0] for policy in (OHGW(), RandomStep()))
    assert literal.sampled == control.sampled
    assert control.nudge.gradient_norm == literal.nudge.gradient_norm

    def step(trial):
        return [p.warp(trial.config[p.name]) - p.warp(trial.sampled[p.name]) for p in bowl.space.continuous]

    assert math.dist(step(literal), [0] * 5) == pytest.approx(math.dist(step(control), [0] * 5), rel=1e-6)
    cosine = sum(a * b for a, b in zip(step(literal), step(control), strict=True))
    assert abs(cosine) < 0.99 * math.dist(step(literal), [0] * 5) ** 2


def test_only_moves_what_it_names(bowl):
    trial = nudges(bowl, OHGW(eta_h=1.0, only=["weight_decay"]), n=1)[0]
    changed = [name for name in trial.sampled if trial.sampled[name] != trial.config[name]]
    assert changed == ["weight_decay"]
    with pytest.raises(InvalidArgumentError, match="only"):
        nudges(bowl, OHGW(only=["lrr"]), n=1)


def test_curvature_band_measures_thrice_raises_the_slow_and_leaves_the_rest(bowl):
    trials = nudges(bowl, CurvatureBand(), n=40)
    assert [trial.number for trial in trials if trial.nudge.flops > 0 or trial.nudge.measurements] == [
        0,
        1,
        2,
    ]
    measured = [trial.nudge.measurements["log10_lr_star"] for trial in trials[:3]]
    shared = sum(measured) / 3
    slow = [trial for trial in trials[3:] if trial.nudge.z < -1.25]
    assert slow and len(slow) < 37
    for trial in trials[3:]:
        assert dataclasses.asdict(trial.nudge)["changed"] == (trial in slow)
    for trial in slow:
        effective = math.log10(trial.config["lr"] / (1 - trial.config["momentum"])) - shared
        at_bound = trial.config["lr"] in (bowl.space["lr"].low, bowl.space["lr"].high)
        assert -1.25 <= effective <= 0.25 or at_bound
        assert {k: v for k, v in trial.config.items() if k != "lr"} == {
            k: v for k, v in trial.sampled.items() if k != "lr"
        }


def test_layers_without_second_derivatives_fall_back_to_finite_differences_and_are_flagged(bowl):
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    def loss_with(square):
        def loss(params, batch, hp):
            x = batch["x"] + hp["augmentation"] * batch["noise"]
            error = x @ params["w"] - batch["x"] @ bowl.truth
            return square(error).mean() ** 1.5 + hp["label_smoothing"] * error.mean().tanh()

        return loss

    results = {}
    for name, square in {"smooth": torch.square, "once": Once.apply}.items():
        bowl.loss = loss_with(square)
        results[name] = (nudges(bowl, OHGW(), n=1)[0].nudge, nudges(bowl, CurvatureBand(), n=1)[0].nudge)
    exact, fallen = results["smooth"][0], results["once"][0]
    assert fallen.flagged and "finite differences" in fallen.reason and not exact.flagged
    assert fallen.gradient == pytest.approx(exact.gradient, rel=1e-4, abs=1e-6)
    measured = [result[1].measurements["log10_lr_star"] for result in results.values()]
    assert measured[1] == pytest.approx(measured[0], rel=1e-4)


def test_a_black_box_task_is_refused_by_name():
    class BlackBox:
        space = None

    with pytest.raises(InvalidArgumentError, match="needs a GradientTask"):
        OHGW()(BlackBox(), None, History(), Streams(0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: OHGW(eta_h=0),
        lambda: OHGW(batch_size=0),
        lambda: OHGW(steps=0),
        lambda: OHGW(objective="sideways"),
        lambda: RandomStep(eta_h=-1),
        lambda: CurvatureBand(low=1, high=0),
        lambda: CurvatureBand(measure_trials=0),
        lambda: build("warm_start", {"name": "newton", "deviation": 0}),
        lambda: build("warm_start", {"name": "fixed_band", "low": 1, "high": 0}),
        lambda: build("warm_start", {"name": "probe_band", "skip": 8}),
        lambda: build("warm_start", {"name": "placebo", "batch_size": 0}),
        lambda: build("warm_start", {"name": "density", "gamma": 1.0}),
        lambda: build("warm_start", {"name": "informed", "prior": "no/such/file.json"}),
        lambda: build("warm_start", {"name": "informed", "prior": "none", "max_units": 0}),
    ],
)
def test_bad_arguments_are_refused(make):
    with pytest.raises(InvalidArgumentError):
        make()

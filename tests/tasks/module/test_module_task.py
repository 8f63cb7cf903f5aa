"""ModuleTask as a task: protocols, warm starts, engines, discrete values."""

import pytest
import torch

from hypernudge import (
    ASHA,
    SGD,
    Categorical,
    Config,
    Informed,
    Integer,
    ModuleLoss,
    ModuleTask,
    Real,
    SearchSpace,
    Task,
    tune,
)
from hypernudge.hypergradient import objectives
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.trial import History
from hypernudge.warmstart.measurement.measure import HyperGradientSpec, hyper_gradient, hyper_gradients
from tests.laws.test_warm_starts import POLICIES, nudges
from tests.tasks.module.small import (
    CONFIG,
    IMAGES,
    NETWORKS,
    SPACE,
    STEPS,
    Plain,
    classify,
    equal,
    plain_task,
    task_of,
    weights,
)


def test_it_is_a_task():
    task = plain_task(name="mine")
    assert isinstance(task, Task) and (task.name, task.metric, task.metric_range) == (
        "mine",
        "accuracy",
        (0, 1),
    )
    assert (task.batch_size, task.steps_per_unit) == (8, STEPS)


@pytest.mark.parametrize("name", POLICIES)
def test_every_warm_start_works_on_it(name):
    task = plain_task()
    first, again = (nudges(task, build("warm_start", POLICIES[name]), n=8) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        task.space.check(a.config)
        assert a.config == b.config and a.nudge == b.nudge
        assert not a.nudge.flagged and "raised" not in a.nudge.reason


@pytest.mark.parametrize("name", NETWORKS)
def test_no_warm_start_falls_back_on_a_real_network(name):
    task = task_of(name)
    for policy in ("literal", "curvature_band", "informed"):
        trial = nudges(task, build("warm_start", {"name": policy}), n=1)[0]
        assert not trial.nudge.flagged and trial.nudge.flops > 0, trial.nudge.reason


@pytest.mark.parametrize("name", NETWORKS)
def test_informed_never_asks_for_a_second_derivative(name, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a graph of the gradient")

    monkeypatch.setattr(objectives, "gradient", refuse)
    seen = []
    grad = torch.autograd.grad

    def noting(*arguments, **options):
        seen.append(options.get("create_graph", False))
        return grad(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", noting)
    nudge = Informed()(task_of(name), SPACE.decode([0.1, 0.5, 0.5, 0.5]), History(), Streams(0))
    assert not nudge.flagged and nudge.flops > 0 and seen and not any(seen)


@pytest.mark.parametrize("name", ["vit", "lm"])
def test_attention_is_plain_only_where_it_is_differentiated_twice(name, monkeypatch):
    fused = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def noting(*arguments, **options):
        fused.append(torch.backends.cuda.flash_sdp_enabled())
        return attention(*arguments, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noting)
    task = task_of(name)
    task.advance(task.start(0), CONFIG)
    Informed()(task, SPACE.decode([0.1, 0.5, 0.5, 0.5]), History(), Streams(0))
    assert fused and all(fused)
    for policy in ("literal", "curvature_band"):
        fused.clear()
        assert not nudges(task, build("warm_start", {"name": policy}), n=1)[0].nudge.flagged
        assert not all(fused)


def reports(task, **options):
    found = tune(task, ASHA(SPACE, max_units=9, eta=3, max_trials=6), seed=1, workers=2, **options)
    return [(r.job, r.units, r.outcome) for r in found.reports]


@pytest.mark.parametrize(
    "engine", ["population", {"name": "population", "threads": 2, "max_batched_flops": 0.0}]
)
def test_engines_agree_to_the_bit(engine):
    assert reports(plain_task(), engine=engine) == reports(plain_task())
    assert reports(plain_task(), engine=engine, warm_start="informed") == reports(
        plain_task(), warm_start="informed"
    )


def test_trials_measured_together_are_those_measured_alone():
    task = plain_task(model=lambda hp: Plain(dropout=0.0), optimizer=SGD(decay="matrices"))
    configs = [Config({**CONFIG, "lr": lr}) for lr in (0.01, 0.1)]
    spec = HyperGradientSpec("lookahead", 8)
    together = hyper_gradients(task, configs, [1, 2], spec)
    for config, seed, found in zip(configs, [1, 2], together, strict=True):
        alone = hyper_gradient(task, config, seed, spec)
        assert found.gradient == pytest.approx(alone.gradient, rel=1e-3, abs=1e-6)
        assert found.flops == alone.flops
    everything = hyper_gradient(plain_task(model=lambda hp: Plain(dropout=0.0)), configs[0], 1, spec)
    assert everything.gradient["weight_decay"] != together[0].gradient["weight_decay"]


def test_frozen_weights_that_differ_between_trials_are_measured_one_by_one():
    def half(hp):
        model = Plain(dropout=0.0)
        model.layers[1].requires_grad_(False)
        return model

    task = plain_task(model=half)
    configs = [Config(CONFIG)] * 2
    spec = HyperGradientSpec("lookahead", 8)
    together = hyper_gradients(task, configs, [1, 2], spec)
    assert [found.gradient for found in together] == [
        hyper_gradient(task, config, seed, spec).gradient
        for config, seed in zip(configs, [1, 2], strict=True)
    ]


DISCRETE = SearchSpace(
    [
        Real("lr", 1e-3, 0.1, log=True),
        Integer("width", 4, 16),
        Categorical("batch_size", (4, 8)),
        Real("dropout", 0.0, 0.5),
        Real("beta2", 0.9, 0.999),
        Real("grad_clip", 0.1, 10.0, log=True),
        Categorical("ema", (0.0, 0.9)),
    ]
)


def discrete_task(**options):
    return plain_task(
        model=lambda hp: Plain(hp["width"], hp["dropout"]),
        space=DISCRETE,
        optimizer="adamw",
        fixed={"label_smoothing": 0.0},
        batch_size=None,
        **options,
    )


def test_width_batch_size_dropout_betas_clipping_and_averaging_are_tuned():
    task = discrete_task()
    study = tune(
        task, ASHA(DISCRETE, max_units=3, eta=3, max_trials=9), seed=0, warm_start="literal", workers=2
    )
    assert all(report.outcome == "ok" for report in study.reports)
    assert not any(trial.nudge.flagged for trial in study.history.trials)
    small, large = ({"lr": 0.01, "width": 4, "batch_size": size, "dropout": 0.0} for size in (4, 8))
    assert task.unit_flops(small) == task.unit_flops(large)  # as many samples
    assert task.steps_of(small) == 2 * task.steps_of(large) == 6
    assert task.unit_flops({**small, "width": 8}) > 1.5 * task.unit_flops(small)


def test_flops_are_counted_once_for_each_architecture(monkeypatch):
    built = []
    task = discrete_task()
    model = task.recipe.model
    monkeypatch.setattr(task, "recipe", task.recipe)
    object.__setattr__(task.recipe, "model", lambda hp: built.append(hp["width"]) or model(hp))
    values = {"lr": 0.01, "width": 4, "batch_size": 4, "dropout": 0.0}
    first = task.unit_flops(values)
    count = len(built)
    assert [task.unit_flops({**values, "lr": lr}) for lr in (0.02, 0.03)] == [first] * 2
    assert len(built) == count
    task.unit_flops({**values, "width": 5})
    assert len(built) == count + 1


def test_precision_layout_and_the_compiler_are_options():
    task = task_of("resnet", precision="bf16", channels_last=True)
    state = task.start(3)
    assert task.advance(state, CONFIG)
    assert state.training.model.conv.weight.dtype == torch.float32
    assert state.training.model.blocks[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    plain = weights(task_of("resnet"), 1)
    changed = [value.detach() for value in state.training.params]
    assert not equal(plain, changed)
    for a, b in zip(plain, changed, strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.05)


def test_a_compiled_model_trains_and_its_state_is_the_models_own(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda model: lambda *a, **k: calls.append(1) or model(*a, **k))
    assert equal(weights(plain_task(compile=True)), weights(plain_task()))
    assert len(calls) == 2 * STEPS


def test_module_loss_measures_what_module_task_measures():
    space = SearchSpace(SPACE.parameters)
    loss = ModuleLoss(lambda hp: Plain(), IMAGES, classify, batch_size=8).task(space, CONFIG, {})
    task = ModuleTask(
        lambda hp: Plain(), (IMAGES, IMAGES), classify, "accuracy", space, batch_size=8, device="cpu"
    )
    spec = HyperGradientSpec("lookahead", 8)
    assert hyper_gradient(loss, Config(CONFIG), 4, spec) == hyper_gradient(task, Config(CONFIG), 4, spec)

"""ModuleTask as a task: protocols, warm starts, engines, data, discrete values, refusals."""

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset, WeightedRandomSampler

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
from hypernudge.errors import InvalidArgumentError
from hypernudge.hypergradient import objectives
from hypernudge.random import Streams
from hypernudge.registry import build
from hypernudge.tasks.module.scores import accuracy
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
    plain_task,
    task_of,
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


class Drawing(Dataset):
    """Draws its augmentation from every global generator."""

    def __len__(self):
        return len(IMAGES[0])

    def __getitem__(self, row):
        shift = random.random() + np.random.rand() + torch.rand(()).item()  # noqa: NPY002
        return IMAGES[0][row] + shift, IMAGES[1][row]


def weights(task, units=2):
    state = task.start(3)
    for _ in range(units):
        task.advance(state, CONFIG)
    return [value.detach().clone() for value in state.training.params]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def drawing(workers):
    loader = DataLoader(Drawing(), batch_size=8, shuffle=True, num_workers=workers)
    return plain_task(data=(loader, IMAGES), batch_size=None)


def test_augmentation_in_a_data_set_belongs_to_seed_and_step():
    random.seed(1)
    once = weights(drawing(0))
    random.seed(2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert equal(weights(drawing(0)), once)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_workers_of_a_loader_read_what_would_be_read_without():
    assert equal(weights(drawing(2)), weights(drawing(0)))


def test_forms_of_data_give_the_same_training():
    once = weights(plain_task())
    loader = DataLoader(TensorDataset(*IMAGES), batch_size=8, shuffle=True)
    rows = list(zip(*IMAGES, strict=True))
    for data in (TensorDataset(*IMAGES), loader, rows):
        assert equal(weights(plain_task(data=(data, IMAGES), batch_size=None if data is loader else 8)), once)

    in_turn = DataLoader(TensorDataset(*IMAGES), batch_size=8)
    read = plain_task(data=(in_turn, IMAGES), batch_size=None).at(CONFIG).batch(0, 4)
    assert torch.equal(read["0"], IMAGES[0][8:16])


def test_an_epoch_has_every_sample_once_and_its_last_batch_what_is_left():
    task = plain_task(batch_size=10).at(CONFIG)
    for epoch in range(2):
        batches = [task.batch(0, 3 * epoch + step) for step in range(3)]
        assert [len(batch["1"]) for batch in batches] == [10, 10, 4]
        seen = torch.cat([batch["0"].flatten(1)[:, 0] for batch in batches])
        assert torch.equal(seen.sort().values, IMAGES[0].flatten(1)[:, 0].sort().values)
    dropping = DataLoader(TensorDataset(*IMAGES), batch_size=10, shuffle=True, drop_last=True)
    assert plain_task(data=(dropping, IMAGES), batch_size=None).steps_per_unit == 2


def test_held_out_data_in_every_form_score_the_same():
    state = (task := plain_task()).start(0)
    task.advance(state, CONFIG)
    expected = task.evaluate(state, "validation")
    loader = DataLoader(TensorDataset(*IMAGES), batch_size=5)
    rows = list(zip(*IMAGES, strict=True))
    for held in (TensorDataset(*IMAGES), loader, rows, lambda: iter([IMAGES])):
        other = plain_task(data=(IMAGES, held))
        again = other.start(0)
        other.advance(again, CONFIG)
        assert other.evaluate(again, "validation") == pytest.approx(expected)
        assert np.isnan(other.evaluate(again, "test"))


def test_scores():
    space = SearchSpace([SPACE["lr"]])
    task = plain_task(score="loss", space=space, fixed={"label_smoothing": 0.1})
    assert (task.metric, task.metric_range) == ("negative loss", (float("-inf"), 0.0))
    state = task.start(0)
    task.advance(state, {"lr": 0.1})
    found = task.evaluate(state, "validation")
    state.training.model.eval()
    with torch.no_grad():
        assert found == pytest.approx(
            -classify(state.training.model, IMAGES, {"label_smoothing": 0.1}).item()
        )
    task = plain_task(score=lambda model, split: float(split.name == "test") + 2 * model.training)
    state = task.start(0)
    task.advance(state, CONFIG)
    assert [task.evaluate(state, split) for split in ("validation", "test")] == [0.0, 1.0]
    assert state.training.model.training
    assert np.isnan(plain_task(score_test=False).evaluate(state, "test"))


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


def test_bad_trainings_fail_their_trial_and_say_why():
    task = plain_task(loss=lambda model, batch, hp: model(batch[0]) * hp["label_smoothing"])
    with pytest.raises(InvalidArgumentError, match=r"^loss: must return a scalar tensor"):
        tune(task, ASHA(SPACE, max_units=3, max_trials=1), seed=0)
    task, state = plain_task(), plain_task().start(0)
    task.advance(state, CONFIG)
    with pytest.raises(InvalidArgumentError, match=r"^hp: must stay as the trial has begun"):
        task.advance(state, {**CONFIG, "lr": 0.5})
    with pytest.raises(InvalidArgumentError, match=r"^state: must have been trained"):
        task.evaluate(task.start(1), "validation")
    with pytest.raises(TypeError, match="cannot be copied"):
        copy.deepcopy(task)


def test_a_name_that_nothing_reads_is_refused_before_anything_is_trained():
    space = SearchSpace([*SPACE, Real("labl_smoothing", 0, 1)])
    with pytest.raises(InvalidArgumentError, match=r"^space.labl_smoothing: must be read by model, loss"):
        tune(plain_task(space=space), ASHA(space, max_units=3, max_trials=1), seed=0)
    with pytest.raises(InvalidArgumentError, match=r"^fixed.warm_up: must be read"):
        tune(plain_task(fixed={"warm_up": 0.1}), ASHA(SPACE, max_units=3, max_trials=1), seed=0)

    def spread(hp):
        return Plain(**{"dropout": 0.1, **{k: v for k, v in dict(**hp).items() if k == "width"}})

    space = SearchSpace([*SPACE, Real("anything", 0, 1)])
    tune(plain_task(space=space, model=spread), ASHA(space, max_units=1, max_trials=1), seed=0)


@pytest.mark.parametrize("shared", ["net", "head"])
def test_a_model_that_is_not_built_anew_is_refused_before_anything_is_trained(shared):
    net, head = Plain(), nn.Linear(10, 10)
    model = {"net": lambda hp: net, "head": lambda hp: nn.Sequential(Plain(), head)}[shared]
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(
        InvalidArgumentError, match=r"^model: must build a new module at every call.*deepcopy"
    ):
        tune(plain_task(model=model), ASHA(SPACE, max_units=1, max_trials=1), seed=0)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_model_may_copy_what_is_pretrained_and_share_what_is_frozen():
    net, frozen = Plain(), nn.Linear(10, 10).requires_grad_(False)
    task = plain_task(model=lambda hp: nn.Sequential(copy.deepcopy(net), frozen))
    study = tune(task, ASHA(SPACE, max_units=1, max_trials=2), seed=0)
    assert [trial.status for trial in study.trials] == ["paused", "paused"]


@pytest.mark.parametrize(
    ("outputs", "labels"), [((4, 3), (4, 1)), ((4, 1), (4,)), ((4,), (4,)), ((), ()), ((3, 3), (3, 3))]
)
def test_accuracy_compares_no_shapes_that_would_broadcast(outputs, labels):
    given = torch.zeros(outputs), torch.zeros(labels)
    with pytest.raises(InvalidArgumentError, match=r"^score: 'accuracy' needs outputs \(n, classes\)"):
        accuracy(nn.Identity(), [given])


def test_accuracy_of_labels_for_every_token():
    outputs = torch.eye(3).expand(4, 3, 3)
    assert accuracy(nn.Identity(), [(outputs, torch.arange(3).expand(4, 3))]) == 1.0
    padded = torch.tensor([[0, 1, -100], [0, 2, -100], [0, 1, 2], [-100, -100, -100]])
    assert accuracy(nn.Identity(), [(outputs, padded)]) == 6 / 7  # padding counts neither as hit nor as miss
    assert math.isnan(accuracy(nn.Identity(), [(outputs[:1], padded[-1:])]))


ARRAYS = tuple(part.numpy() for part in IMAGES)


def loader_of(sampler):
    return DataLoader(TensorDataset(*IMAGES), batch_size=8, sampler=sampler)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": nn.Linear(2, 2)}, r"^model: .*write lambda hp: Net\(\)"),
        ({"loss": nn.CrossEntropyLoss()}, "^loss: must be a function of"),
        ({"score": "f1"}, "^score: must be a function of"),
        ({"score": lambda model: 0.0}, "^score: must be a function of"),
        ({"data": IMAGES[0]}, "^data: must be \\(training, validation\\)"),
        ({"data": (IMAGES,)}, "^data: must be \\(training, validation\\)"),
        ({"data": (IMAGES, 3)}, r"^data.validation: must be a DataLoader"),
        ({"data": (ARRAYS, IMAGES)}, r"^data: .*but got 'tuple of ndarray, ndarray'; make tensors \(torch"),
        (
            {"data": (IMAGES, ARRAYS)},
            r"^data.validation: .*'tuple of ndarray, ndarray'; make tensors \(torch",
        ),
        ({"data": (IMAGES, IMAGES, TensorDataset(IMAGES[0][:0]))}, r"^data.test: must not be empty"),
        ({"data": (IMAGES, (IMAGES[0], IMAGES[1][:2]))}, r"^data.validation: tensors must have equal"),
        ({"data": (lambda seed, step: IMAGES, IMAGES)}, "^steps_per_unit: must be given"),
        (
            {"data": (loader_of(WeightedRandomSampler([1.0] * 24, 24)), IMAGES)},
            "^data: a loader to train on must go through its data set.*'WeightedRandomSampler'",
        ),
        (
            {"data": (loader_of(RandomSampler(IMAGES[0], replacement=True)), IMAGES)},
            "^data: a loader to train on must go",
        ),
        ({"space": SearchSpace([Real("momentum", 0, 0.9)])}, "^space: must hold 'lr'"),
        ({"space": SearchSpace([Real("lr", -1.0, 1.0)])}, r"^space.lr: must lie in \[0"),
        ({"space": SearchSpace([*SPACE, Real("ema", 0, 1)])}, r"^space.ema: must lie in \[0, 1\]"),
        ({"space": SearchSpace([*SPACE, Real("grad_clip", 0, 1)])}, r"^space.grad_clip: must lie"),
        ({"space": SearchSpace([*SPACE, Real("batch_size", 8, 16)])}, r"^space.batch_size: must be whole"),
        ({"space": SearchSpace([*SPACE, Categorical("batch_size", (8, 0))])}, r"^space.batch_size: .*\[0\]"),
        ({"fixed": {"lr": 0.1}}, "^fixed: must not name what is tuned"),
        ({"fixed": {"ema": "a lot"}}, r"^fixed.ema: must lie"),
        ({"optimizer": "adam"}, "^optimizer: "),
        ({"optimizer": SGD(decoupled=True)}, "^optimizer: must be SGD with coupled"),
        ({"schedule": "cosin"}, "^schedule: .*did you mean 'cosine'"),
        ({"schedule": {"name": "cosine", "warmup": 1.0}}, r"^schedule.warmup: must lie in \[0, 1\)"),
        (
            {"schedule": {"name": "step", "milestones": [0.5, 0.2]}},
            r"^schedule.milestones: must be ascending",
        ),
        ({"schedule": {"name": "warmup_stable_decay", "decay": 0}}, r"^schedule.decay: must lie in \(0, 1\]"),
        ({"schedule": 3}, "^schedule: "),
        ({"device": "gpu"}, "^device: must be one of"),
        ({"precision": "fp8"}, "^precision: must be one of"),
        ({"batch_size": 0}, "^batch_size: must be a whole number"),
        ({"units": 1.5}, "^units: must be a whole number"),
        ({"steps_per_unit": True}, "^steps_per_unit: must be a whole number"),
        ({"resident": 0}, "^resident: must be a whole number"),
        ({"compile": 1}, "^compile: must be true or false"),
        ({"keep_checkpoints": True}, "^checkpoint_dir: must be given"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        plain_task(**arguments)
    assert "\n" not in str(refused.value)


def test_a_device_that_is_not_there():
    if not torch.cuda.is_available():
        with pytest.raises(InvalidArgumentError, match=r"^device: must be there"):
            plain_task(device="cuda")
    assert plain_task(device="auto").device.type in ("cpu", "cuda", "mps")


def test_module_loss_measures_what_module_task_measures():
    space = SearchSpace(SPACE.parameters)
    loss = ModuleLoss(lambda hp: Plain(), IMAGES, classify, batch_size=8).task(space, CONFIG, {})
    task = ModuleTask(
        lambda hp: Plain(), (IMAGES, IMAGES), classify, "accuracy", space, batch_size=8, device="cpu"
    )
    spec = HyperGradientSpec("lookahead", 8)
    assert hyper_gradient(loss, Config(CONFIG), 4, spec) == hyper_gradient(task, Config(CONFIG), 4, spec)

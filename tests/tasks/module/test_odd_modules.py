"""Modules, batches and functions that are not as usual."""

import math
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.utils import checkpoint as recomputing
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

from hypernudge import ASHA, ModuleTask, Real, SearchSpace, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.hypergradient import lookahead, reverse
from tests.tasks.module.small import CONFIG, IMAGES, SPACE, Plain, classify, plain_task

Sample = namedtuple("Sample", "image label")


class MomentumEncoder(Plain):
    """A frozen teacher that the forward pass moves towards the student."""

    def __init__(self):
        super().__init__()
        self.teacher = Plain(dropout=0.0).requires_grad_(False)
        self.backbone = Plain(dropout=0.0).requires_grad_(False)

    def forward(self, x):
        if self.training:
            for mine, its in zip(self.layers.parameters(), self.teacher.layers.parameters(), strict=True):
                its.data.lerp_(mine.data, 0.3)
        return super().forward(x) + self.teacher.layers(x) + self.backbone.layers(x)


class Masked(Plain):
    """Has a mask of infinities."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

    def forward(self, x):
        return super().forward(x) * self.mask.softmax(0)[0]


class Checkpointed(Plain):
    """Computes its activations again in the backward pass."""

    def __init__(self, reentrant):
        super().__init__()
        self.first, self.reentrant = nn.Linear(192, 192), reentrant

    def forward(self, x):
        hidden = self.first(x.flatten(1))
        if self.reentrant is None:
            return self.layers(hidden)
        return checkpoint(self.layers, hidden, use_reentrant=self.reentrant)


class Complex(nn.Module):
    """Has complex parameters."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(0.05 * torch.randn(192, 10, dtype=torch.complex64))

    def forward(self, x):
        return (x.flatten(1).to(self.weight.dtype) @ self.weight).abs()


class Samples(Dataset):
    def __len__(self):
        return len(IMAGES[0])

    def __getitem__(self, row):
        return Sample(IMAGES[0][row], IMAGES[1][row])


def everything(training):
    return {**training.model.state_dict(), **{str(i): a for i, a in enumerate(training.average)}}


@pytest.mark.parametrize("durable", [True, False])
def test_a_frozen_teacher_that_the_model_moves_goes_on_where_it_was(durable, tmp_path):
    def task():
        folder = tmp_path if durable else None
        return plain_task(model=lambda hp: MomentumEncoder(), units=2, checkpoint_dir=folder)

    whole = plain_task(model=lambda hp: MomentumEncoder(), units=2)
    expected = whole.start(1)
    assert whole.advance(expected, CONFIG) and whole.advance(expected, CONFIG)

    first = task()
    state = first.start(1)
    first.advance(state, CONFIG)
    if durable:
        first = task()
        state = first.start(1)
        first.advance(state, CONFIG)
    else:
        first.advance(first.start(2), CONFIG)  # makes the other one wait
        assert state.training is None
    saved = first._trials.checkpoints.load(state.file)["state"]["model"]
    assert any(name.startswith("teacher.") for name in saved)
    assert not any(name.startswith("backbone.") for name in saved)  # as it was drawn
    first.advance(state, CONFIG)
    for name, value in whole._trials.present(expected).model.state_dict().items():
        assert torch.equal(value, first._trials.present(state).model.state_dict()[name]), name


def test_measuring_does_not_move_a_frozen_teacher():
    task = plain_task(model=lambda hp: MomentumEncoder()).at(CONFIG)
    params = {name: value + 0.1 for name, value in task.init(0).items()}
    losses = [task.loss(params, task.batch(0, step), CONFIG).item() for step in (0, 1, 0, 1)]
    assert losses[:2] == losses[2:]


@pytest.mark.parametrize("reentrant", [False, True])
def test_what_is_measured_does_not_depend_on_activation_checkpointing(reentrant):
    """The layers would be computed again with the parameters of the model, not those that are asked about."""

    def measured(reentrant):
        task = plain_task(model=lambda hp: Checkpointed(reentrant), precision="float64").at(CONFIG)
        params = task.trained(task.init(2))
        moved = {name: (value + 0.1).requires_grad_(True) for name, value in params.items()}
        grads = torch.autograd.grad(task.loss(moved, task.batch(2, 0), CONFIG), list(moved.values()))
        rule = lookahead(task, params, [task.batch(2, step) for step in range(2)])
        return [*grads, reverse(rule, CONFIG, SPACE.continuous, torch.float64)]

    *gradients, hyper_gradient = measured(reentrant)
    *expected, exact = measured(None)
    for found, value in zip(gradients, expected, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-12, atol=1e-12)
    assert hyper_gradient == pytest.approx(exact, rel=1e-9)


def test_checkpointing_is_as_it_was_after_a_measurement():
    before = dict(vars(recomputing))
    task = plain_task(model=lambda hp: Checkpointed(False)).at(CONFIG)
    params = {name: value.requires_grad_(True) for name, value in task.init(0).items()}
    task.loss(params, task.batch(0, 0), CONFIG).backward()
    assert vars(recomputing) == before


def test_unknown_checkpointing_is_refused_and_not_believed(monkeypatch):
    monkeypatch.delattr(recomputing, "_checkpoint_without_reentrant_generator")
    task = plain_task(model=lambda hp: Checkpointed(False)).at(CONFIG)
    params = {name: value.requires_grad_(True) for name, value in task.init(0).items()}
    with pytest.raises(RuntimeError, match="cannot be measured with activation checkpointing"):
        task.loss(params, task.batch(0, 0), CONFIG)


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_complex_parameters_are_trained(rule):
    task = plain_task(model=lambda hp: Complex(), optimizer=rule)
    state = task.start(3)
    assert task.advance(state, CONFIG)
    after = task.weights(state)["weight"]
    assert after.is_complex()
    assert not torch.equal(after, task.recipe.model(CONFIG).weight)
    assert math.isfinite(task.evaluate(state, "validation"))


def test_a_mask_of_infinities_is_not_averaged():
    task = plain_task(model=lambda hp: Masked(), fixed={"ema": 0.9})
    state = task.start(0)
    assert task.advance(state, CONFIG)
    assert math.isfinite(task.evaluate(state, "validation"))
    weights = task.weights(state)
    assert weights["mask"].tolist() == [0.0, -math.inf]
    assert all(bool(torch.isfinite(value).all()) for value in state.training.average)


@pytest.mark.parametrize("loader", [True, False])
def test_named_tuples_keep_their_names(loader):
    def loss(model, batch, hp):
        return classify(model, (batch.image, batch.label), hp)

    def score(model, split):
        return sum(float((model(b.image).argmax(1) == b.label).sum()) for b in split) / len(IMAGES[0])

    part = DataLoader(Samples(), 8) if loader else Samples()
    named = plain_task(data=(part, part), loss=loss, score=score)
    usual = plain_task(data=((*IMAGES,), IMAGES) if not loader else (DataLoader(Samples(), 8), IMAGES))
    studies = [
        tune(task, ASHA(SPACE, max_units=2, max_trials=2), seed=0, warm_start="literal")
        for task in (named, usual)
    ]
    one, other = ([(t.config, [u.validation for u in t.units]) for t in study.trials] for study in studies)
    assert one == other
    assert {trial.status for trial in studies[0].trials} == {"paused"}


def test_lazy_modules_are_refused_until_they_know_their_shapes():
    def lazy(hp):
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

    def known(hp):
        model = lazy(hp)
        model(IMAGES[0][:1])
        return model

    scheduler = ASHA(SPACE, max_units=1, max_trials=1)
    with pytest.raises(InvalidArgumentError, match=r"^model: must know its shapes.*pass inputs through it"):
        tune(plain_task(model=lazy), scheduler, seed=0)
    assert tune(plain_task(model=known), scheduler, seed=0).trials[0].status == "paused"


READINGS = {
    "copy": lambda hp: hp.copy()["label_smoothing"],
    "left of |": lambda hp: (hp | {"other": 1})["label_smoothing"],
    "right of |": lambda hp: ({"other": 1} | hp)["label_smoothing"],
    "pop": lambda hp: hp.pop("label_smoothing"),
    "setdefault": lambda hp: hp.setdefault("label_smoothing", 0.0),
    "**": lambda hp: dict(**hp)["label_smoothing"],
    "changed": lambda hp: (hp["label_smoothing"], hp.update(lr=math.nan))[0],
}


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS)
def test_values_are_read_in_every_way_that_a_mapping_has(read):
    def loss(model, batch, hp):
        return classify(model, batch, {"label_smoothing": read(hp)})

    def scores(loss):
        study = tune(plain_task(loss=loss), ASHA(SPACE, max_units=2, max_trials=2), seed=0)
        return [[unit.validation for unit in trial.units] for trial in study.trials]

    assert scores(loss) == scores(classify)


def test_a_model_may_take_its_values_away():
    def build(hp):
        return Plain(dropout=hp.pop("dropout"))

    space = SearchSpace([*SPACE, Real("dropout", 0.0, 0.5)])
    task = plain_task(model=build, space=space)
    study = tune(task, ASHA(space, max_units=2, max_trials=2), seed=0)
    assert {trial.status for trial in study.trials} == {"paused"}


@pytest.mark.parametrize("last", [True, False])
def test_a_held_out_loader_without_a_batch_is_refused(last):
    empty = DataLoader(Samples(), 100, drop_last=True) if last else DataLoader([], 4)
    with pytest.raises(InvalidArgumentError, match=r"^data\.validation: must hold a batch, but got 0; "):
        plain_task(data=(IMAGES, empty))


def test_a_model_without_matrix_products_says_its_cost():
    """Nothing is counted for products of embeddings; the task is then told, as the error says."""

    class Factors(nn.Module):
        def __init__(self):
            super().__init__()
            self.users, self.items = nn.Embedding(8, 4), nn.Embedding(8, 4)

        def forward(self, user, item):
            return (self.users(user) * self.items(item)).sum(1)

    class Declared(ModuleTask):
        step_flops = 512.0

    rows = torch.arange(8), torch.arange(8).flip(0), torch.ones(8)
    space = SearchSpace([Real("lr", 1e-3, 1e-1, log=True)])

    def study(kind):
        task = kind(
            lambda hp: Factors(),
            (rows, rows),
            lambda model, batch, hp: ((model(batch[0], batch[1]) - batch[2]) ** 2).mean(),
            "loss",
            space,
            batch_size=4,
            device="cpu",
        )
        return tune(task, ASHA(space, max_units=1, max_trials=2), seed=0, warm_start="fixed_band")

    with pytest.raises(InvalidArgumentError, match="define `step_flops` on the task"):
        study(ModuleTask)
    found = study(Declared)
    assert [trial.status for trial in found.trials] == ["paused", "paused"]
    assert [report.flops for report in found.reports] == [2 * 512.0] * 2

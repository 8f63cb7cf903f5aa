"""The probe's walk: its FLOPs without counting, its batches without augmentation, and its slow twin."""

import pytest
import torch
from torch import nn

from hypernudge import Categorical, Real, SearchSpace
from hypernudge.flops import count_flops
from hypernudge.hypergradient import gather_batch
from hypernudge.hypergradient.curvature import loss_difference
from hypernudge.optimizers import SGD, AdamW
from hypernudge.random import Streams
from hypernudge.tasks import builtin
from hypernudge.tasks.module.task import ModuleTask
from hypernudge.tasks.supervised import augment
from hypernudge.tasks.supervised.supervised import SupervisedTask
from hypernudge.warmstart.measurement.measure import curvature_rate
from hypernudge.warmstart.measurement.probe import Probe
from hypernudge.warmstart.measurement.walk import counted_walk, walk
from tests.conftest import Bowl

RATES = [Real("lr", 1e-3, 1.0, log=True), Real("momentum", 0.0, 0.9)]


class _Block(nn.Module):
    """A convolution with BatchNorm, attention over its pixels, a linear layer."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        tokens = self.norm(self.convolution(x)).flatten(2).mT
        return self.out(self.attention(tokens, tokens, tokens)[0].mean(1))


def module_task():
    x, y = torch.randn(24, 1, 5, 5, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 3
    return ModuleTask(
        lambda hp: _Block(),
        ((x, y), (x, y)),
        lambda model, batch, hp: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        "accuracy",
        SearchSpace(RATES),
        batch_size=8,
        optimizer="adamw",
        device="cpu",
    )


TASKS = {
    "perceptron": lambda: builtin.digits_mlp(batch_size=16),
    "convolutions": lambda: builtin.digits_cnn(batch_size=8),
    "table": lambda: builtin.breast_cancer_mlp(batch_size=16),
    "adamw": lambda: builtin.digits_mlp(batch_size=16, optimizer=AdamW()),
    "module": module_task,
}


def at_random(task, number=0):
    return task.space.sample(Streams(0)("config", number))


@pytest.mark.parametrize("samples", [1.0, 0.75])
@pytest.mark.parametrize("name", TASKS)
def test_it_costs_what_counting_says_and_finds_the_same(name, samples, monkeypatch):
    fast, slow = TASKS[name](), TASKS[name]()
    size = int(samples * fast.batch_size)
    expected = counted_walk(slow, at_random(slow), 5, 3, size)
    known = fast.at(at_random(fast)).step_parts(size)
    assert (known is None) == (name == "module" and samples < 1), "cost that may not grow with samples"
    if known is not None:
        monkeypatch.setattr("hypernudge.task.count_flops", None)  # nothing is counted from here on
    found = walk(fast, at_random(fast), 5, 3, size)
    assert found == expected and len(found[0]) == 3 and found[1] > 0


def test_a_walk_that_ends_early_costs_what_it_did():
    task = builtin.digits_mlp(batch_size=16)
    loss, backward = task.step_parts(16)
    whole = walk(task, at_random(task), 5, 4, 16)
    assert whole[1] == 8 * loss + 4 * backward
    plain, calls = task.loss, []

    def loss_of(params, batch, hp):
        calls.append(1)
        return plain(params, batch, hp) * (float("nan") if len(calls) == 5 else 1.0)

    task.loss = loss_of  # the third step's gradient is not finite: no loss after it
    found, flops = walk(task, at_random(task), 5, 4, 16)
    assert found == whole[0][:2] and flops == 5 * loss + 3 * backward


def test_larger_batches_and_declared_costs_have_theirs():
    task = builtin.digits_mlp(batch_size=32)
    assert walk(task, at_random(task), 5, 2, 50) == counted_walk(task, at_random(task), 5, 2, 50)

    class Declared(SupervisedTask):
        step_flops = 1e6

    declared = Declared(task.dataset, {"name": "mlp"}, task.space, batch_size=32)
    assert declared.step_parts(32) is None
    assert walk(declared, at_random(task), 5, 2, 32)[1] == walk(task, at_random(task), 5, 2, 32)[1] < 2e6


def test_what_a_batch_or_a_choice_may_cost_is_not_guessed():
    class Costly(Bowl):
        def batch(self, seed, step):
            torch.ones(3, 4) @ torch.ones(4, 5)
            return super().batch(seed, step)

    class Raising(Bowl):
        def loss(self, params, batch, hp):
            raise ValueError("no")

    assert Bowl().step_parts(8) is not None
    choosing = Bowl()
    choosing.space = SearchSpace([*RATES, Categorical("depth", [1, 3])])
    assert [task.step_parts(8) for task in (Costly(), choosing, Raising())] == [None] * 3
    task = Costly()
    config = at_random(task)
    once = Probe(steps=1, skip=0).walked(task, "probe", config, 0)[1]
    assert once == counted_walk(Costly(), config, 0, 1, Probe().samples(task))[1] >= 2 * 3 * 4 * 5


@pytest.mark.parametrize("name", ["perceptron", "convolutions", "table", "module"])
def test_a_plain_batch_has_the_loss_of_a_batch_without_augmentation(name):
    task = TASKS[name]()
    hp = {**at_random(task), "augmentation": 0.0}
    task = task.at(at_random(task))
    params = task.init(3)
    for step in (0, 1, task.steps_per_unit):
        plain, whole = task.plain_batch(7, step), task.batch(7, step)
        assert float(task.loss(params, plain, hp)) == float(task.loss(params, whole, hp))


def test_a_task_with_a_loss_or_batches_of_its_own_has_its_own_plain_batch():
    class Own(SupervisedTask):
        def loss(self, params, batch, hp):
            return super().loss(params, batch, hp) + 0.0 * batch["noise"].sum()

    known = builtin.digits_mlp(batch_size=8)
    task = Own(known.dataset, {"name": "mlp"}, known.space, batch_size=8)
    assert task.plain_batch(0, 0)["noise"].shape == (8, 2)


def test_no_augmentation_is_the_blend_of_zero_bit_for_bit():
    x = torch.randn(4, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    offset = torch.linspace(-1, 1, 8).reshape(4, 2)
    taps = augment.translation_taps(x, offset)
    zero = torch.tensor(0.0)  # a tensor has a derivative, and is blended
    assert torch.equal(augment.translate(taps, offset, 0.0), augment.translate(taps, offset, zero))
    assert torch.equal(augment.jitter(x, x, 0.0), augment.jitter(x, x, zero))


@pytest.mark.parametrize("rule", [SGD(), AdamW()])
def test_steps_are_those_of_the_plain_formula(rule):
    task = builtin.digits_mlp(batch_size=16, optimizer=rule)
    config = at_random(task)
    hp, params = {**config, "augmentation": 0.0}, dict(task.init(4))
    expected = []
    for step in range(3):
        batch = gather_batch(task, 4, step, 16)
        curvature, d = loss_difference(task, params, batch, hp)
        expected.append(torch.tensor(curvature.lr_star, dtype=torch.float64).log10().item())
        params = {name: w - 0.5 * curvature.lr_star * d[name] for name, w in params.items()}
    assert walk(task, config, 4, 3, 16)[0] == pytest.approx(expected, rel=1e-15)


def test_what_was_counted_serves_every_task_that_computes_the_same(monkeypatch):
    calls = []
    monkeypatch.setattr("hypernudge.tasks.supervised.supervised._COUNTED", {})
    monkeypatch.setattr("hypernudge.task.count_flops", lambda work: calls.append(1) or count_flops(work))
    first = builtin.digits_mlp(batch_size=16)
    config = at_random(first)
    flops = first.step_flops, curvature_rate(first, config, 0, 16)[1]
    known, again = len(calls), builtin.digits_mlp(batch_size=16)
    assert (again.step_flops, curvature_rate(again, config, 0, 16)[1]) == flops and len(calls) == known
    others = [builtin.digits_mlp(batch_size=8), builtin.digits_cnn(batch_size=16)]
    others += [builtin.digits_mlp(batch_size=16, optimizer=AdamW())]
    others += [builtin.supervised("digits", {"name": "mlp", "hidden": [8]}, batch_size=16)]
    for task in others:
        before = len(calls)
        assert task.step_flops > 0 and len(calls) > before

    class Own(SupervisedTask):
        def loss(self, params, batch, hp):
            return super().loss(params, batch, hp)

    mine = [Own(first.dataset, {"name": "mlp"}, first.space, batch_size=16) for _ in range(2)]
    assert mine[0]._flops is not mine[1]._flops

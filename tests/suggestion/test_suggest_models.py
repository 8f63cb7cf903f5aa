"""Models, losses and mini-batches of every form."""

import math
from collections import namedtuple
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hypernudge import suggest
from tests.suggestion.small import QUICK, data, loss, network

KINDS = set()  # not in a closure: what hangs on a loss is put back


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_autocast(precision):
    KINDS.clear()

    def watched(model, batch):
        output = model(batch[0])
        KINDS.add(output.dtype)
        return F.cross_entropy(output.float(), batch[1])

    found = suggest(network(), watched, data(), torch.optim.SGD, precision=precision, **QUICK)
    plain = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    assert {torch.bfloat16 if precision == "bf16" else torch.float16} == KINDS
    assert found.lr == pytest.approx(plain.lr, rel=0.8)


Pair = namedtuple("Pair", ["x", "y"])


class Output(dict):
    """As models of Hugging Face return."""

    def __init__(self, loss):
        super().__init__(loss=loss)
        self.loss = loss


class Labelled(nn.Module):
    def __init__(self, returns):
        super().__init__()
        self.inner, self.returns = network(), returns

    def forward(self, x=None, y=None):
        return self.returns(F.cross_entropy(self.inner(x), y))


@pytest.mark.parametrize(
    ("model", "criterion", "form"),
    [
        (network, nn.CrossEntropyLoss(), lambda x, y: [x, y]),
        (network, F.cross_entropy, lambda x, y: (x, y)),
        (network, partial(F.cross_entropy, label_smoothing=0.0), lambda x, y: (x, y)),
        (network, lambda model, batch: F.cross_entropy(model(batch.x), batch.y), Pair),
        (network, lambda model, batch: {"loss": F.cross_entropy(model(batch["x"]), batch["n"][0])},
         lambda x, y: {"x": x, "n": [y, "text"]}),
        (partial(Labelled, Output), None, lambda x, y: {"x": x, "y": y}),
        (partial(Labelled, lambda value: (value, 1)), None, lambda x, y: {"x": x, "y": y}),
        (partial(Labelled, lambda value: SimpleNamespace(loss=value)), None, lambda x, y: {"x": x, "y": y}),
    ],
)  # fmt: skip
def test_losses_and_mini_batches_of_every_form(model, criterion, form):
    torch.manual_seed(0)
    batches = [form(x, y) for x, y in data()]
    found = suggest(model(), criterion, batches, torch.optim.SGD, **QUICK)
    expected = suggest(network(), loss, list(data()), torch.optim.SGD, steps=found.steps, **QUICK)
    assert found.lr == expected.lr


def test_an_iterator_without_end():
    def endless():
        while True:
            yield from data()

    source = endless()
    found = suggest(network(), loss, source, torch.optim.SGD, **QUICK)
    assert found.steps == 1000 and found.lr > 0
    assert len(next(source)) == 2


def test_frozen_and_tied_weights():
    model = network()
    model[0].requires_grad_(False)

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(8, 8), nn.Linear(8, 8, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, batch):
            assert self.head.weight is self.embedding.weight
            return F.cross_entropy(self.head(self.embedding(batch)), batch.roll(1))

    assert suggest(model, loss, data(), torch.optim.AdamW, **QUICK).basis == "trials"
    assert suggest(Tied(), None, [torch.arange(8)], torch.optim.AdamW, **QUICK).basis == "trials"


def test_weights_that_are_computed_and_results_that_are_kept():
    torch.manual_seed(0)
    normed = nn.utils.spectral_norm(nn.Linear(4, 8))
    model = nn.Sequential(normed, nn.ReLU(), nn.Linear(8, 2))
    model.outputs = [model(torch.ones(2, 4))]  # whose history cannot be copied
    weight, u, kept = normed.weight, normed.weight_u.clone(), model.outputs[0]
    found = suggest(model, loss, data(), torch.optim.SGD, **QUICK)
    assert found.basis == "trials" and min(trial.loss for trial in found.trials) < 0.6
    assert normed.weight is weight and torch.equal(normed.weight_u, u) and model.outputs[0] is kept


def test_a_criterion_with_weights_of_its_own():
    torch.manual_seed(0)
    model, criterion = network(), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))

    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.temperature = nn.Parameter(torch.ones(()))

        def forward(self, output, target):
            return F.cross_entropy(output * self.temperature, target)

    criterion = Learned()
    optimizer = torch.optim.SGD([*model.parameters(), *criterion.parameters()], 0.1)
    found = suggest(model, criterion, data(), optimizer, **QUICK)
    assert found.lr > 0 and criterion.temperature.item() == 1.0 and criterion.temperature.grad is None


def test_a_model_that_refuses_what_is_too_large():
    def strict(model, batch):
        output = model(batch[0])
        if not output.detach().abs().max() < 50:
            raise ValueError("logits out of range")
        return F.cross_entropy(output, batch[1])

    found = suggest(network(), strict, data(), torch.optim.SGD, **QUICK)
    assert found.basis == "trials"
    assert any("raised an error and count as diverged" in note for note in found.notes)


def test_a_model_that_freezes_a_layer_as_it_goes():
    def freezing(model, batch):
        model[0].requires_grad_(False)
        return loss(model, batch)

    found = suggest(network(), freezing, data(), torch.optim.AdamW, **QUICK)
    assert found.basis == "trials" and math.isfinite(found.curvature)


def test_complex_weights():
    """The loss is `(r - 1)^2 + (i - 2)^2`: the best rate is one over its bend; both parts count."""
    model = nn.Linear(1, 1, bias=False, dtype=torch.complex64)
    given = [torch.ones(1, 1, dtype=torch.complex64)]
    found = suggest(
        model, lambda m, b: (m(b) - (1 + 2j)).abs().square().sum(), given, torch.optim.SGD, **QUICK
    )
    assert found.curvature == pytest.approx(0.5, rel=0.05)


def test_wrappers_are_looked_through():
    class Compiled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self._orig_mod = inner

        def forward(self, *given):
            raise AssertionError

    plain = suggest(network(), loss, data(), torch.optim.SGD, **QUICK)
    assert suggest(nn.DataParallel(network()), loss, data(), torch.optim.SGD, **QUICK).lr == plain.lr
    assert suggest(Compiled(network()), loss, data(), torch.optim.SGD, **QUICK).lr == plain.lr


def test_where_nothing_is_to_be_learned_the_network_is_left_alive():
    """Labels are drawn: any loss is as good as another, and a dead ReLU network has a good one."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2048, 4, generator=generator), torch.randint(2, (2048,), generator=generator)
    torch.manual_seed(0)
    layers = [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(8, 2))
    loader = DataLoader(TensorDataset(*rows), batch_size=32)
    found = suggest(model, loss, loader, torch.optim.SGD, trial_steps=120, seconds=None)
    dead = {trial.rate for trial in found.trials if trial.dead}
    assert dead and max(found.lr, found.high) < min(dead)
    assert "the highest harmless rate" in " ".join(found.notes)


class Tasks(nn.Module):
    """Two networks, each trained by every second mini-batch."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleList([network(), network()])

    def forward(self, x, task):
        return self.parts[task](x)


def test_tasks_in_turn_are_not_taken_for_a_dead_network():
    """Labels are drawn, so nothing is learned; the last mini-batch of a trial reaches half of it, or less."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 32, 4, generator=generator)
    y = torch.randint(2, (64, 32), generator=generator)
    batches = [(rows, labels, number % 2) for number, (rows, labels) in enumerate(zip(x, y, strict=True))]

    def of_task(model, batch):
        return F.cross_entropy(model(batch[0], batch[2]), batch[1])

    found = suggest(Tasks(), of_task, batches, torch.optim.SGD, trial_steps=200, seconds=None)
    assert "the highest harmless rate" in " ".join(found.notes)
    assert not any(trial.dead for trial in found.trials) and found.lr > 1e-3

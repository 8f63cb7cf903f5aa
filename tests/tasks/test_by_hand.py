"""The loss of a plain chain and its gradient without a graph: those of autograd, to the bit."""

import pytest
import torch
from torch import nn

from hypernudge.hypergradient.curvature import loss_and_gradient
from hypernudge.random import Streams
from hypernudge.tasks import builtin
from hypernudge.tasks.supervised.by_hand import linear_chain
from hypernudge.tasks.supervised.supervised import SupervisedTask
from hypernudge.warmstart.measurement.walk import walk

CHAINS = {
    "images": lambda: builtin.digits_mlp(batch_size=128),
    "table": lambda: builtin.breast_cancer_mlp(batch_size=16),
    "deep": lambda: builtin.supervised("digits", {"name": "mlp", "hidden": [8, 16, 3]}, batch_size=33),
    "one sample": lambda: builtin.supervised("digits", {"name": "mlp", "hidden": [5]}, batch_size=1),
    "double": lambda: builtin.digits_mlp(batch_size=32, dtype="float64"),
}


def at_random(task, number=0):
    return {**task.space.sample(Streams(0)("config", number)), "augmentation": 0.0}


def bits(value):
    return value.contiguous().view(torch.int64 if value.dtype == torch.float64 else torch.int32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.17717699455816893, None])
@pytest.mark.parametrize("name", CHAINS)
def test_it_is_what_autograd_finds(name, smoothing):
    task = CHAINS[name]()
    for seed in range(6):
        params = {key: value.detach() * 10.0**seed for key, value in task.init(seed).items()}
        batch = task.plain_batch(seed, 0)
        hp = {"lr": 0.1, "augmentation": 0.0, "label_smoothing": smoothing}
        loss, grads = task.by_hand(params, batch, hp)
        expected, of_graph = loss_and_gradient(task, params, batch, hp)
        assert torch.isfinite(loss) and torch.equal(bits(loss), bits(expected))
        assert list(grads) == list(of_graph) == list(params)
        assert all(torch.equal(bits(grads[key]), bits(of_graph[key])) for key in params)
        assert not any(value.requires_grad for value in (loss, *grads.values()))


def test_what_is_not_finite_is_not_finite_here_too():
    task = CHAINS["images"]()
    params = {name: value.detach() * 1e30 for name, value in task.init(0).items()}
    args = params, task.plain_batch(0, 0), at_random(task)
    loss, grads = task.by_hand(*args)
    expected, of_graph = loss_and_gradient(task, *args)
    assert not torch.isfinite(loss) and not torch.isfinite(expected)
    for name, value in grads.items():
        assert torch.equal(torch.isfinite(value), torch.isfinite(of_graph[name]))


@pytest.mark.parametrize("name", CHAINS)
def test_a_walk_by_hand_is_one_by_autograd(name, monkeypatch):
    task, slow = CHAINS[name](), CHAINS[name]()
    found = walk(task, at_random(task), 3, 5, task.batch_size)
    monkeypatch.setattr(SupervisedTask, "by_hand", lambda *given: None)
    assert walk(slow, at_random(slow), 3, 5, slow.batch_size) == found and found[0]


def test_a_network_without_biases_and_what_is_no_chain():
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 3))
    params = {name: value.detach() for name, value in network.named_parameters()}
    x, y = torch.randn(7, 2, 3, generator=torch.Generator().manual_seed(0)), torch.arange(7) % 3
    loss, grads = linear_chain(network).loss_and_gradient(params, x, y, 0.0)
    expected = nn.functional.cross_entropy(network(x), y)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    for value, known in zip(
        grads.values(), torch.autograd.grad(expected, list(network.parameters())), strict=True
    ):
        torch.testing.assert_close(value, known)
    assert linear_chain(nn.Sequential(nn.Linear(2, 2), nn.Tanh())) is None
    assert linear_chain(nn.Sequential(nn.ReLU(), nn.Flatten())) is None


def test_another_loss_or_another_network_is_left_to_autograd():
    class Own(SupervisedTask):
        def loss(self, params, batch, hp):
            return 2.0 * super().loss(params, batch, hp)

    class Scaled(SupervisedTask):
        def logits(self, params, x):
            return 2.0 * super().logits(params, x)

    known = builtin.digits_mlp(batch_size=8)
    for kind in (Own, Scaled):
        task = kind(known.dataset, {"name": "mlp"}, known.space, batch_size=8)
        assert task.by_hand(task.init(0), task.plain_batch(0, 0), at_random(task)) is None
    tasks = builtin.digits_cnn(batch_size=8), builtin.digits_mlp(batch_size=8)
    plain = tasks[1].loss
    tasks[1].loss = lambda params, batch, hp: plain(params, batch, hp)
    for task in tasks:
        assert task.by_hand(task.init(0), task.plain_batch(0, 0), at_random(task)) is None

"""Nothing that is handed to `suggest` is changed, to the bit."""

import copy
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from hypernudge import suggest

CALLS = []  # not in a closure: what hangs on a loss is put back


class Noisy(Dataset):
    """Draws from generators of its own, counts what was read, and opens something at its first use."""

    def __init__(self):
        self.numpy, self.torch = np.random.default_rng(3), torch.Generator().manual_seed(4)
        self.python, self.old = random.Random(5), np.random.RandomState(6)
        self.reads, self.opened, self.history = 0, None, []

    def __len__(self):
        return 24

    def __getitem__(self, index):
        self.reads += 1
        self.opened = self.opened or object()
        self.history.append(index)
        drawn = self.numpy.random() + self.python.random() + self.old.rand() + np.random.rand()  # noqa: NPY002
        x = torch.randn(3, generator=self.torch) + drawn + torch.rand(1) + random.random()
        return x, x.sum()


def seen(dataset):
    kept = dataset.numpy.bit_generator.state, dataset.torch.get_state().tolist(), dataset.python.getstate()
    return *kept, dataset.old.get_state()[1].tolist(), dataset.reads, dataset.opened, list(dataset.history)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5))
        self.head, self.calls, self.outputs = nn.Linear(4, 1), 0, []
        self.head.requires_grad_(False)

    def forward(self, x):
        self.calls += 1
        return self.head(self.inner(x))[:, 0]


def training():
    torch.manual_seed(0)
    model = Network()
    model.inner[1].eval()
    activations = []
    model.inner.register_forward_hook(lambda module, given, output: activations.append(output))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01, momentum=0.9)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    sampler = torch.utils.data.RandomSampler(range(24), generator=torch.Generator().manual_seed(7))
    loader = DataLoader(Noisy(), batch_size=4, sampler=sampler, generator=torch.Generator().manual_seed(8))
    return model, optimizer, loader, activations


def bits(model, optimizer, loader, activations):
    tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters())]
    tensors += [state["momentum_buffer"] for state in optimizer.state.values()]
    return {
        "tensors": [None if t is None else t.clone() for t in tensors],
        "objects": [
            id(t) for t in (*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters()))
        ],
        "modes": [module.training for module in model.modules()],
        "plain": (model.calls, list(activations), [dict(g, params=0) for g in optimizer.param_groups]),
        "hooks": [list(module._forward_hooks) for module in model.modules()],
        "data": seen(loader.dataset),
        "loader": (loader.sampler.generator.get_state().tolist(), loader.generator.get_state().tolist()),
        "global": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),  # noqa: NPY002
        "attributes": {name: id(value) for name, value in vars(loader).items()},
    }


def same(before, after):
    tensors = zip(before.pop("tensors"), after.pop("tensors"), strict=True)
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in tensors)
    assert before == after


def squares(model, batch):
    return (model(batch[0]) - batch[1]).square().mean()


@pytest.mark.parametrize("fails_at", [None, 1, 2, 9, 60])
def test_model_optimizer_data_and_generators(fails_at):
    parts = training()
    before = bits(*parts)
    CALLS.clear()

    def loss(model, batch):
        CALLS.append(1)
        if len(CALLS) == fails_at:
            raise KeyboardInterrupt
        return squares(model, batch)

    ask = lambda: suggest(parts[0], loss, parts[2], parts[1], trial_steps=40)  # noqa: E731
    if fails_at is None:
        ask()
        assert len(CALLS) > 30
    else:
        with pytest.raises(KeyboardInterrupt):
            ask()
    same(before, bits(*parts))


@pytest.mark.parametrize("fails_at", [0, 3])
def test_data_that_raise(fails_at):
    model, optimizer, loader, activations = training()
    inner = loader.dataset.__class__.__getitem__

    class Broken(Noisy):
        def __getitem__(self, index):
            if self.reads == fails_at:
                raise OSError("no such file")
            return inner(self, index)

    loader.dataset.__class__ = Broken
    before = bits(model, optimizer, loader, activations)
    with pytest.raises(OSError, match="no such file"):
        suggest(model, squares, loader, optimizer, trial_steps=40)
    same(before, bits(model, optimizer, loader, activations))


def test_a_loss_that_does_not_use_the_model_it_is_given():
    parts = training()
    before = bits(*parts)
    with pytest.raises(ValueError, match="computed with the model that it is given"):
        suggest(parts[0], lambda model, batch: squares(parts[0], batch), parts[2], parts[1])
    same(before, bits(*parts))


def test_a_scheduler_and_hooks_of_the_optimizer_notice_nothing():
    model, optimizer, loader, _ = training()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    steps = []
    optimizer.register_step_post_hook(lambda *given: steps.append(given))
    before = copy.deepcopy(scheduler.state_dict())
    suggest(model, squares, loader, optimizer, trial_steps=40, schedule=scheduler)
    assert not steps and scheduler.state_dict() == before
    assert not getattr(optimizer, "_opt_called", False)


def test_the_next_epoch_is_the_one_that_would_have_been():
    with_it, without = training(), training()
    suggest(with_it[0], squares, with_it[2], with_it[1], trial_steps=40)
    torch.manual_seed(1)
    first = [batch[0] for batch in with_it[2]]
    torch.manual_seed(1)
    second = [batch[0] for batch in without[2]]
    # NumPy's and Python's global generators went on between the two.
    assert [batch.shape for batch in first] == [batch.shape for batch in second]
    assert with_it[2].dataset.history == without[2].dataset.history


def test_what_has_a_lock_of_its_own_is_left_alone_and_looked_through():
    class Prefetched(Noisy):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    model, optimizer, _, _ = training()
    dataset = Prefetched()
    before = seen(dataset)
    suggest(model, squares, DataLoader(dataset, 4), optimizer, trial_steps=20)
    after = seen(dataset)
    assert after[:4] == before[:4] and dataset.reads > 0  # generators are put back, the count is not


def test_workers_that_persist_are_not_started():
    model, optimizer, _, _ = training()
    x = torch.randn(16, 3)
    loader = DataLoader(list(zip(x, x.sum(1), strict=True)), 4, num_workers=2, persistent_workers=True)
    suggest(model, squares, loader, optimizer, trial_steps=20)
    assert loader._iterator is None and loader.num_workers == 2

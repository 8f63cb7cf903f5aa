"""What an ordinary training must say about itself for its warm start, in all the forms it may come in."""
# ruff: noqa: NPY002 -- what draws from the global generator is what is tested

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler, TensorDataset

from hypernudge import ModuleLoss, Real, SearchSpace
from hypernudge.errors import InvalidArgumentError
from hypernudge.hypergradient.curvature import gradient_difference, hessian_vector
from hypernudge.random import Streams
from hypernudge.tasks.module.seeded import reseed, seeded
from hypernudge.trial import History
from hypernudge.warmstart.measurement.features import USUAL_STEPS, steps_of
from hypernudge.warmstart.policies.curvature_band import CurvatureBand
from hypernudge.warmstart.policies.informed import Informed
from hypernudge.warmstart.policies.ohgw import OHGW
from tests.integrations.helpers import X, Y, loss, model

SPACE = SearchSpace([Real("lr", 1e-4, 1.0, log=True), Real("weight_decay", 1e-6, 1e-1, log=True)])
CONFIG = {"lr": 1e-3, "weight_decay": 1e-4}


def batch_of(seed, step):
    rows = torch.randint(64, (16,), generator=torch.Generator().manual_seed(seed + step))
    return {"x": X[rows], "y": Y[rows]}


class Rows:
    """A data set as Hugging Face has them: indexed, with a length, and no `Dataset`."""

    def __len__(self):
        return 64

    def __getitem__(self, row):
        return {"x": X[row], "y": Y[row]}


def mapped(model, batch, hp):
    return nn.functional.cross_entropy(model(batch["x"]), batch["y"])


FORMS = {
    "samples": (list(zip(X, Y, strict=True)), loss),
    "loader of rows": (DataLoader(Rows(), batch_size=16), mapped),
    "rows": (Rows(), mapped),
    "tensors": ((X, Y), loss),
    "data set": (TensorDataset(X, Y), loss),
    "loader": (DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True), loss),
    "function": (batch_of, mapped),
}


def lr_star(source, seed=0):
    task = source.task(SPACE, CONFIG, {})
    params = task.init(seed)
    return hessian_vector(task, params, task.batch(seed, 0), CONFIG).lr_star


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_data(form):
    data, loss = FORMS[form]
    source = ModuleLoss(model, data, loss, batch_size=None if form.startswith("loader") else 16)
    assert source.batch_size == 16
    task = source.task(SPACE, CONFIG, {})
    assert {len(part) for part in task.batch(3, 0).values()} == {16}
    assert not torch.equal(next(iter(task.batch(3, 0).values())), next(iter(task.batch(3, 1).values())))
    assert 0 < lr_star(source) == lr_star(source)


def test_a_unit_is_an_epoch_unless_it_is_said_otherwise_or_unknown():
    def steps(data, **options):
        return steps_of(ModuleLoss(model, data, loss, **options).task(SPACE, CONFIG, {}), 3)

    few = DataLoader(TensorDataset(X, Y), batch_size=12, drop_last=True)
    assert steps(few) == steps(few, batch_size=8) == 3 * 5  # what is measured does not change the training
    assert steps((X, Y), batch_size=12) == steps(TensorDataset(X, Y), batch_size=12) == 3 * 6
    assert steps(batch_of, steps_per_unit=7) == steps(few, steps_per_unit=7) == 3 * 7
    assert steps(batch_of) == 3 * USUAL_STEPS


def test_it_measures_what_plain_autograd_measures():
    source = ModuleLoss(model, (X, Y), loss, batch_size=64)
    task = source.task(SPACE, CONFIG, {})
    params = task.init(5)
    torch.manual_seed(5)
    plain = model(CONFIG)
    weights = list(plain.parameters())
    value = nn.functional.cross_entropy(plain(X), Y)
    g = torch.autograd.grad(value, weights, create_graph=True)
    gg = sum((part**2).sum() for part in g)
    h = torch.autograd.grad(0.5 * gg, weights)
    expected = (gg / sum((a * b).sum() for a, b in zip(g, h, strict=True))).item()
    assert hessian_vector(task, params, task.batch(5, 0), CONFIG).lr_star == pytest.approx(expected, rel=1e-4)


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    lr_star(ModuleLoss(lambda hp: nn.Sequential(nn.Linear(5, 2), nn.Dropout(0.5)), (X, Y), loss))
    assert torch.equal(torch.get_rng_state(), before)


class Odd(nn.Module):
    """Dropout, batch normalisation, a frozen and an unused parameter, tied weights: what networks have."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight
        self.norm, self.drop, self.head = nn.BatchNorm1d(5), nn.Dropout(0.3), nn.Linear(5, 2)
        self.unused = nn.Parameter(torch.ones(3))
        self.head.bias.requires_grad_(False)

    def forward(self, x):
        return self.head(self.drop(self.norm(self.second(self.first(x).tanh()))))


def test_odd_networks():
    source = ModuleLoss(lambda hp: Odd(), (X, Y), loss, batch_size=32)
    task = source.task(SPACE, CONFIG, {})
    params = task.init(0)
    assert set(params) == {f"model.{name}" for name, p in Odd().named_parameters() if name != "head.bias"}
    batch = task.batch(0, 0)
    exact, twin = (
        hessian_vector(task, params, batch, CONFIG),
        gradient_difference(task, params, batch, CONFIG),
    )
    assert exact.lr_star == pytest.approx(twin.lr_star, rel=0.05)


def test_hyper_parameters_reach_model_and_loss_under_the_users_names():
    seen = []

    def wide(hp):
        seen.append(dict(hp))
        return nn.Linear(5, hp["classes"])

    def smooth(model, batch, hp):
        seen.append(set(hp))
        return nn.functional.cross_entropy(model(batch[0]), batch[1]) + 0.0 * hp["learning_rate"]

    task = ModuleLoss(wide, (X, Y), smooth).task(
        SPACE, {"classes": 2, "learning_rate": 1e-3}, {"lr": "learning_rate"}
    )
    task.loss(task.init(0), task.batch(0, 0), {"lr": 1e-2})
    assert seen == [{"classes": 2, "learning_rate": 1e-3}, {"classes", "learning_rate"}]


@pytest.mark.parametrize("policy", [CurvatureBand(), Informed(), OHGW(), OHGW(objective="direct")])
def test_policies_run_on_it(policy):
    task = ModuleLoss(model, (X, Y), loss).task(SPACE, CONFIG, {})
    nudge = policy(task, SPACE.decode([0.1, 0.5]), History(), Streams(0))
    assert not nudge.flagged and nudge.changed and nudge.flops > 0


class Augmented:
    """A data set that draws its augmentation from every global generator there is."""

    def __len__(self):
        return 64

    def __getitem__(self, row):
        shift = random.random() + np.random.rand() + torch.rand(()).item()
        return X[row] + shift, Y[row]


def global_state():
    return random.getstate()[1], np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize(
    "data",
    [
        Augmented(),
        DataLoader(Augmented(), batch_size=16),
        lambda seed, step: (X + random.random() + np.random.rand() + torch.rand(()), Y),
    ],
)
def test_a_measurement_neither_depends_on_nor_moves_the_users_generators(data):
    def noisy(hp):
        return nn.Sequential(nn.Linear(5, 2), nn.Dropout(random.random() * np.random.rand()))

    found = set()
    for start in (1, 2):
        random.seed(start)
        np.random.seed(start)
        torch.manual_seed(start)
        before = global_state()
        found.add(lr_star(ModuleLoss(noisy, data, loss)))
        assert global_state() == before
    assert len(found) == 1
    assert found != {lr_star(ModuleLoss(noisy, data, loss), seed=1)}


def test_generators_are_put_back_after_an_error():
    before = global_state()
    with pytest.raises(ZeroDivisionError), seeded(2**63 + 5):
        random.random(), np.random.rand(), torch.rand(1), 1 / 0
    assert global_state() == before


def test_seeding_is_that_of_pytorch_and_asks_for_no_device_that_is_not_there(monkeypatch):
    for seed in (0, 7, 2**63 + 5):
        torch.manual_seed(seed)
        expected = torch.rand(3)
        with monkeypatch.context() as patched:
            if not torch.accelerator.is_available():
                patched.setattr(torch.cuda, "manual_seed_all", None)  # takes 100 us where there is none
            reseed(seed)
        assert torch.equal(torch.rand(3), expected) and torch.initial_seed() == seed


def test_seeds_that_wait_for_cuda_are_the_users(monkeypatch):
    waiting = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", waiting.append)
    torch.manual_seed(11)
    torch.rand(3)
    with seeded(5):
        torch.rand(3)
    assert waiting == [11, 5, 11]


class Buckets(BatchSampler):
    """Batches of other lengths, as those that group sentences make them."""

    def __init__(self):
        pass

    def __iter__(self):
        return iter([list(range(5)), list(range(5, 64))])

    def __len__(self):
        return 2


def batched(**options):
    return DataLoader(TensorDataset(X, Y), **options)


def prepared(**options):
    accelerate = pytest.importorskip("accelerate")
    config = accelerate.utils.DataLoaderConfiguration(**options)
    return accelerate.Accelerator(cpu=True, dataloader_config=config).prepare(batched(batch_size=8))


@pytest.mark.parametrize(
    ("make", "size", "steps"),
    [
        (lambda: prepared(), 8, 8),
        (lambda: prepared(dispatch_batches=True), 8, 8),
        (lambda: batched(batch_sampler=BatchSampler(SequentialSampler(X), 8, drop_last=True)), 8, 8),
        (lambda: DataLoader([(X[:8], Y[:8]), (X[8:16], Y[8:16])], batch_size=None), 8, 2),
        (lambda: batched(), 1, 64),
    ],
)
def test_a_batch_has_as_many_samples_as_in_training(make, size, steps):
    source = ModuleLoss(model, make(), loss)
    assert (source.batch_size, source.steps_per_unit) == (size, steps)
    x, y = source.read(0, 0)
    assert len(x) == len(y) == size
    assert 0 < lr_star(source) == lr_star(source)


def test_a_batch_size_that_the_loader_does_not_say_is_asked_for():
    with pytest.raises(InvalidArgumentError, match=r"^batch_size: must be given where .*'Buckets'"):
        ModuleLoss(model, batched(batch_sampler=Buckets()), loss)
    source = ModuleLoss(model, batched(batch_sampler=Buckets()), loss, batch_size=8)
    assert (len(source.read(0, 0)[0]), source.steps_per_unit) == (8, 2)


class Fetching(Rows):
    """A data set that hands out several rows at once, as `DataLoader` prefers it."""

    def __getitems__(self, rows):
        return [{"x": X[row], "y": Y[row]} for row in rows]

    def __getitem__(self, row):
        raise AssertionError("one by one is slow")


def test_rows_are_fetched_as_a_loader_fetches_them():
    plain, fetching = (
        ModuleLoss(model, kind(), mapped, batch_size=16).read(3, 1) for kind in (Rows, Fetching)
    )
    assert torch.equal(plain["x"], fetching["x"])


class Endless(IterableDataset):
    def __iter__(self):
        return iter([])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": Endless()}, "data: must be a DataLoader over a map-style data set"),
        ({"data": 3}, "data: must be a DataLoader"),
        ({"data": TensorDataset(X[:0])}, "data: must not be empty"),
        ({"data": [X, Y]}, "data: must be a DataLoader"),
        ({"data": (X.numpy(), Y.numpy())}, "data: must be a DataLoader"),
        ({"data": {"x": X, "y": Y}}, "data: must be a DataLoader"),
        ({"data": []}, "data: must not be empty"),
        ({"data": (X, Y[:3])}, "equal first dimension"),
        ({"data": (X, Y), "batch_size": 0}, "batch_size: must be at least 1"),
        ({"data": (X, Y), "batch_size": True}, "batch_size: must be a whole number"),
        ({"data": (X, Y), "batch_size": 1.5}, "batch_size: must be a whole number"),
        ({"data": (X, Y), "steps_per_unit": "3"}, "steps_per_unit: must be a whole number"),
        ({"data": (X, Y), "model": nn.Linear(5, 2)}, r"^model: .*write lambda hp: Net\(\)"),
        ({"data": (X, Y), "model": Odd}, "^model: must be a function"),
        ({"data": (X, Y), "model": "mlp"}, "^model: must be a function"),
        ({"data": (X, Y), "loss": nn.CrossEntropyLoss()}, "^loss: must be a function of"),
        ({"data": (X, Y), "loss": nn.CrossEntropyLoss}, "^loss: must be a function of"),
        ({"data": (X, Y), "loss": nn.functional.cross_entropy}, "^loss: must be a function of"),
        ({"data": (X, Y), "loss": lambda model, batch: 0.0}, "^loss: must be a function of"),
        ({"data": (X, Y), "steps_per_unit": 0}, "steps_per_unit: must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    arguments = {"model": model, "loss": loss, **arguments}
    with pytest.raises(InvalidArgumentError, match=message) as refused:
        ModuleLoss(**arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ModuleLoss(model, lambda seed, step: (X, "text"), loss), "part '1' is str"),
        (ModuleLoss(model, (X, Y), lambda model, batch, hp: model(batch[0])), "loss: must return a scalar"),
        (ModuleLoss(lambda hp: nn.Tanh(), (X, Y), loss), "model: must have trainable parameters"),
    ],
)
def test_bad_trainings(source, message):
    with pytest.raises(InvalidArgumentError, match=message):
        lr_star(source)


def test_sizes_of_numpy_are_sizes():
    made = ModuleLoss(model, (X, Y), loss, batch_size=np.int64(8), steps_per_unit=np.int32(3))
    assert (made.batch_size, made.steps_per_unit) == (8, 3)

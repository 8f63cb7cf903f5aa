"""What an ordinary training must say about itself for its warm start, in all the forms it may come in."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from hypernudge import ModuleLoss, Real, SearchSpace
from hypernudge.errors import InvalidArgumentError
from hypernudge.hypergradient.curvature import gradient_difference, hessian_vector
from hypernudge.random import Streams
from hypernudge.trial import History
from hypernudge.warmstart.curvature_band import CurvatureBand
from hypernudge.warmstart.features import USUAL_STEPS, steps_of
from hypernudge.warmstart.informed import Informed
from hypernudge.warmstart.literal import Literal
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


@pytest.mark.parametrize("policy", [CurvatureBand(), Informed(), Literal(), Literal(form="direct")])
def test_policies_run_on_it(policy):
    task = ModuleLoss(model, (X, Y), loss).task(SPACE, CONFIG, {})
    nudge = policy(task, SPACE.decode([0.1, 0.5]), History(), Streams(0))
    assert not nudge.flagged and nudge.changed and nudge.flops > 0


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
        ({"data": (X, Y), "steps_per_unit": 0}, "steps_per_unit: must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        ModuleLoss(model, arguments.pop("data"), loss, **arguments)


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

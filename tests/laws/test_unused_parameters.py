"""A model may hold trainable layers that its loss never uses, such as BERT's pooler."""

import pytest
import torch
from torch import nn

from hypernudge import ModuleLoss, tune
from hypernudge.batching import VmapTask
from hypernudge.engine.cohort import member_of, shape_of, state_of, train_unit
from hypernudge.engine.population import PopulationEngine
from hypernudge.engine.trainer import Population
from hypernudge.hypergradient.curvature import gradient_difference, hessian_vector, loss_difference
from hypernudge.hypergradient.differentiate import finite_differences, forward, reverse
from hypernudge.hypergradient.objectives import direct, lookahead
from hypernudge.optimizers import SGD, AdamW
from hypernudge.random import Streams
from hypernudge.registry import REGISTRY, build
from hypernudge.schedulers.random import RandomSearch
from hypernudge.space import Real, SearchSpace
from hypernudge.task import GradientTask
from hypernudge.trial import History
from hypernudge.workspace import Workspace
from tests.unroll import unroll

SPACE = SearchSpace(
    [
        Real("lr", 1e-3, 0.1, log=True),
        Real("momentum", 0.0, 0.9),
        Real("weight_decay", 1e-3, 0.1, log=True),
    ]
)
X = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
RULES = {"sgd": SGD(), "decoupled": SGD(decoupled=True), "adamw": AdamW()}


class Pooled(nn.Module):
    """A network with a layer that its forward pass leaves out."""

    def __init__(self):
        super().__init__()
        self.first, self.pooler, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.first(x).tanh())


class Mine(GradientTask):
    """What a user writes; `pooler=False` is the same network without the layer."""

    name, space, batch_size, steps_per_unit = "mine", SPACE, 16, 3

    def __init__(self, optimizer=None, pooler=True):
        self.optimizer, self.pooler = optimizer or SGD(), pooler

    def init(self, seed):
        torch.manual_seed(seed)
        params = {name: p.detach().clone() for name, p in Pooled().named_parameters()}
        return {name: p for name, p in params.items() if self.pooler or "pooler" not in name}

    def batch(self, seed, step):
        rows = torch.randint(64, (16,), generator=torch.Generator().manual_seed(seed % 1000 + step))
        return {"x": X[rows], "y": Y[rows]}

    def loss(self, params, batch, hp):
        hidden = torch.tanh(batch["x"] @ params["first.weight"].T + params["first.bias"])
        logits = hidden @ params["head.weight"].T + params["head.bias"]
        return nn.functional.cross_entropy(logits, batch["y"])

    def score(self, params, split):
        return -float(self.loss(params, {"x": X, "y": Y}, {}))


def scores(study):
    return [[unit.validation for unit in report.units] for report in study.reports]


@pytest.mark.parametrize("rule", RULES)
def test_engines_train_as_if_it_were_not_there(rule):
    task, without = Mine(RULES[rule]), Mine(RULES[rule], pooler=False)
    search = RandomSearch(SPACE, max_units=2, max_trials=6)
    found = scores(tune(task, search, seed=0, workers=3, test="every"))
    assert found == scores(tune(without, search, seed=0, workers=3, test="every")) and all(map(len, found))
    engine = PopulationEngine(task, Streams(0).trial_seed, 3)
    together = scores(tune(task, search, seed=0, engine=engine, test="every"))
    assert len(together) == 6
    for fast, slow in zip(together, found, strict=True):
        assert fast == pytest.approx(slow, rel=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_what_the_loss_does_not_use_stays_as_it_is_under_every_engine(rule):
    task, hp = Mine(RULES[rule]), SPACE.decode([0.9, 0.9, 0.9])
    initial, state = task.init(3), task.start(3)
    task.advance(state, hp)
    fresh = [task.start(3), task.start(4)]
    shape = shape_of(task, fresh[0])
    members = [member_of(one, shape, torch.device("cpu")) for one in fresh]
    batched = VmapTask(task, torch.device("cpu"), {})
    assert train_unit(task, batched, shape, members, [hp, hp], Workspace()) == [True, True]
    for after in (state, state_of(members[0], shape)):
        for name in initial:
            assert torch.equal(after.params[name], initial[name]) == ("pooler" in name)
        moments = {name: value for name, value in after.optimizer_state.items() if "pooler" in name}
        assert moments and not any(value.any() for value in moments.values())


def test_as_torch_leaves_it():
    task, hp = Mine(SGD()), {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1}
    state = task.start(1)
    task.advance(state, hp)
    torch.manual_seed(1)
    model = Pooled()
    rule = torch.optim.SGD(model.parameters(), **hp)
    for step in range(task.steps_per_unit):
        batch = task.batch(1, step)
        rule.zero_grad()
        nn.functional.cross_entropy(model(batch["x"]), batch["y"]).backward()
        rule.step()
    for name, value in model.named_parameters():
        assert torch.allclose(value, state.params[name], atol=1e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")  # forward mode uses it
def test_every_derivative_takes_it_for_zero():
    task, without, hp = Mine(), Mine(pooler=False), SPACE.decode([0.5, 0.5, 0.5])
    for measured in (hessian_vector, gradient_difference, lambda *args: loss_difference(*args)[0]):
        values = [measured(t, t.init(0), t.batch(0, 0), hp).lr_star for t in (task, without)]
        assert values[0] == pytest.approx(values[1], rel=1e-2)
    for make in (
        lambda t, p: lookahead(t, p, [t.batch(0, 0), t.batch(0, 1)]),
        lambda t, p: unroll(t, p, [t.batch(0, step) for step in range(3)]),
        lambda t, p: direct(t, p, t.batch(0, 0)),
    ):
        for differentiate in (reverse, forward, finite_differences):
            gradient = differentiate(make(task, task.init(0)), hp, SPACE.continuous)
            assert set(gradient) == set(SPACE.names)
            assert all(value == value for value in gradient.values())


@pytest.mark.parametrize("name", sorted(set(REGISTRY["warm_start"]) - {"none"}))
def test_every_policy_measures_both_kinds_of_task(name):
    policy = build("warm_start", {"name": name})
    closed = ModuleLoss(lambda hp: Pooled(), (X, Y), lambda model, batch, hp: loss_of(model, batch))
    config = SPACE.decode([0.1, 0.5, 0.5])
    for task in (Mine(), closed.task(SPACE, config, {})):
        nudge = policy(task, config, History(), Streams(0))
        assert not nudge.flagged, nudge.reason


def loss_of(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def test_many_are_measured_at_once():
    task = Mine()
    for warm_start in ("literal", "curvature_band"):
        engine = PopulationEngine(task, Streams(0).trial_seed, 3, population=Population(task))
        study = tune(
            task,
            RandomSearch(SPACE, max_units=1, max_trials=5),
            seed=0,
            engine=engine,
            warm_start=build("warm_start", {"name": warm_start}),
        )
        assert not any(trial.nudge.flagged for trial in study.history.trials)

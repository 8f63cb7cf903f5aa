"""A choice may be any value: it is kept as it is, by every part."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from hypernudge import ASHA, Categorical, Config, Informed, ModuleLoss, Real, SearchSpace, tune
from hypernudge.engine.population import PopulationEngine
from hypernudge.optimizers import SGD, AdamW
from hypernudge.parameters import hashable, same
from hypernudge.random import Streams
from hypernudge.registry import REGISTRY, build
from hypernudge.task import GradientTask
from hypernudge.trial import History
from hypernudge.warmstart.measurement import rates
from hypernudge.warmstart.measurement.features import features, scored


@dataclass
class Arch:
    """Equal where its fields are, and without a hash, as dataclasses are."""

    width: int


NAN = float("nan")
CHOICES = {
    "lists": ([64, 64], [128]),
    "tuples": ((64, 64), (128,)),
    "mappings": ({"depth": 1, "at": [1, 2]}, {"depth": 2}),
    "none": (None, "cosine"),
    "numbers and none": (None, 1e-4, 0.1),
    "arrays": (np.arange(3), np.zeros((2, 2))),
    "numpy": tuple(np.array([1, 2, 3])),
    "classes": (nn.ReLU, nn.Tanh),
    "objects": (Arch(1), Arch(2)),
    "alike": (1, True, 1.0),
    "nan": (NAN, 1.0),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_encode_then_decode_is_identity(kind):
    parameter = Categorical("x", CHOICES[kind])
    for index, choice in enumerate(parameter.choices):
        assert parameter.index(choice) == index and parameter.contains(choice)
        assert parameter.decode(parameter.encode(choice)) is choice
    twin = Categorical("x", tuple(CHOICES[kind]))
    assert parameter == twin and hash(parameter) == hash(twin)
    assert parameter != Categorical("y", CHOICES[kind])
    assert not parameter.contains(object())
    with pytest.raises(ValueError, match="none of the choices"):
        parameter.encode("something else")


def test_what_is_the_same():
    assert same([1, [2]], [1, [2]]) and same(NAN, float("nan")) and same(np.ones(2), np.ones(2))
    assert not same(np.ones(2), np.zeros(2)) and not same(np.ones(2), np.ones(3)) and not same([1], None)
    assert not same(np.ones(2), [1.0, 1.0]) and not same(torch.ones(2), torch.zeros(2))
    assert hashable([1, {"a": [2]}]) == hashable([1, {"a": [2]}]) != hashable((1, {"a": [2]}))
    assert Config({"x": [1]}) == Config({"x": [1]}) and hash(Config({"x": [1]})) == hash(Config({"x": [1]}))


def space_of(kind):
    return SearchSpace(
        [
            Real("lr", 1e-3, 0.3, log=True),
            Categorical("weight_decay", (None, 1e-4)),
            Categorical("momentum", (0.9, None)),
            Categorical("x", CHOICES[kind]),
        ]
    )


class Chosen(GradientTask):
    """What a user writes; every loss checks that the choice is one of those declared."""

    name, batch_size, steps_per_unit = "chosen", 16, 2

    def __init__(self, kind, optimizer=None):
        self.space, self.optimizer, self.choices = space_of(kind), optimizer or SGD(), CHOICES[kind]

    def init(self, seed):
        return {"w": torch.randn(4, generator=torch.Generator().manual_seed(seed % 2**32))}

    def batch(self, seed, step):
        return {"x": torch.randn(16, 4, generator=torch.Generator().manual_seed((seed + step) % 2**32))}

    def loss(self, params, batch, hp):
        stacked = isinstance(hp["x"], torch.Tensor)  # several trials' numbers at once
        assert stacked or any(hp["x"] is choice for choice in self.choices)
        return ((batch["x"] @ params["w"] - 1.0) ** 2).mean()

    def score(self, params, split):
        return -float((params["w"] ** 2).sum())


@pytest.mark.parametrize("engine", ["serial", "population"])
@pytest.mark.parametrize("kind", CHOICES)
def test_a_study_trains_what_was_chosen(kind, engine):
    task = Chosen(kind, AdamW() if kind == "lists" else None)
    study = tune(
        task,
        ASHA(task.space, max_units=2, max_trials=8),
        seed=0,
        engine=engine,
        warm_start=Informed(),
    )
    assert study.warnings == () and {report.outcome for report in study.reports} == {"ok"}
    for trial in study.history.trials:
        assert not trial.nudge.flagged, trial.nudge.reason
        assert trial.config["x"] is trial.sampled["x"]  # a prior knows nothing of it


@pytest.mark.parametrize(
    ("kind", "name"),
    [*(("lists", name) for name in REGISTRY["warm_start"]), *((kind, "informed") for kind in CHOICES)],
)
def test_every_policy_measures_beside_it(kind, name):
    task, streams = Chosen(kind), Streams(1)
    policy = build("warm_start", {"name": name})
    closed = ModuleLoss(
        lambda hp: nn.Linear(4, 1, bias=hp["x"] is not None),
        (torch.randn(32, 4),),
        lambda model, batch, hp: (
            model(batch[0]).square().mean() + 0.0 * task.loss(task.init(0), task.batch(0, 0), hp)
        ),
    )
    for number in range(2):
        sampled = task.space.sample(streams("config", number))
        for measured in (task, closed.task(task.space, sampled, {})):
            nudge = policy(measured, sampled, History(), streams)
            assert not nudge.flagged, nudge.reason
            task.space.check(nudge.config)


def test_trials_are_measured_together_only_with_the_same_choice():
    task, streams = Chosen("lists"), Streams(0)
    task.loss = lambda params, batch, hp: len(hp["x"]) * (params["w"] ** 2).sum() / len(batch["x"])
    policy = build("warm_start", {"name": "curvature_band", "measure_trials": 6})
    configs = [task.space.sample(streams("config", number)) for number in range(6)]
    together = policy.measure(task, configs, list(range(6)), streams)
    expected = [np.log10(128 / (2 * len(config["x"]))) for config in configs]
    assert [value for value, _ in together] == pytest.approx(expected) and len(set(expected)) == 2


def test_engines_keep_cohorts_of_one_choice_apart():
    task = Chosen("lists")
    search = build("scheduler", {"name": "random", "max_units": 1, "max_trials": 12}, space=task.space)
    fast = tune(task, search, seed=2, engine=PopulationEngine(task, Streams(2).trial_seed, 6), test="every")
    slow = tune(task, search, seed=2, workers=6, test="every")
    assert [r.score for r in fast.reports] == pytest.approx([r.score for r in slow.reports], rel=1e-5)


def test_none_is_the_default_of_a_number():
    for rule in (SGD(), SGD(decoupled=True), AdamW()):
        params, grads = {"w": torch.ones(3)}, {"w": torch.full((3,), 0.5)}
        results = []
        for hp in ({"lr": 0.1}, {"lr": 0.1, "momentum": None, "weight_decay": None}):
            after, _ = rule.update(params, grads, rule.init(params), hp)
            moved = {"w": torch.ones(3)}
            rule.update_(moved, grads, rule.init(moved), hp)
            assert torch.allclose(after["w"], moved["w"])
            results.append((after["w"].tolist(), rule.effective_rate(hp)))
        assert results[0] == results[1]
    task = Chosen("none")
    configs = [Config({"lr": 0.1, "momentum": 0.9, "weight_decay": d}) for d in (None, 0.0)]
    phi = features(task, configs, 0.0, 10.0)
    assert np.array_equal(phi[0], phi[1])


def test_of_a_choice_among_names_a_prior_knows_nothing():
    named = SearchSpace(
        [
            Real("lr", 1e-3, 1.0, log=True),
            Categorical("augmentation", ("none", "strong")),
            Categorical("momentum", ("low", "high")),
        ]
    )
    assert scored(named) == ["lr"] and scored(space_of("lists")) == ["lr", "weight_decay", "momentum"]
    task = Chosen("none")
    task.space = named
    assert np.isfinite(rates.log_rates(task)).all()
    seen = []
    task.loss = lambda params, batch, hp: (
        seen.append(hp["augmentation"]) or (params["w"] ** 2).sum() / len(batch["x"])
    )
    streams = Streams(0)
    sampled = named.sample(streams("config", 0))
    nudge = Informed()(task, sampled, History(), streams)
    assert not nudge.flagged and {nudge.config[n] for n in ("augmentation", "momentum")} == {
        sampled[n] for n in ("augmentation", "momentum")
    }
    assert set(seen) == {sampled["augmentation"]}


def test_histories_of_such_studies_are_plain_data():
    task = Chosen("mappings")
    study = tune(task, ASHA(task.space, max_units=1, max_trials=3), seed=0)
    assert json.loads(json.dumps(study.history.as_table()))[0]["sampled"]["x"] in list(CHOICES["mappings"])

"""What ModuleTask refuses, and when a training fails."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler

from hypernudge import (
    ASHA,
    SGD,
    Categorical,
    Real,
    SearchSpace,
    tune,
)
from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks.module.scores import accuracy
from tests.tasks.module.small import (
    CONFIG,
    IMAGES,
    SPACE,
    Plain,
    plain_task,
)


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

"""What a task may be told beside its data and network: wrong labels, more hyper-parameters, episodes."""

import numpy as np
import pytest
import torch

from hypernudge.engine.population import PopulationEngine
from hypernudge.engine.serial import SerialEngine
from hypernudge.errors import InvalidArgumentError
from hypernudge.hypergradient import direct, finite_differences, gather_batch, reverse
from hypernudge.space import Config
from hypernudge.tasks import builtin
from hypernudge.tasks.data.datasets import load_dataset
from hypernudge.tasks.data.label_noise import with_label_noise
from hypernudge.tasks.spaces import SPACES, build_space
from hypernudge.tasks.supervised.augment import translate
from hypernudge.tasks.supervised.regularised import PENALTIES, RegularisedTask
from hypernudge.trial import Job


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_label_noise_hits_the_share_it_says_and_only_the_training_part(kind):
    clean = load_dataset("digits")
    noisy = with_label_noise(clean, 0.3, kind)
    wrong = noisy.y["train"] != clean.y["train"]
    assert wrong.sum() == round(0.3 * len(wrong))
    for part in ("validation", "test"):
        np.testing.assert_array_equal(noisy.y[part], clean.y[part])
    assert set(noisy.y["train"]) <= set(range(10))
    step = (noisy.y["train"] - clean.y["train"])[wrong] % 10
    assert set(step) == ({1} if kind == "asymmetric" else set(range(1, 10)))
    np.testing.assert_array_equal(with_label_noise(clean, 0.3, kind).y["train"], noisy.y["train"])
    more = with_label_noise(clean, 0.5, kind).y["train"]
    np.testing.assert_array_equal(more[wrong], noisy.y["train"][wrong])
    assert (with_label_noise(clean, 0.3, kind, seed=1).y["train"] != noisy.y["train"]).any()
    np.testing.assert_array_equal(with_label_noise(clean, 0.0, kind).y["train"], clean.y["train"])


def make(space, **options):
    return builtin.digits_mlp(
        model={"name": "mlp", "hidden": [8]},
        space=space,
        batch_size=64,
        steps_per_unit=6,
        dtype="float64",
        **options,
    )


def test_without_its_names_the_regularised_task_is_the_plain_one():
    plain = make("mid")
    same = RegularisedTask(
        plain.dataset, {"name": "mlp", "hidden": [8]}, plain.space, batch_size=64, dtype=torch.float64
    )
    hp = dict(plain.space.decode([0.4] * 5))
    params, batch = plain.init(3), plain.batch(3, 0)
    assert type(plain) is not RegularisedTask
    assert float(same.loss(params, batch, hp)) == pytest.approx(
        float(plain.loss(params, batch, hp)), abs=1e-14
    )


@pytest.mark.parametrize("name", PENALTIES)
def test_every_penalty_acts_and_has_the_derivative_that_differences_give(name):
    task = make("ten")
    config = task.space.decode([0.5] * 10)
    params, batch = task.init(0), gather_batch(task, 0, 0, 64)
    parameter = task.space[name]
    exact = reverse(direct(task, params, batch), config, [parameter], torch.float64)
    slow = finite_differences(direct(task, params, batch), config, [parameter], torch.float64)
    assert exact[name] != 0
    assert exact[name] == pytest.approx(slow[name], rel=1e-4)
    without = {key: value for key, value in config.items() if key != name}
    off = {**config, name: 0.0}
    assert float(task.loss(params, batch, without)) == pytest.approx(float(task.loss(params, batch, off)))


def test_objectives_by_hand():
    task = make("mixed")
    params, batch, y = task.init(0), task.batch(0, 0), task.batch(0, 0)["y"]
    p = torch.softmax(task.logits(params, translate(batch["x"], batch["noise"], 0.0)), -1)
    own = p[torch.arange(64), y]
    expected = {
        "brier": ((p - torch.eye(10, dtype=p.dtype)[y]) ** 2).sum(-1).mean(),
        "cross_entropy": -((1 - own) ** 2 * own.log()).mean(),
    }
    for objective, value in expected.items():
        hp = {"lr": 0.1, "objective": objective, "focal_gamma": 2}
        assert float(task.loss(params, batch, hp)) == pytest.approx(float(value), rel=1e-12)
    with pytest.raises(InvalidArgumentError, match=r"space.objective: choices must be among"):
        task.loss(params, batch, {"lr": 0.1, "objective": "hinge"})


def test_spaces_have_the_dimensions_they_are_named_for():
    assert [len(SPACES[name]) for name in ("three", "mid", "ten", "mixed")] == [3, 5, 10, 7]
    assert len(SPACES["mixed"].continuous) == 5
    assert build_space("three").names == SPACES["mid"].names[:3]


def config_of(space, position=0.5):
    return space.decode([position] * len(space))


def test_a_neutral_controller_trains_as_no_controller_does():
    """With the multiplier 1 alone, episodic training is plain training up to rounding."""
    plain, episodic = make("mid"), make("mid", episodes={"lr_candidates": [1.0]})
    config = config_of(plain.space)
    left, right = plain.start(7), episodic.start(7)
    for _ in range(3):
        assert plain.advance(left, config) and episodic.advance(right, config)
    for name, value in left.params.items():
        torch.testing.assert_close(value, right.params[name], rtol=1e-9, atol=1e-11)


def test_episodes_change_the_rate_and_are_the_same_every_time():
    options = {"lr_candidates": [0.25, 4.0], "noise_candidates": [0.0, 0.1], "episode_length": 2}
    task = make("mid", episodes=options)
    config = config_of(task.space)
    states = [task.start(7), task.start(7), make("mid").start(7)]
    for state in states[:2]:
        task.advance(state, config)
    make("mid").advance(states[2], config)
    first, second, plain = (torch.cat([v.flatten() for v in s.params.values()]) for s in states)
    assert torch.equal(first, second)
    assert not torch.allclose(first, plain)
    controller = states[0].controller
    assert len(controller.records) >= 2
    rate = states[0].torch_optimizer.param_groups[0]["lr"]
    assert rate == pytest.approx(config["lr"]) or rate / config["lr"] in (0.25, 4.0)


def test_the_population_engine_trains_episodic_trials_as_the_serial_one_does():
    task = make("mid", episodes={"lr_candidates": [0.5, 2.0], "episode_length": 2})
    scores = []
    for engine in (SerialEngine, PopulationEngine):
        runner = engine(task, lambda trial: trial + 11, workers=2)
        for trial in range(2):
            runner.submit(Job(trial, Config(config_of(task.space, 0.4 + 0.1 * trial)), 0, 2))
        reports = sorted((runner.next() for _ in range(2)), key=lambda report: report.job.trial)
        scores.append([[unit.validation for unit in report.units] for report in reports])
    assert scores[0] == scores[1]
    assert all(len(units) == 2 for units in scores[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"label_noise": 1.0}, r"label_noise: must lie in \[0, 1\)"),
        ({"label_noise": 0.1, "label_noise_kind": "pairs"}, "label_noise_kind: must be one of"),
        ({"episodes": {"lr_candidates": [0.0]}}, "episodes: "),
        ({"episodes": {"episode_length": 0}}, "episodes: episode_length"),
        ({"episodes": {"arms": [1]}}, "episodes: keys must be among"),
        ({"episodes": {}, "optimizer": {"name": "sgd", "decoupled": True}}, "episodes: need the optimizer"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        make("mid", **options)

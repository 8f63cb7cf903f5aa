import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from hypernudge.errors import InvalidArgumentError
from hypernudge.tasks import builtin
from hypernudge.tasks.data.datasets import load_dataset, split_indices
from hypernudge.tasks.networks import build_network
from hypernudge.tasks.networks.functional import as_function
from hypernudge.tasks.spaces import SPACES
from hypernudge.tasks.supervised.augment import jitter, translate, translation_taps

NAMES = ["digits_mlp", "digits_cnn", "breast_cancer_mlp"]


@pytest.mark.parametrize(("name", "n", "shape"), [("digits", 1797, (1, 8, 8)), ("breast_cancer", 569, (30,))])
def test_data_are_whole_and_equal_to_scikit_learns(name, n, shape):
    from sklearn import datasets

    theirs = getattr(datasets, f"load_{name}")()
    ours = load_dataset(name, inputs="raw")
    assert ours.shape == shape
    order = np.concatenate(list(split_indices(n, 0).values()))
    assert sorted(order) == list(range(n))
    x = np.concatenate([ours.x[part] for part in ("train", "validation", "test")]).reshape(n, -1)
    y = np.concatenate([ours.y[part] for part in ("train", "validation", "test")])
    np.testing.assert_array_equal(x, theirs.data[order])
    np.testing.assert_array_equal(y, theirs.target[order])


def test_tables_are_standardised_on_the_training_part_only():
    data = load_dataset("breast_cancer")
    np.testing.assert_allclose(data.x["train"].mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(data.x["train"].std(0), 1, atol=1e-9)
    assert abs(data.x["test"].mean()) > 1e-6


def test_unknown_data_set_names_the_nearest():
    with pytest.raises(InvalidArgumentError, match="did you mean 'digits'"):
        load_dataset("digit")


@pytest.mark.parametrize("name", NAMES)
def test_batches_are_pure_and_an_epoch_visits_every_sample_once(name):
    task = getattr(builtin, name)(batch_size=32)
    first = task.batch(5, 3)
    for step in range(4 * task.steps_per_epoch):  # pushes the first epoch out of the cache
        task.batch(6, step)
    again = task.batch(5, 3)
    assert all(torch.equal(first[key], again[key]) for key in first)
    epoch = torch.cat([task.batch(9, step)["y"] for step in range(task.steps_per_epoch)])
    data = load_dataset(task.dataset.name)
    counts = np.bincount(data.y["train"]) - torch.bincount(epoch).numpy()
    assert counts.min() >= 0 and counts.sum() < 32
    assert not torch.equal(task.batch(5, 0)["y"], task.batch(6, 0)["y"])


@pytest.mark.parametrize("name", NAMES)
def test_training_learns(name):
    task = getattr(builtin, name)(batch_size=64)
    state = task.start(0)
    before = task.evaluate(state, "validation")
    hp = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "augmentation": 0.3, "label_smoothing": 0.05}
    for _ in range(6):
        assert task.advance(state, hp)
    assert task.evaluate(state, "validation") > max(0.85, before + 0.2)
    assert task.evaluate(state, "test") > 0.85


def test_a_diverging_trial_says_so():
    task = builtin.digits_mlp(inputs="raw")
    state = task.start(0)
    hp = {"lr": 1e6, "momentum": 0.9, "weight_decay": 0.1, "augmentation": 0.0, "label_smoothing": 0.0}
    assert not task.advance(state, hp)
    assert np.isnan(task.evaluate(state, "validation"))


def test_all_five_hyper_parameters_change_training():
    task = builtin.digits_mlp(batch_size=64)
    base = {"lr": 0.05, "momentum": 0.5, "weight_decay": 1e-3, "augmentation": 0.2, "label_smoothing": 0.1}

    def trained(**change):
        state = task.start(0)
        task.advance(state, {**base, **change})
        return state.params["layers.1.weight"].detach()

    reference = trained()
    assert torch.equal(reference, trained())
    for name in base:
        assert not torch.equal(reference, trained(**{name: base[name] * 1.5})), name


def test_the_initialisation_is_pytorchs():
    task = builtin.digits_mlp()
    weight = torch.stack([task.init(seed)["layers.1.weight"] for seed in range(30)])
    theirs = torch.stack([nn.Linear(64, 32).weight.detach() for _ in range(30)])
    assert weight.abs().max() <= 1 / 8
    assert weight.std().item() == pytest.approx(theirs.std().item(), rel=0.02)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [({"name": "mlp", "hidden": [7, 5]}, (1, 8, 8)), ({"name": "cnn", "channels": [3, 4]}, (2, 9, 7))],
)
def test_functional_network_equals_its_slow_twin(spec, shape):
    network = build_network(spec, shape, 4)
    params = dict(network.named_parameters())
    x = torch.randn(5, *shape)
    fast = as_function(network)
    assert "functional_call" not in fast.__code__.co_names  # it took the fast way
    torch.testing.assert_close(fast(params, x), functional_call(network, params, (x,)))
    odd = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    params = dict(odd.named_parameters())
    x = torch.randn(2, 3)
    torch.testing.assert_close(as_function(odd)(params, x), odd(x))


def test_translation_is_bilinear_and_zero_magnitude_is_the_image():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(6, 2, 5, 7, generator=generator, dtype=torch.float64)
    offset = 2 * torch.rand(6, 2, generator=generator, dtype=torch.float64) - 1
    taps = translation_taps(images, offset)
    assert torch.equal(translate(taps, offset, 0.0), images)
    # The reference: sampling the image at shifted coordinates.
    magnitude = 0.7
    shift = magnitude * offset
    rows, columns = torch.arange(5.0, dtype=torch.float64), torch.arange(7.0, dtype=torch.float64)
    y = (rows[None, :, None] + shift[:, 0, None, None]).expand(6, 5, 7)
    x = (columns[None, None, :] + shift[:, 1, None, None]).expand(6, 5, 7)
    grid = torch.stack([2 * x / 6 - 1, 2 * y / 4 - 1], dim=-1)
    slow = nn.functional.grid_sample(images, grid, align_corners=True, padding_mode="zeros")
    torch.testing.assert_close(translate(taps, offset, magnitude), slow, rtol=1e-9, atol=1e-12)


def test_jitter_scales_its_noise():
    x, noise = torch.zeros(3, 2), torch.ones(3, 2)
    assert torch.equal(jitter(x, noise, 0.5), torch.full((3, 2), 0.5))


def test_spaces_hold_the_five_hyper_parameters():
    for space in (SPACES[width] for width in ("narrow", "mid", "wide")):
        assert set(space.names) == {"lr", "weight_decay", "momentum", "augmentation", "label_smoothing"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 5000}, "batch_size"),
        ({"steps_per_unit": 0}, "steps_per_unit"),
        ({"model": {"name": "mpl"}}, "did you mean 'mlp'"),
        ({"model": {"name": "mlp", "width": 3}}, "model.width"),
        ({"inputs": "whitened"}, "inputs"),
        ({"dtype": "float16"}, "dtype"),
        ({"space": {"momentum": {"low": 0, "high": 0.9}}}, "must hold 'lr'"),
        ({"space": {"momentum": {"low": 0, "high": 1}}}, r"space.momentum: must lie in \[0, 1\)"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(InvalidArgumentError, match=words):
        builtin.digits_mlp(**options)
